#include "model/formats/gguf_metadata.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "model/formats/one_line.h"

namespace tessera {
namespace {

// Settings of llama3 scaling, which the factors alone do not give.
constexpr const char* kOwnFactor = "tessera.rope.factor";
constexpr const char* kOwnOriginal = "tessera.rope.original_context";
constexpr const char* kOwnLow = "tessera.rope.low_freq_factor";
constexpr const char* kOwnHigh = "tessera.rope.high_freq_factor";

// The shortest decimal that is the same f32: 1e-5 for what the file has as 9.99999975e-06.
double decimal(double value) {
  return std::stod(fmt::format("{}", float(value)));
}

// Metadata by key; keys of the architecture by what follows its name.
class Metadata {
 public:
  Metadata(const GgufFile& file, const std::string& where) : file_(file), where_(where) {
    prefix_ = text("general.architecture") + ".";
  }

  std::string text(const std::string& key) const {
    const std::string_view* value = get<std::string_view>(key, "a text");
    check(!value || is_one_line(*value), "{}: {}: it has control characters", where_, key);
    return value ? std::string(*value) : std::string();
  }
  std::optional<int64_t> integer(const std::string& key, int64_t lowest, int64_t highest) const {
    const int64_t* value = get<int64_t>(key, "an integer");
    if (!value) return {};
    check(*value >= lowest && *value <= highest, "{}: {}: {} is not between {} and {}", where_, key,
          *value, lowest, highest);
    return *value;
  }
  std::optional<double> number(const std::string& key) const {
    const double* value = get<double>(key, "a number");
    if (!value) return {};
    check(std::isfinite(*value), "{}: {}: it is not finite", where_, key);
    return decimal(*value);
  }
  // Whether the key is there with a value other than 0.
  bool is_set(const std::string& key) const {
    const auto found = file_.metadata.find(key);
    if (found == file_.metadata.end()) return false;
    const auto* integer = std::get_if<int64_t>(&found->second);
    const auto* number = std::get_if<double>(&found->second);
    return integer ? *integer != 0 : !number || *number != 0;
  }
  int64_t need(const std::string& key, int64_t highest) const {
    const auto value = integer(key, 1, highest);
    check(value.has_value(), "{}: {} is missing", where_, key);
    return *value;
  }
  // The architecture's key.
  std::string own(std::string_view key) const { return prefix_ + std::string(key); }
  std::string architecture() const { return prefix_.substr(0, prefix_.size() - 1); }

 private:
  template <class T>
  const T* get(const std::string& key, const char* what) const {
    const auto found = file_.metadata.find(key);
    if (found == file_.metadata.end()) return nullptr;
    const T* value = std::get_if<T>(&found->second);
    check(value != nullptr, "{}: {}: it is not {}", where_, key, what);
    return value;
  }

  const GgufFile& file_;
  const std::string& where_;
  std::string prefix_;
};

const StoredTensor* find_tensor(const GgufFile& file, std::string_view name) {
  const auto found = std::ranges::find(file.tensors, name, &StoredTensor::name);
  return found == file.tensors.end() ? nullptr : &*found;
}

Architecture architecture_in(const Metadata& metadata, const std::string& where) {
  const std::string name = metadata.architecture();
  for (Architecture one : {Architecture::llama, Architecture::qwen2, Architecture::qwen3})
    if (name == name_of(one)) return one;
  fail("{}: general.architecture: '{}' is not supported; llama, qwen2 and qwen3 are", where, name);
}

// Turns over the original context below which a pair is slowed down fully, and above which not at
// all, bound the ramp (see kernels/rope/table.cpp).
std::vector<float> llama3_factors(const RopeConfig& rope, int64_t head_dim) {
  std::vector<float> factors(size_t(head_dim / 2));
  for (size_t j = 0; j < factors.size(); ++j) {
    const double frequency = std::pow(rope.theta, -2 * double(j) / double(head_dim));
    const double turns = double(rope.original_length) * frequency / (2 * std::numbers::pi);
    const double keep = std::clamp(
        (turns - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor), 0.0, 1.0);
    factors[j] = float(1 / (keep + (1 - keep) / rope.factor));
  }
  return factors;
}

// Settings that give the factors of the file: its own, or those of every published Llama 3.
void read_llama3(const Metadata& metadata, const StoredTensor& tensor, const std::string& where,
                 ModelConfig& model) {
  check(tensor.shape == Shape{model.head_dim / 2}, "{}: tensor {} has shape {}, not [{}]", where,
        kRopeFactors, tensor.shape, model.head_dim / 2);
  std::vector<float> factors(size_t(tensor.shape.elements()));
  decode(tensor.type, tensor.bytes.data(), factors);
  RopeConfig& rope = model.rope;
  rope.scaling = RopeScaling::llama3;
  rope.factor = metadata.number(kOwnFactor).value_or(*std::ranges::max_element(factors));
  rope.original_length = metadata.integer(kOwnOriginal, 1, INT32_MAX).value_or(8192);
  rope.low_freq_factor = metadata.number(kOwnLow).value_or(1);
  rope.high_freq_factor = metadata.number(kOwnHigh).value_or(4);
  const bool valid = rope.factor >= 1 && rope.high_freq_factor > rope.low_freq_factor;
  const auto same = [](float a, float b) { return std::abs(a - b) <= 1e-4f * std::abs(b); };
  check(valid && std::ranges::equal(factors, llama3_factors(rope, model.head_dim), same),
        "{}: tensor {} is not llama3 scaling of 8192 tokens by {}, the only one that is known",
        where, kRopeFactors, rope.factor);
}

// A factor without a type is linear scaling, and was called rope.scale_linear in older files (as
// llama.cpp reads them).
void read_rope_scaling(const Metadata& metadata, const std::string& where, ModelConfig& model) {
  RopeConfig& rope = model.rope;
  const std::string key = metadata.own("rope.scaling.type"), type = metadata.text(key);
  const auto given = metadata.number(metadata.own("rope.scaling.factor"));
  const double factor =
      given ? *given : metadata.number(metadata.own("rope.scale_linear")).value_or(1);
  const double scale = metadata.number(metadata.own("rope.scaling.attn_factor")).value_or(1);
  check(scale == 1, "{}: {}: {} is not supported; 1 is", where,
        metadata.own("rope.scaling.attn_factor"), scale);
  check(type.empty() || type == "none" || type == "linear" || type == "yarn",
        "{}: {}: '{}' is not supported; none, linear, yarn are", where, key, type);
  if (type == "none" || (type.empty() && factor == 1)) return;
  rope.scaling = type == "yarn" ? RopeScaling::yarn : RopeScaling::linear;
  rope.factor = factor;
  rope.original_length =
      metadata.integer(metadata.own("rope.scaling.original_context_length"), 1, INT32_MAX)
          .value_or(model.context);
  rope.beta_fast = metadata.number(metadata.own("rope.scaling.yarn_beta_fast")).value_or(32);
  rope.beta_slow = metadata.number(metadata.own("rope.scaling.yarn_beta_slow")).value_or(1);
}

void read_rope(const Metadata& metadata, const GgufFile& file, const std::string& where,
               ModelConfig& model) {
  RopeConfig& rope = model.rope;
  rope.theta = metadata.number(metadata.own("rope.freq_base")).value_or(10000);
  check(rope.theta > 1, "{}: {}: {} is not above 1", where, metadata.own("rope.freq_base"),
        rope.theta);
  const auto turned =
      metadata.integer(metadata.own("rope.dimension_count"), 1, ModelConfig::kLargestWidth);
  check(turned.value_or(model.head_dim) == model.head_dim,
        "{}: {}: only part of a head is turned, which is not supported", where,
        metadata.own("rope.dimension_count"));
  read_rope_scaling(metadata, where, model);
  if (const StoredTensor* factors = find_tensor(file, kRopeFactors))
    read_llama3(metadata, *factors, where, model);
}

void refuse_unsupported(const Metadata& metadata, const std::string& where) {
  for (const char* key : {"expert_count", "attention.value_residual", "logit_scale",
                          "residual_scale", "embedding_scale", "attention.scale"}) {
    const std::string full = metadata.own(key);
    check(!metadata.is_set(full), "{}: {} is not supported", where, full);
  }
}

ModelConfig read_model(const Metadata& metadata, const GgufFile& file, Architecture architecture,
                       const std::string& where) {
  ModelConfig model;
  const StoredTensor* embedding = find_tensor(file, "token_embd.weight");
  check(embedding && embedding->shape.rank() == 2, "{}: tensor token_embd.weight is missing",
        where);
  model.vocab_size = embedding->shape[0];
  check(model.vocab_size <= INT32_MAX, "{}: tensor token_embd.weight has {} rows", where,
        model.vocab_size);
  model.layers = metadata.need(metadata.own("block_count"), ModelConfig::kMostLayers);
  model.width = metadata.need(metadata.own("embedding_length"), ModelConfig::kLargestWidth);
  model.heads = metadata.need(metadata.own("attention.head_count"), ModelConfig::kMostHeads);
  model.kv_heads =
      metadata.integer(metadata.own("attention.head_count_kv"), 1, ModelConfig::kMostHeads)
          .value_or(model.heads);
  model.head_dim =
      metadata.integer(metadata.own("attention.key_length"), 1, ModelConfig::kLargestWidth)
          .value_or(0);
  const auto value_length =
      metadata.integer(metadata.own("attention.value_length"), 1, ModelConfig::kLargestWidth);
  check(!value_length || model.head_dim == 0 || *value_length == model.head_dim,
        "{}: {}: values of another length than keys are not supported", where,
        metadata.own("attention.value_length"));
  model.ffn_width = metadata.need(metadata.own("feed_forward_length"), ModelConfig::kLargestWidth);
  model.context = metadata.need(metadata.own("context_length"), INT32_MAX);
  model.sliding_window =
      metadata.integer(metadata.own("attention.sliding_window"), 0, INT32_MAX).value_or(0);
  model.tied_embeddings = find_tensor(file, "output.weight") == nullptr;
  model.qkv_bias = architecture == Architecture::qwen2;
  model.qk_norm = architecture == Architecture::qwen3;
  model.norm_eps = metadata.number(metadata.own("attention.layer_norm_rms_epsilon")).value_or(1e-5);
  model.init.scale_residual = false;
  return model;
}

}  // namespace

PublishedConfig read_gguf_config(const GgufFile& file, const std::string& where) {
  const Metadata metadata(file, where);
  PublishedConfig published;
  published.architecture = architecture_in(metadata, where);
  refuse_unsupported(metadata, where);
  published.model = read_model(metadata, file, published.architecture, where);
  try {
    published.model.complete();
    read_rope(metadata, file, where, published.model);
    published.model.validate();
  } catch (const ConfigError& error) {
    fail("{}: as {}", where, error.what());
  }
  published.tokens.begin = metadata.integer("tokenizer.ggml.bos_token_id", 0, INT32_MAX);
  if (const auto end = metadata.integer("tokenizer.ggml.eos_token_id", 0, INT32_MAX))
    published.tokens.end = {*end};
  return published;
}

std::vector<float> rope_factors(const ModelConfig& model) {
  if (model.rope.scaling != RopeScaling::llama3) return {};
  return llama3_factors(model.rope, model.head_dim);
}

GgufMetadata gguf_config(const ModelConfig& model, const std::string& name) {
  Architecture architecture = architecture_of(model);
  if (architecture == Architecture::mistral) architecture = Architecture::llama;
  GgufMetadata metadata = {{"general.architecture", std::string(name_of(architecture))},
                           {"general.type", std::string("model")},
                           {"general.name", name},
                           {"general.quantization_version", uint32_t{2}}};
  const auto add = [&](std::string_view key, GgufField value) {
    metadata.emplace_back(fmt::format("{}.{}", name_of(architecture), key), std::move(value));
  };
  const auto count = [](int64_t value) { return uint32_t(value); };
  add("vocab_size", count(model.vocab_size));
  add("context_length", count(model.context));
  add("embedding_length", count(model.width));
  add("block_count", count(model.layers));
  add("feed_forward_length", count(model.ffn_width));
  add("attention.head_count", count(model.heads));
  add("attention.head_count_kv", count(model.kv_heads));
  add("attention.key_length", count(model.head_dim));
  add("attention.value_length", count(model.head_dim));
  add("attention.layer_norm_rms_epsilon", float(model.norm_eps));
  if (model.sliding_window > 0) add("attention.sliding_window", count(model.sliding_window));
  const RopeConfig rope = published_rope(model);
  add("rope.dimension_count", count(model.head_dim));
  add("rope.freq_base", float(rope.theta));
  const bool yarn = rope.scaling == RopeScaling::yarn;
  if (yarn || rope.scaling == RopeScaling::linear) {
    add("rope.scaling.type", std::string(yarn ? "yarn" : "linear"));
    add("rope.scaling.factor", float(rope.factor));
  }
  if (yarn) {
    check(rope.attention_factor == 0,
          "model.rope.attention_factor is {}; GGUF has only 0, that is 0.1 ln(factor) + 1",
          rope.attention_factor);
    add("rope.scaling.original_context_length", count(rope.original_length));
    add("rope.scaling.yarn_beta_fast", float(rope.beta_fast));
    add("rope.scaling.yarn_beta_slow", float(rope.beta_slow));
  }
  if (rope.scaling == RopeScaling::llama3) {
    metadata.emplace_back(kOwnFactor, float(rope.factor));
    metadata.emplace_back(kOwnOriginal, count(rope.original_length));
    metadata.emplace_back(kOwnLow, float(rope.low_freq_factor));
    metadata.emplace_back(kOwnHigh, float(rope.high_freq_factor));
  }
  return metadata;
}

}  // namespace tessera
