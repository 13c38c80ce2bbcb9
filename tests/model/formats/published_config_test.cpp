// Settings of published models: what is read, what is refused.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "model/formats/gguf_metadata.h"
#include "tests/data/support.h"
#include "tests/model/formats/golden.h"

namespace tessera {
namespace {

using nlohmann::json;
using test::contains;
using test::error_of;

json golden_config(const std::string& model) {
  std::ifstream file(test::golden_folder() / model / "config.json");
  return json::parse(file);
}

PublishedConfig read(const json& config) {
  return read_huggingface_config(config.dump(), "config.json");
}

struct Refusal {
  const char* key;
  json value;
  const char* message;
};

TEST(HuggingFaceConfig, RefusesWhatItDoesNotCompute) {
  const Refusal refusals[] = {
      {"model_type", "gemma2", "'gemma2' is not supported"},
      {"attention_bias", true, "true is not supported"},
      {"mlp_bias", true, "true is not supported"},
      {"use_qk_norm", true, "true is not supported"},
      {"hidden_act", "gelu", "'gelu' is not supported"},
      {"partial_rotary_factor", 0.5, "only 1 is supported"},
      {"quantization_config", {{"bits", 4}}, "quantized weights are not supported"},
      {"num_experts", 8, "mixtures of experts are not supported"},
      {"num_local_experts", 8, "mixtures of experts are not supported"},
      {"num_key_value_heads", 3, "does not divide"},
  };
  for (const Refusal& refusal : refusals) {
    json config = golden_config("llama");
    EXPECT_NO_THROW(read(config));
    config[refusal.key] = refusal.value;
    const std::string error = error_of([&] { read(config); });
    EXPECT_TRUE(contains(error, refusal.message)) << refusal.key << ": " << error;
    EXPECT_TRUE(contains(error, refusal.key) || contains(error, "kv_heads")) << error;
  }
}

TEST(HuggingFaceConfig, RefusesRopeThatItDoesNotCompute) {
  const Refusal refusals[] = {
      {"rope_type", "longrope", "longrope"},
      {"mscale", 0.7, "mscale"},
      {"truncate", false, "truncate"},
      {"partial_rotary_factor", 0.5, "only 1 is supported"},
      {"factor", 0.5, "below 1"},
      {"beta_fast", 0.5, "beta_fast"},
      {"beta_slow", 0.0, "model.rope.beta_slow"},
      {"attention_factor", -2.0, "model.rope.attention_factor"},
  };
  for (const Refusal& refusal : refusals) {
    json config = golden_config("llama_yarn");
    EXPECT_NO_THROW(read(config));
    config["rope_parameters"][refusal.key] = refusal.value;
    const std::string error = error_of([&] { read(config); });
    EXPECT_TRUE(contains(error, refusal.message)) << refusal.key << ": " << error;
  }
  json config = golden_config("llama_llama3");
  config["rope_scaling"]["low_freq_factor"] = 0.0;
  EXPECT_TRUE(contains(error_of([&] { read(config); }), "model.rope.low_freq_factor"));
}

TEST(HuggingFaceConfig, WindowsOfSomeLayersAreRefused) {
  json config = golden_config("qwen2");
  config.update({{"use_sliding_window", true}, {"sliding_window", 6}, {"max_window_layers", 0}});
  config["layer_types"] = {"sliding_attention", "full_attention"};
  EXPECT_TRUE(contains(error_of([&] { read(config); }), "layers of two kinds"));
  config.erase("layer_types");
  EXPECT_EQ(read(config).model.sliding_window, 6);
  config["max_window_layers"] = 1;
  EXPECT_TRUE(contains(error_of([&] { read(config); }), "1 of 2 layers have no window"));
}

// transformers' MistralConfig has 4096 where the key is absent; null is none.
TEST(HuggingFaceConfig, MistralsWindowHasADefault) {
  json config = golden_config("mistral");
  EXPECT_EQ(read(config).model.sliding_window, 6);
  config["sliding_window"] = nullptr;
  EXPECT_EQ(read(config).model.sliding_window, 0);
  config.erase("sliding_window");
  EXPECT_EQ(read(config).model.sliding_window, 4096);
}

// An embedding of 32 tokens and what a llama of 2 heads of 64 must say.
class GgufConfig : public testing::Test {
 protected:
  GgufConfig() {
    file_.tensors.push_back({"token_embd.weight", {32, 128}, StoredType::f32, {}});
    set("block_count", int64_t{2});
    set("embedding_length", int64_t{128});
    set("attention.head_count", int64_t{2});
    set("feed_forward_length", int64_t{256});
    set("context_length", int64_t{1024});
    file_.metadata["general.architecture"] = std::string_view("llama");
  }

  void set(const std::string& key, const GgufValue& value) {
    file_.metadata["llama." + key] = value;
  }
  RopeConfig rope() const { return read_gguf_config(file_, "m.gguf").model.rope; }
  std::string error() const {
    return error_of([&] { read_gguf_config(file_, "m.gguf"); });
  }

  GgufFile file_;
};

TEST_F(GgufConfig, LinearScalingInThreeSpellings) {
  EXPECT_EQ(rope().scaling, RopeScaling::none);
  const auto expect_linear = [&] {
    EXPECT_EQ(rope().scaling, RopeScaling::linear);
    EXPECT_EQ(rope().factor, 4);
  };
  set("rope.scale_linear", 4.0);
  expect_linear();
  set("rope.scale_linear", 2.0);  // the newer key counts
  set("rope.scaling.factor", 4.0);
  expect_linear();
  set("rope.scaling.type", std::string_view("linear"));
  expect_linear();
  set("rope.scaling.type", std::string_view("none"));
  EXPECT_EQ(rope().scaling, RopeScaling::none);
}

TEST_F(GgufConfig, RefusesWhatItDoesNotCompute) {
  const std::pair<const char*, GgufValue> refusals[] = {
      {"expert_count", int64_t{8}},
      {"attention.value_residual", true},
      {"logit_scale", 0.5},
      {"residual_scale", 0.5},
      {"embedding_scale", 2.0},
      {"attention.scale", 0.1},
      {"rope.scaling.attn_factor", 1.2},
      {"rope.scaling.type", std::string_view("longrope")},
      {"rope.dimension_count", int64_t{32}},
      {"attention.value_length", int64_t{32}},
  };
  set("attention.key_length", int64_t{64});
  EXPECT_NO_THROW(rope());
  for (const auto& [key, value] : refusals) {
    set(key, value);
    EXPECT_TRUE(contains(error(), key) && contains(error(), "not supported")) << error();
    file_.metadata.erase("llama." + std::string(key));
  }
  set("logit_scale", 0.0);
  set("expert_count", int64_t{0});
  EXPECT_NO_THROW(rope());
}

// Files of others have the factors of the pairs alone: those of every published Llama 3.
TEST_F(GgufConfig, Llama3FromItsFactorsAlone) {
  ModelConfig model = read_gguf_config(file_, "m.gguf").model;
  for (double factor : {8.0, 32.0}) {
    model.rope.scaling = RopeScaling::llama3;
    model.rope.factor = factor;
    model.rope.original_length = 8192;
    const std::vector<float> factors = rope_factors(model);
    GgufFile file = file_;
    file.tensors.push_back(
        {kRopeFactors, {32}, StoredType::f32, std::as_bytes(std::span(factors))});
    const RopeConfig rope = read_gguf_config(file, "m.gguf").model.rope;
    EXPECT_EQ(rope.scaling, RopeScaling::llama3);
    EXPECT_EQ(rope.factor, factor);
    EXPECT_EQ(rope.original_length, 8192);
    EXPECT_EQ(rope.low_freq_factor, 1);
    EXPECT_EQ(rope.high_freq_factor, 4);
  }
  model.rope.original_length = 4096;  // not a published one
  const std::vector<float> factors = rope_factors(model);
  file_.tensors.push_back({kRopeFactors, {32}, StoredType::f32, std::as_bytes(std::span(factors))});
  EXPECT_TRUE(contains(error(), "is not llama3 scaling of 8192 tokens"));
}

}  // namespace
}  // namespace tessera
