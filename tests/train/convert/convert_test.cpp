// Conversions keep every bit that the target's type can hold, whatever the way.
#include "train/convert/convert.h"

#include "model/formats/gguf.h"
#include "tests/train/convert/fixture.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;
using test::contains;
using test::error_of;

constexpr int64_t kTokens = 32;

ConvertSummary convert_to(const fs::path& from, const fs::path& to, const ConvertOptions& options) {
  return convert_model(from, to, options, [](uint64_t, uint64_t) {});
}

std::vector<float> logits_in(const fs::path& path) {
  Context ctx({});
  return test::logits_of(ctx, load_model(ctx, path, DType::f32).model, kTokens);
}

class ConvertTest : public testing::TestWithParam<std::string> {
 protected:
  fs::path golden_ = test::golden_folder() / GetParam();
  test::TemporaryFolder folder_;
};

TEST_P(ConvertTest, EveryFormComputesTheSameBits) {
  const std::vector<float> expected = logits_in(golden_);
  convert_to(golden_, folder_ / "checkpoint", {.to = ModelForm::checkpoint});
  convert_to(folder_ / "checkpoint", folder_ / "huggingface",
             {.to = ModelForm::huggingface, .max_shard_bytes = 4000});
  convert_to(folder_ / "huggingface", folder_ / "model.gguf", {});
  convert_to(folder_ / "model.gguf", folder_ / "last", {.to = ModelForm::checkpoint});
  for (const char* name : {"checkpoint", "huggingface", "model.gguf", "last"})
    EXPECT_EQ(logits_in(folder_ / name), expected) << name;
  EXPECT_TRUE(fs::exists(folder_ / "huggingface/model.safetensors.index.json"));
}

TEST_P(ConvertTest, SettingsAndIdsSurvive) {
  const ModelSource source = open_model(golden_);
  convert_to(golden_, folder_ / "model.gguf", {});
  convert_to(folder_ / "model.gguf", folder_ / "checkpoint", {.to = ModelForm::checkpoint});
  convert_to(folder_ / "checkpoint", folder_ / "huggingface", {.to = ModelForm::huggingface});
  const ModelSource last = open_model(folder_ / "huggingface");
  ModelConfig expected = source.config.model;
  expected.init = last.config.model.init;  // GGUF has no key for it
  EXPECT_EQ(to_yaml(last.config.model), to_yaml(expected));
  EXPECT_EQ(last.tokens.begin, source.tokens.begin);
  EXPECT_EQ(last.tokens.end, source.tokens.end);
}

INSTANTIATE_TEST_SUITE_P(Models, ConvertTest, testing::ValuesIn(test::golden_names()),
                         [](const auto& golden) { return golden.param; });

// Each weight of `b` is the same weight of `a` rounded by `round`.
void expect_rounded(const WeightSource& a, const WeightSource& b,
                    const std::function<float(float)>& round) {
  ASSERT_EQ(a.weights().size(), b.weights().size());
  for (const WeightInfo& info : a.weights()) {
    std::vector<float> from(size_t(info.shape.elements())), to(from.size());
    a.read_rows(info.name, 0, info.shape[0], from.data());
    b.read_rows(info.name, 0, info.shape[0], to.data());
    std::transform(from.begin(), from.end(), from.begin(), round);
    EXPECT_EQ(from, to) << info.name;
  }
}

TEST(ConvertTypes, HuggingFaceRoundsEveryTensor) {
  const test::TemporaryFolder folder;
  const fs::path golden = test::golden_folder() / "llama";
  convert_to(golden, folder / "bf16", {.to = ModelForm::huggingface, .type = StoredType::bf16});
  convert_to(golden, folder / "f16", {.to = ModelForm::huggingface, .type = StoredType::f16});
  const ModelSource source = open_model(golden);
  expect_rounded(*source.weights, *open_model(folder / "bf16").weights,
                 [](float x) { return to_float(from_float<bf16>(x)); });
  expect_rounded(*source.weights, *open_model(folder / "f16").weights,
                 [](float x) { return to_float(from_float<f16>(x)); });
}

TEST(ConvertTypes, GgufKeepsVectorsInF32) {
  const test::TemporaryFolder folder;
  convert_to(test::golden_folder() / "llama", folder / "m.gguf", {.type = StoredType::bf16});
  const MappedFile file(folder / "m.gguf");
  for (const StoredTensor& tensor : parse_gguf(file.bytes(), "m.gguf").tensors)
    EXPECT_EQ(tensor.type, tensor.shape.rank() == 1 ? StoredType::f32 : StoredType::bf16);
}

// Half a step of the scale is the most that rounding may cost, and the scale itself is rounded to
// f16: 127 steps of 2^-11 relative.
TEST(ConvertTypes, Q8ErrsByHalfAStep) {
  std::vector<float> values(64), back(64);
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = std::sin(float(i)) * (i < 32 ? 1.0f : 1e-3f);
  std::vector<std::byte> bytes(*stored_bytes(StoredType::q8_0, 64));
  encode(StoredType::q8_0, values, bytes.data());
  decode(StoredType::q8_0, bytes.data(), back);
  for (size_t i = 0; i < values.size(); ++i) {
    const float largest = i < 32 ? 1.0f : 1e-3f;
    EXPECT_NEAR(back[i], values[i], largest * (0.5f / 127 + 0x1p-11f)) << i;
  }
}

TEST(ConvertTypes, GgufOfQ8IsReadAsItWasRounded) {
  const test::TemporaryFolder folder;
  const fs::path golden = test::golden_folder() / "llama_yarn";
  convert_to(golden, folder / "m.gguf", {.type = StoredType::q8_0});
  const ModelSource q8 = open_model(folder / "m.gguf"), source = open_model(golden);
  for (const WeightInfo& info : source.weights->weights()) {
    std::vector<float> from(size_t(info.shape.elements())), to(from.size());
    source.weights->read_rows(info.name, 0, info.shape[0], from.data());
    q8.weights->read_rows(info.name, 0, info.shape[0], to.data());
    if (info.shape.rank() > 1) {
      std::vector<std::byte> bytes(*stored_bytes(StoredType::q8_0, int64_t(from.size())));
      encode(StoredType::q8_0, from, bytes.data());
      decode(StoredType::q8_0, bytes.data(), from);
    }
    EXPECT_EQ(to, from) << info.name;
  }
}

TEST(ConvertGguf, SaysWhatLlamaCppDoesOtherwise) {
  const test::TemporaryFolder folder;
  const auto limits = [&](const char* model, ModelForm to) {
    const fs::path output = folder / fmt::format("{}-{}.gguf", model, name_of(to));
    return convert_model(test::golden_folder() / model, output, {.to = to}, [](auto...) {})
        .gguf_limits;
  };
  EXPECT_TRUE(limits("llama", ModelForm::gguf).empty());
  EXPECT_TRUE(limits("mistral", ModelForm::huggingface).empty());
  const auto mistral = limits("mistral", ModelForm::gguf), qwen2 = limits("qwen2", ModelForm::gguf);
  ASSERT_EQ(mistral.size(), 1u);
  EXPECT_TRUE(contains(mistral[0], "attends to all tokens"));
  ASSERT_EQ(qwen2.size(), 1u);
  EXPECT_TRUE(contains(qwen2[0], "4 heads of 8 are not its width, 16"));
}

TEST(ConvertErrors, NameFileAndRemedyAndWriteNothing) {
  const test::TemporaryFolder folder;
  const fs::path golden = test::golden_folder() / "llama";
  const auto fails = [&](const fs::path& from, const char* to, const ConvertOptions& options) {
    return error_of([&] { convert_to(from, folder / to, options); });
  };
  EXPECT_TRUE(contains(fails(folder / "none", "a", {}), "does not exist"));
  EXPECT_TRUE(contains(fails(folder.path(), "a", {}), "neither a checkpoint nor a config.json"));
  EXPECT_TRUE(contains(fails(golden, "a.gguf", {.type = StoredType::q8_0}), "multiple of 32"));
  EXPECT_TRUE(contains(fails(golden, "a", {.type = StoredType::bf16}), "--dtype bf16"));
  EXPECT_TRUE(contains(fails(golden, "a", {.to = ModelForm::huggingface, .type = StoredType::q8_0}),
                       "q8_0"));
  EXPECT_TRUE(folder.entries().empty()) << folder.entries().front();
  test::write_text(folder / "a", "here");
  EXPECT_TRUE(contains(fails(golden, "a", {}), "already exists"));
}

class Llama2cTest : public testing::TestWithParam<bool> {};

TEST_P(Llama2cTest, ComputesTheSameBits) {
  const test::TemporaryFolder folder;
  const fs::path golden = test::golden_folder() / (GetParam() ? "llama_tied" : "llama");
  const ModelSource source = open_model(golden);
  test::write_text(folder / "model.bin", test::llama2c_file(source.config.model, *source.weights));
  EXPECT_EQ(logits_in(folder / "model.bin"), logits_in(golden));
}

INSTANTIATE_TEST_SUITE_P(Tied, Llama2cTest, testing::Bool());

// A model file without a tokenizer, and one to give it.
class GivenTokenizer : public testing::Test {
 protected:
  GivenTokenizer() {
    const ModelSource source = open_model(test::golden_folder() / "llama");
    test::write_text(model_, test::llama2c_file(source.config.model, *source.weights));
    test::write_text(folder_ / "tokenizer.json", R"({"model": {"type": "BPE", "vocab": {"a": 0,
      "b": 1, "ab": 2}, "merges": [["a", "b"]]}, "pre_tokenizer": {"type": "ByteLevel"},
      "decoder": {"type": "ByteLevel"}})");
  }
  test::TemporaryFolder folder_;
  fs::path model_ = folder_ / "model.bin", tokenizer_ = folder_ / "tokenizer.json";
};

TEST_F(GivenTokenizer, GoesIntoEveryForm) {
  for (ModelForm form : {ModelForm::checkpoint, ModelForm::huggingface, ModelForm::gguf}) {
    const fs::path output = folder_ / fmt::format("as.{}", name_of(form));
    convert_to(model_, output, {.to = form, .tokenizer = tokenizer_});
    const ModelSource source = open_model(output);
    ASSERT_TRUE(source.tokenizer) << output << source.tokenizer_problem;
    EXPECT_EQ(source.tokenizer->encode("abba"), (std::vector<TokenId>{2, 1, 0})) << output;
  }
}

TEST_F(GivenTokenizer, IsForAModelWithoutOne) {
  convert_to(model_, folder_ / "own", {.to = ModelForm::checkpoint, .tokenizer = tokenizer_});
  const std::string error =
      error_of([&] { convert_to(folder_ / "own", folder_ / "b", {.tokenizer = tokenizer_}); });
  EXPECT_TRUE(contains(error, "carries its own")) << error;
}

}  // namespace
}  // namespace tessera
