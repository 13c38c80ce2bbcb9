#include "model/config.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace tessera {
namespace {

struct Document {
  ModelConfig model;
  void visit(auto&& v) { v("model", model, "shape"); }
};

ModelConfig completed(const std::string& preset) {
  ModelConfig config = model_preset(preset);
  config.complete();
  return config;
}

ModelConfig small() {
  ModelConfig config;
  config.vocab_size = 65;
  config.layers = 2;
  config.width = 48;
  config.heads = 6;
  config.kv_heads = 2;
  config.ffn_width = 100;
  config.context = 16;
  return config;
}

template <class Change>
std::string error_after(const Change& change) {
  ModelConfig config = small();
  change(config);
  try {
    config.complete();
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

struct Published {
  const char* preset;
  int64_t parameters;

  friend void PrintTo(const Published& p, std::ostream* out) { *out << p.preset; }
};

class PresetTest : public testing::TestWithParam<Published> {};

// Counts of the published weights (sum over the tensors of the safetensors or .bin files).
INSTANTIATE_TEST_SUITE_P(
    Published, PresetTest,
    testing::Values(Published{"stories260k", 260032}, Published{"stories15m", 15191712},
                    Published{"stories42m", 41689600}, Published{"stories110m", 109529856},
                    Published{"smollm2-135m", 134515008}, Published{"smollm2-360m", 361821120},
                    Published{"tinyllama-1.1b", 1100048384}, Published{"llama-3.2-1b", 1235814400},
                    Published{"llama-3.2-3b", 3212749824}, Published{"llama-2-7b", 6738415616},
                    Published{"llama-3.1-8b", 8030261248}, Published{"mistral-7b", 7241732096}));

TEST_P(PresetTest, HasThePublishedNumberOfParameters) {
  EXPECT_EQ(parameter_count(completed(GetParam().preset)), GetParam().parameters);
}

TEST_P(PresetTest, IsOfferedAndPrintsAndReadsBack) {
  const std::vector<std::string> names = preset_names();
  EXPECT_NE(std::find(names.begin(), names.end(), GetParam().preset), names.end());
  const std::string text = to_yaml(Document{completed(GetParam().preset)});
  Document again;
  read_config(again, {"x.yaml", text});
  EXPECT_EQ(to_yaml(again), text);
}

TEST(Presets, AreAllInTheTableOfPublishedCounts) {
  EXPECT_EQ(preset_names().size(), 1u + 12u);
}

TEST(Presets, KeepWhatParameterCountsDoNotShow) {
  const ModelConfig llama = completed("llama-3.1-8b");
  EXPECT_EQ(llama.head_dim, 128);
  EXPECT_EQ(llama.context, 131072);
  EXPECT_EQ(llama.rope.theta, 500000);
  EXPECT_EQ(llama.rope.scaling, RopeScaling::llama3);
  EXPECT_EQ(llama.rope.factor, 8);
  EXPECT_EQ(llama.rope.original_length, 8192);
  EXPECT_EQ(llama.rope.low_freq_factor, 1);
  EXPECT_EQ(llama.rope.high_freq_factor, 4);
  EXPECT_FALSE(llama.tied_embeddings);
  const ModelConfig llama1b = completed("llama-3.2-1b");
  EXPECT_EQ(llama1b.head_dim, 64);
  EXPECT_EQ(llama1b.rope.factor, 32);
  EXPECT_TRUE(llama1b.tied_embeddings);
  const ModelConfig mistral = completed("mistral-7b");
  EXPECT_EQ(mistral.sliding_window, 4096);
  EXPECT_EQ(mistral.rope.theta, 10000);
  const ModelConfig smollm = completed("smollm2-135m");
  EXPECT_EQ(smollm.rope.theta, 100000);
  EXPECT_EQ(smollm.init.std, 0.041666666666666664);
  EXPECT_EQ(smollm.norm_eps, 1e-5);
}

TEST(Presets, UnknownNamesAreErrors) {
  EXPECT_THROW(model_preset("gpt-2"), Error);
  Document document;
  try {
    read_config(document, {"x.yaml", "model: {preset: smollm2-135}"});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(
        std::string(error.what()),
        "x.yaml:1: model.preset: expected one of custom, stories260k, stories15m, stories42m, "
        "stories110m, smollm2-135m, smollm2-360m, tinyllama-1.1b, llama-3.2-1b, "
        "llama-3.2-3b, llama-2-7b, llama-3.1-8b, mistral-7b, got \"smollm2-135\"; did you "
        "mean smollm2-135m?");
  }
}

TEST(ModelConfig, CompletesHeadsFromOtherSizes) {
  ModelConfig config = small();
  config.kv_heads = 0;
  config.complete();
  EXPECT_EQ(config.kv_heads, 6);
  EXPECT_EQ(config.head_dim, 8);
}

TEST(ModelConfig, CountsOptionalParameters) {
  ModelConfig config = small();
  config.complete();
  // Embedding and head, then per block: qkv, output, gate/up/down, two norms; the final norm.
  const int64_t block = 48 * (48 + 2 * 16) + 48 * 48 + 3 * 48 * 100 + 2 * 48;
  const int64_t untied = 2 * 65 * 48 + 2 * block + 48;
  EXPECT_EQ(parameter_count(config), untied);
  config.tied_embeddings = true;
  EXPECT_EQ(parameter_count(config), untied - 65 * 48);
  config.qkv_bias = true;
  EXPECT_EQ(parameter_count(config), untied - 65 * 48 + 2 * 80);
  config.qk_norm = true;
  EXPECT_EQ(parameter_count(config), untied - 65 * 48 + 2 * 80 + 2 * 16);
}

TEST(ModelConfig, BrokenRulesNameKeysValuesAndRemedy) {
  using C = ModelConfig;
  EXPECT_EQ(error_after([](C&) {}), "no error");
  EXPECT_EQ(error_after([](C& c) { c.layers = 0; }),
            "model.layers: must be positive, got 0; choose a model.preset or give the size");
  EXPECT_EQ(error_after([](C& c) { c.heads = 0; }),
            "model.heads: must be positive, got 0; choose a model.preset or give the size");
  EXPECT_EQ(error_after([](C& c) { c.vocab_size = -3; }),
            "model.vocab_size: must be positive, got -3; choose a model.preset or give the size");
  EXPECT_EQ(error_after([](C& c) { c.kv_heads = 4; }),
            "model.kv_heads: 4 does not divide model.heads, 6; choose a number that does");
  EXPECT_EQ(error_after([](C& c) { c.heads = c.kv_heads = 5; }),
            "model.heads: 5 heads do not divide width 48; change one of them or give "
            "model.head_dim");
  EXPECT_EQ(error_after([](C& c) { c.head_dim = 7; }),
            "model.head_dim: 7 is odd, but RoPE turns pairs of elements; choose an even one");
  EXPECT_EQ(
      error_after([](C& c) { c.head_dim = 258; }),
      "model.head_dim: 258 is above 256, the largest the attention kernels do; use more heads");
  EXPECT_EQ(error_after([](C& c) { c.sliding_window = -1; }),
            "model.sliding_window: -1 is negative; 0 means no window");
  EXPECT_EQ(error_after([](C& c) { c.norm_eps = 0; }), "model.norm_eps: must be positive, got 0");
  EXPECT_EQ(error_after([](C& c) { c.rope.scaling = RopeScaling::yarn; }),
            "model.rope.original_context: must be positive with scaling yarn; give the context "
            "before scaling");
  EXPECT_EQ(error_after([](C& c) {
              c.rope.scaling = RopeScaling::llama3;
              c.rope.original_length = 8192;
              c.rope.low_freq_factor = 4;
            }),
            "model.rope.high_freq_factor: 4 must be above low_freq_factor, 4");
  EXPECT_EQ(error_after([](C& c) {
              c.rope.scaling = RopeScaling::yarn;
              c.rope.original_length = 8192;
              c.rope.beta_slow = 33;
            }),
            "model.rope.beta_fast: 32 must be above beta_slow, 33");
  EXPECT_EQ(error_after([](C& c) {
              c.positions = Positions::alibi;
              c.rope.scaling = RopeScaling::linear;
            }),
            "model.rope.scaling: linear has no effect with model.positions alibi; set it to none");
  EXPECT_EQ(error_after([](C& c) { c.rope.factor = 0.5; }),
            "model.rope.factor: 0.5 is below 1, which would shorten the context");
}

TEST(ModelConfig, KnowsWhatFormatsForLlamaCanHold) {
  ModelConfig config = small();
  EXPECT_TRUE(config.is_llama_like());
  config.attention_sink = true;
  EXPECT_FALSE(config.is_llama_like());
  config.attention_sink = false;
  config.positions = Positions::none;
  config.head_dim = 7;  // only RoPE needs pairs
  EXPECT_NO_THROW(config.complete());
  EXPECT_FALSE(config.is_llama_like());
}

}  // namespace
}  // namespace tessera
