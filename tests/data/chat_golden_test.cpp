// Whole conversations as Qwen2.5 writes them, with what they touch of its vocabulary:
// tests/golden/make_published.py makes them.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/files/file.h"
#include "data/chat_template.h"

namespace tessera {
namespace {

const std::filesystem::path kFolder = TESSERA_GOLDEN_TOKENIZERS;

class GoldenChat : public ::testing::TestWithParam<const char*> {};

TEST_P(GoldenChat, IdsAndLossAreThoseOfTheReference) {
  const auto golden = nlohmann::json::parse(read_text_file(kFolder / "published.json"));
  const auto& expected = golden["chat"][GetParam()];
  const auto tokenizer = load_tokenizer(kFolder / GetParam());
  const ChatTemplate chat(expected["template"].get<std::string>(), *tokenizer);
  ASSERT_EQ(golden["dialogs"].size(), expected["ids"].size());
  ASSERT_GE(golden["dialogs"].size(), 18u);
  for (size_t i = 0; i < golden["dialogs"].size(); ++i) {
    const nlohmann::json line = {{"messages", golden["dialogs"][i]}};
    std::vector<TokenId> ids;
    std::vector<uint8_t> mask;
    chat.encode(parse_conversation(line.dump(), {}), ids, mask);
    EXPECT_EQ(ids, expected["ids"][i].get<std::vector<TokenId>>()) << line;
    EXPECT_EQ(mask, expected["mask"][i].get<std::vector<uint8_t>>()) << line;
  }
}

INSTANTIATE_TEST_SUITE_P(Templates, GoldenChat, ::testing::Values("published_qwen2.json"),
                         [](const auto& test) {
                           const std::string_view name = test.param;
                           return std::string(name.substr(0, name.find('.')));
                         });

}  // namespace
}  // namespace tessera
