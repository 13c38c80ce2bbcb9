// The shape of a Llama-style model: the `model` section of a configuration.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "core/config/config.h"
#include "kernels/rope/config.h"
#include "model/presets.h"

namespace tessera {

constexpr auto enum_names(RopeScaling) {
  return std::to_array<EnumName<RopeScaling>>({{RopeScaling::none, "none"},
                                               {RopeScaling::linear, "linear"},
                                               {RopeScaling::ntk, "ntk"},
                                               {RopeScaling::yarn, "yarn"},
                                               {RopeScaling::llama3, "llama3"}});
}

// How attention knows where tokens stand.
enum class Positions { rope, alibi, none };
constexpr auto enum_names(Positions) {
  return std::to_array<EnumName<Positions>>(
      {{Positions::rope, "rope"}, {Positions::alibi, "alibi"}, {Positions::none, "none"}});
}

struct ModelRopeConfig : RopeConfig {
  void visit(auto&& v) {
    v("theta", theta, "base of the wavelengths", positive());
    v("scaling", scaling, "how a longer context stretches them; the keys below belong to it");
    v("factor", factor, "context after scaling / before", at_least(1));
    v("original_context", original_length, "yarn, llama3: tokens before scaling", tokens(0));
    v("beta_fast", beta_fast, "yarn: turns over original_context that end the ramp", positive());
    v("beta_slow", beta_slow, "yarn: turns that begin it", positive());
    v("attention_factor", attention_factor, "yarn: scale of cos and sin; 0: 0.1 ln(factor) + 1",
      at_least(0));
    v("low_freq_factor", low_freq_factor, "llama3: turns that begin the ramp", positive());
    v("high_freq_factor", high_freq_factor, "llama3: turns that end it", positive());
  }
};

// Matrices start normal with mean 0, norms at 1, biases at 0.
struct InitConfig {
  double std = 0.02;
  // What adds to the residual stream (attention output, MLP down) starts at std / sqrt(2 layers),
  // so that the stream's variance does not grow with depth (GPT-2, section 2.3).
  bool scale_residual = true;

  void visit(auto&& v) {
    v("std", std, "standard deviation of every matrix", positive());
    v("scale_residual", scale_residual,
      "divide it by sqrt(2 layers) where a block adds its output");
  }
};

struct ModelConfig {
  std::string preset = "custom";
  std::string init_from;  // a model whose weights and sizes this one begins with
  int64_t vocab_size = 0;
  int64_t layers = 0;
  int64_t width = 0;      // d: elements of the residual stream
  int64_t heads = 0;      // H
  int64_t kv_heads = 0;   // H_kv; complete() turns 0 into heads
  int64_t head_dim = 0;   // D; complete() turns 0 into width / heads
  int64_t ffn_width = 0;  // F: inner elements of the gated MLP
  int64_t context = 0;    // tokens of a training sequence, and the longest that is generated
  int64_t sliding_window = 0;
  Positions positions = Positions::rope;
  bool attention_sink = false;
  bool tied_embeddings = false;
  bool qk_norm = false;
  bool qkv_bias = false;
  double norm_eps = 1e-5;
  ModelRopeConfig rope = {};
  InitConfig init = {};

  void visit(auto&& v) {
    v("preset", preset, "a published shape; keys beside it override it", one_of(preset_names()));
    v("init_from", init_from,
      "a run's folder, a checkpoint, a Hugging Face folder or a GGUF file: weights and sizes come "
      "from it; rope, context and sliding_window may be given anew");
    v("vocab_size", vocab_size, "tokens the model knows", between(1, INT32_MAX));
    v("layers", layers, "blocks", between(1, kMostLayers));
    v("width", width, "elements of the residual stream", between(1, kLargestWidth));
    v("heads", heads, "query heads", between(1, kMostHeads));
    v("kv_heads", kv_heads, "key and value heads; 0: as many as heads", between(0, kMostHeads));
    v("head_dim", head_dim, "elements of a head; 0: width / heads", between(0, kLargestHeadDim));
    v("ffn_width", ffn_width, "inner elements of the gated MLP", between(1, kLargestWidth));
    v("context", context, "tokens of a sequence", tokens(1, INT32_MAX));
    v("sliding_window", sliding_window, "tokens a token sees, itself included; 0: all before it",
      tokens(0));
    v("positions", positions,
      "rope: rotated queries and keys; alibi: scores fall with distance; none: the causal mask");
    v("attention_sink", attention_sink,
      "a learned score in every head's softmax that takes probability and has no value");
    v("tied_embeddings", tied_embeddings, "the output layer shares the embedding's weights");
    v("qk_norm", qk_norm, "RMSNorm of queries and keys before RoPE");
    v("qkv_bias", qkv_bias, "bias on the query, key and value projections");
    v("norm_eps", norm_eps, "added to the mean square in RMSNorm", positive());
    v("rope", rope, "rotary position embeddings");
    v("init", init, "random initial weights");
  }

  // Whether formats for Llama and its kin (positions by RoPE, no sinks) can hold the model.
  bool is_llama_like() const { return positions == Positions::rope && !attention_sink; }

  // Fills what follows from other keys (kv_heads, head_dim), then validates.
  void complete();
  // Throws ConfigError that names the key, the values and the remedy.
  void validate() const;

  static constexpr int64_t kLargestHeadDim = 256;  // of the attention kernels
  // With them 16 bytes a parameter stay within 64 bits.
  static constexpr int64_t kLargestWidth = 1 << 20, kMostHeads = 1 << 14, kMostLayers = 10000;
};

// Throws ConfigError unless `given` has the sizes and options that the weights of `source` fix: all
// but init_from, preset, context, sliding_window, rope and init. `source_name` is for the error.
void check_fits_weights(const ModelConfig& given, const ModelConfig& source,
                        const std::string& source_name);

// Elements of all parameters of a completed configuration.
int64_t parameter_count(const ModelConfig& config);

}  // namespace tessera
