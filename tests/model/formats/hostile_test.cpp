// Damaged and hostile files end with one line, never with a crash or a large allocation. The plain
// suite reads a few thousand mutations; TESSERA_HOSTILE=N reads N of each file (in a build with
// TESSERA_SANITIZE).
#include "tests/model/formats/hostile.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "model/formats/gguf.h"
#include "model/formats/huggingface.h"
#include "tests/data/support.h"
#include "tests/model/formats/golden.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

struct Case {
  std::string name;  // of the test
  std::string model, file;

  friend void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }
};

int64_t mutations() {
  const char* asked = std::getenv("TESSERA_HOSTILE");
  return asked ? std::atoll(asked) : 600;
}

void expect_survived(const fs::path& folder, const std::string& file) {
  const test::HostileResult result = test::read_mutations(folder, file, mutations());
  testing::Test::RecordProperty("refused", int(result.refused));
  EXPECT_EQ(result.refused + result.accepted, mutations());
  // Else the mutations would miss what is checked.
  EXPECT_GT(result.refused, mutations() / 5);
}

class HostileTest : public testing::TestWithParam<Case> {};

TEST_P(HostileTest, EndsWithOneLine) {
  expect_survived(test::golden_folder() / GetParam().model, GetParam().file);
}

INSTANTIATE_TEST_SUITE_P(
    Files, HostileTest,
    testing::Values(Case{"safetensors", "llama_tied", "model.safetensors"},
                    Case{"config", "llama_llama3", "config.json"},
                    Case{"config_qwen2", "qwen2", "config.json"},
                    Case{"index", "llama_yarn", "model.safetensors.index.json"},
                    Case{"shard", "llama_yarn", "model-00002-of-00005.safetensors"}),
    [](const auto& file) { return file.param.name; });

TEST(HostileGguf, EndsWithOneLine) {
  const test::TemporaryFolder folder;
  const HuggingFaceModel golden = open_huggingface(test::golden_folder() / "llama_llama3");
  fs::create_directory(folder / "model");
  const GgufOptions options{
      .type = StoredType::bf16,
      .name = "m",
      .tokenizer = {{"tokenizer.ggml.tokens", std::vector<std::string>(32, "a")}},
      .own_tokenizer = "{}"};
  write_gguf_model(folder / "model/m.gguf", golden.config.model, *golden.weights, options,
                   [](uint64_t) {});
  expect_survived(folder / "model", "m.gguf");
}

TEST(HostileLlama2c, EndsWithOneLine) {
  const test::TemporaryFolder folder;
  const HuggingFaceModel golden = open_huggingface(test::golden_folder() / "llama");
  test::write_text(folder / "model/m.bin",
                   test::llama2c_file(golden.config.model, *golden.weights));
  expect_survived(folder / "model", "m.bin");
}

// Lists nested deeper than any stack.
TEST(HostileJson, DeepNestingEndsWithOneLine) {
  const test::TemporaryFolder folder;
  fs::copy(test::golden_folder() / "llama", folder / "model");
  const std::string deep = std::string(1 << 20, '[') + std::string(1 << 20, ']');
  for (const std::string& text : {deep, "{\"model_type\":" + deep + "}",
                                  "{\"model_type\":\"llama\",\"hidden_size\":" + deep + "}"}) {
    test::write_text(folder / "model/config.json", text);
    test::error_of([&] { open_huggingface(folder / "model"); });
  }
}

}  // namespace
}  // namespace tessera
