#include "model/formats/huggingface_config.h"

#include <array>
#include <cmath>

#include "model/formats/huggingface_rope.h"

namespace tessera {
namespace {

struct ArchitectureRow {
  Architecture value;
  const char* model_type;
  const char* class_name;
};
constexpr ArchitectureRow kArchitectures[] = {
    {Architecture::llama, "llama", "LlamaForCausalLM"},
    {Architecture::mistral, "mistral", "MistralForCausalLM"},
    {Architecture::qwen2, "qwen2", "Qwen2ForCausalLM"},
    {Architecture::qwen3, "qwen3", "Qwen3ForCausalLM"},
};

const ArchitectureRow& row_of(Architecture architecture) {
  return kArchitectures[size_t(architecture)];
}

Architecture read_architecture(const JsonObject& config) {
  const std::string type = config.text("model_type").value_or("");
  for (const ArchitectureRow& row : kArchitectures)
    if (type == row.model_type) return row.value;
  config.fail_at("model_type", "'{}' is not supported; llama, mistral, qwen2 and qwen3 are", type);
}

// Settings that would change the result and that no model here has.
void refuse_unsupported(const JsonObject& config) {
  for (const char* key : {"attention_bias", "mlp_bias", "use_qk_norm"})
    if (config.boolean(key).value_or(false)) config.fail_at(key, "true is not supported");
  const std::string activation = config.text("hidden_act").value_or("silu");
  if (activation != "silu")
    config.fail_at("hidden_act", "'{}' is not supported; silu is", activation);
  if (config.number("partial_rotary_factor").value_or(1) != 1)
    config.fail_at("partial_rotary_factor", "only 1 is supported");
  if (config.has("quantization_config"))
    config.fail_at("quantization_config",
                   "quantized weights are not supported; take f32, f16, bf16");
  if (config.has("num_local_experts") || config.has("num_experts"))
    config.fail_at(config.has("num_experts") ? "num_experts" : "num_local_experts",
                   "mixtures of experts are not supported");
}

// Tokens of the window, 0 for none. Qwen has it in the layers from max_window_layers on; with all
// layers alike it is ours.
int64_t read_window(const JsonObject& config, Architecture architecture, int64_t layers) {
  const auto window = config.integer("sliding_window", 0, INT32_MAX);
  if (architecture == Architecture::llama) return 0;
  // transformers' default where the key is absent; null is no window.
  if (architecture == Architecture::mistral)
    return window.value_or(config.contains("sliding_window") ? 0 : 4096);
  if (!config.boolean("use_sliding_window").value_or(false) || !window) return 0;
  const std::vector<std::string> types = config.texts("layer_types");
  for (const std::string& type : types)
    if (type != types.front())
      config.fail_at("layer_types", "layers of two kinds are not supported");
  if (!types.empty()) return types.front() == "sliding_attention" ? *window : 0;
  const int64_t full = config.integer("max_window_layers", 0, INT32_MAX).value_or(28);
  if (full >= layers) return 0;
  if (full > 0)
    config.fail_at("max_window_layers", "{} of {} layers have no window; only all or none may",
                   full, layers);
  return *window;
}

ModelConfig read_model(const JsonObject& config, Architecture architecture) {
  ModelConfig model;
  model.vocab_size = config.need_integer("vocab_size", 1, INT32_MAX);
  model.layers = config.need_integer("num_hidden_layers", 1, ModelConfig::kMostLayers);
  model.width = config.need_integer("hidden_size", 1, ModelConfig::kLargestWidth);
  model.heads = config.need_integer("num_attention_heads", 1, ModelConfig::kMostHeads);
  model.kv_heads =
      config.integer("num_key_value_heads", 1, ModelConfig::kMostHeads).value_or(model.heads);
  const int64_t head_dim = architecture == Architecture::qwen3 ? 128 : 0;
  model.head_dim = config.integer("head_dim", 1, ModelConfig::kLargestWidth).value_or(head_dim);
  model.ffn_width = config.need_integer("intermediate_size", 1, ModelConfig::kLargestWidth);
  model.context = config.need_integer("max_position_embeddings", 1, INT32_MAX);
  model.sliding_window = read_window(config, architecture, model.layers);
  model.tied_embeddings = config.boolean("tie_word_embeddings").value_or(false);
  model.qkv_bias = architecture == Architecture::qwen2;
  model.qk_norm = architecture == Architecture::qwen3;
  model.norm_eps = config.number("rms_norm_eps").value_or(1e-6);
  static_cast<RopeConfig&>(model.rope) = read_huggingface_rope(config, model.context);
  model.init.std = config.number("initializer_range").value_or(model.init.std);
  if (model.init.std <= 0) model.init.std = InitConfig{}.std;
  model.init.scale_residual = false;
  try {
    model.complete();
  } catch (const Error& error) {
    fail("{}: as {}", config.where(), error.what());
  }
  return model;
}

}  // namespace

std::string_view name_of(Architecture architecture) {
  return row_of(architecture).model_type;
}

PublishedConfig read_huggingface_config(std::string_view json, const std::string& where) {
  const nlohmann::json parsed = parse_json_object(json, where);
  const JsonObject config(parsed, where);
  PublishedConfig published;
  published.architecture = read_architecture(config);
  refuse_unsupported(config);
  published.model = read_model(config, published.architecture);
  published.tokens = {config.integer("bos_token_id", 0, INT32_MAX),
                      config.integers("eos_token_id", 0, INT32_MAX)};
  return published;
}

Architecture architecture_of(const ModelConfig& model) {
  check(model.is_llama_like(),
        "model.positions is {} and model.attention_sink is {}; published forms have only rope and "
        "false: keep it as a checkpoint",
        name_of(model.positions), model.attention_sink);
  check(!model.qk_norm || !model.qkv_bias,
        "model.qk_norm and model.qkv_bias together have no published form: Qwen3 has the one, "
        "Qwen2 the other");
  if (model.qk_norm) return Architecture::qwen3;
  if (model.qkv_bias) return Architecture::qwen2;
  return model.sliding_window > 0 ? Architecture::mistral : Architecture::llama;
}

RopeConfig published_rope(const ModelConfig& model) {
  RopeConfig rope = model.rope;
  if (rope.scaling == RopeScaling::ntk) {
    const double dim = double(model.head_dim);
    rope.theta *= std::pow(rope.factor, dim / (dim - 2));
    rope.scaling = RopeScaling::none;
    rope.factor = 1;
  }
  return rope;
}

std::string huggingface_config(const ModelConfig& model, const SpecialTokens& tokens,
                               StoredType type) {
  constexpr std::array<const char*, 3> kTypes = {"float32", "float16", "bfloat16"};
  check(type != StoredType::q8_0, "a Hugging Face folder holds f32, f16 or bf16, not q8_0");
  const Architecture architecture = architecture_of(model);
  nlohmann::ordered_json config;
  config["architectures"] = {row_of(architecture).class_name};
  config["model_type"] = row_of(architecture).model_type;
  config["vocab_size"] = model.vocab_size;
  config["hidden_size"] = model.width;
  config["intermediate_size"] = model.ffn_width;
  config["num_hidden_layers"] = model.layers;
  config["num_attention_heads"] = model.heads;
  config["num_key_value_heads"] = model.kv_heads;
  config["head_dim"] = model.head_dim;
  config["hidden_act"] = "silu";
  config["max_position_embeddings"] = model.context;
  config["rms_norm_eps"] = model.norm_eps;
  config["tie_word_embeddings"] = model.tied_embeddings;
  config["initializer_range"] = model.init.std;
  config["attention_dropout"] = 0.0;
  if (architecture == Architecture::llama || architecture == Architecture::qwen3)
    config["attention_bias"] = false;
  if (architecture == Architecture::llama) config["mlp_bias"] = false;
  if (architecture != Architecture::llama && model.sliding_window > 0)
    config["sliding_window"] = model.sliding_window;
  if (architecture == Architecture::qwen2 || architecture == Architecture::qwen3) {
    config["use_sliding_window"] = model.sliding_window > 0;
    config["max_window_layers"] = model.sliding_window > 0 ? 0 : model.layers;
  }
  write_huggingface_rope(config, published_rope(model));
  config["bos_token_id"] =
      tokens.begin ? nlohmann::ordered_json(*tokens.begin) : nlohmann::ordered_json(nullptr);
  config["eos_token_id"] = tokens.end.empty()       ? nlohmann::ordered_json(nullptr)
                           : tokens.end.size() == 1 ? nlohmann::ordered_json(tokens.end.front())
                                                    : nlohmann::ordered_json(tokens.end);
  config["torch_dtype"] = kTypes[size_t(type)];
  config["use_cache"] = true;
  return config.dump(2) + "\n";
}

std::string huggingface_generation_config(const SpecialTokens& tokens) {
  nlohmann::ordered_json config;
  config["_from_model_config"] = true;
  if (tokens.begin) config["bos_token_id"] = *tokens.begin;
  if (tokens.end.size() == 1) config["eos_token_id"] = tokens.end.front();
  if (tokens.end.size() > 1) config["eos_token_id"] = tokens.end;
  return config.dump(2) + "\n";
}

}  // namespace tessera
