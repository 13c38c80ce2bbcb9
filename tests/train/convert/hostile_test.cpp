// Damaged and hostile files end with one line, never with a crash or a large allocation. The plain
// suite reads a few thousand mutations; TESSERA_HOSTILE=N reads N of each file (in a build with
// TESSERA_SANITIZE).
#include "tests/train/convert/hostile.h"

#include <cstdlib>

#include "tests/data/support.h"
#include "tests/train/convert/golden.h"
#include "train/convert/convert.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

struct Case {
  std::string name;  // of the test
  std::string model, file;
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
  convert_model(test::golden_folder() / "llama_llama3", folder / "model/m.gguf", {},
                [](uint64_t, uint64_t) {});
  expect_survived(folder / "model", "m.gguf");
}

TEST(HostileLlama2c, EndsWithOneLine) {
  const test::TemporaryFolder folder;
  const ModelSource source = open_model(test::golden_folder() / "llama");
  test::write_text(folder / "model/m.bin", test::llama2c_file(source));
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
    test::error_of([&] { open_model(folder / "model"); });
  }
}

}  // namespace
}  // namespace tessera
