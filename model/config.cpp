#include "model/config.h"

#include <utility>

namespace tessera {
namespace {

void check_given(int64_t size, const char* key) {
  check_key(size > 0, key, "must be positive, got {}; choose a model.preset or give the size",
            size);
}

void validate_heads(const ModelConfig& config) {
  check_key(config.heads % config.kv_heads == 0, "model.kv_heads",
            "{} does not divide model.heads, {}; choose a number that does", config.kv_heads,
            config.heads);
  check_key(config.positions != Positions::rope || config.head_dim % 2 == 0, "model.head_dim",
            "{} is odd, but RoPE turns pairs of elements; choose an even one", config.head_dim);
  check_key(config.head_dim <= ModelConfig::kLargestHeadDim, "model.head_dim",
            "{} is above {}, the largest the attention kernels do; use more heads", config.head_dim,
            ModelConfig::kLargestHeadDim);
}

void validate_rope(const ModelConfig& config) {
  const RopeConfig& rope = config.rope;
  check_key(config.positions == Positions::rope || rope.scaling == RopeScaling::none,
            "model.rope.scaling", "{} has no effect with model.positions {}; set it to none",
            name_of(rope.scaling), name_of(config.positions));
  const bool ramps = rope.scaling == RopeScaling::yarn || rope.scaling == RopeScaling::llama3;
  check_key(!ramps || rope.original_length > 0, "model.rope.original_context",
            "must be positive with scaling {}; give the context before scaling",
            name_of(rope.scaling));
  check_key(rope.factor >= 1, "model.rope.factor", "{} is below 1, which would shorten the context",
            rope.factor);
  check_key(rope.attention_factor >= 0, "model.rope.attention_factor", "{} is negative",
            rope.attention_factor);
  const std::pair<const char*, double> bounds[] = {
      {"model.rope.beta_fast", rope.beta_fast},
      {"model.rope.beta_slow", rope.beta_slow},
      {"model.rope.low_freq_factor", rope.low_freq_factor},
      {"model.rope.high_freq_factor", rope.high_freq_factor}};
  for (const auto& [key, value] : bounds)
    check_key(value > 0, key, "must be positive, got {}", value);
  check_key(rope.scaling != RopeScaling::yarn || rope.beta_fast > rope.beta_slow,
            "model.rope.beta_fast", "{} must be above beta_slow, {}", rope.beta_fast,
            rope.beta_slow);
  check_key(rope.scaling != RopeScaling::llama3 || rope.high_freq_factor > rope.low_freq_factor,
            "model.rope.high_freq_factor", "{} must be above low_freq_factor, {}",
            rope.high_freq_factor, rope.low_freq_factor);
}

void check_equal(const fields::Section& given, const fields::Section& source,
                 const std::string& path, const std::string& source_name) {
  for (size_t i = 0; i < given.fields.size(); ++i) {
    const std::string key = path + "." + given.fields[i].name;
    const fields::Value &a = given.fields[i].value, &b = source.fields[i].value;
    if (const auto* section = std::get_if<fields::Section>(&a)) {
      check_equal(*section, std::get<fields::Section>(b), key, source_name);
    } else if (const auto* scalar = std::get_if<fields::Scalar>(&a)) {
      const std::string value = scalar->yaml(), theirs = std::get<fields::Scalar>(b).yaml();
      check_key(value == theirs, key,
                "{} does not agree with {}, whose weights have {}; leave the key out", value,
                source_name, theirs);
    }
  }
}

}  // namespace

void ModelConfig::complete() {
  if (kv_heads == 0) kv_heads = heads;
  if (head_dim == 0 && heads > 0) {
    check_key(width % heads == 0, "model.heads",
              "{} heads do not divide width {}; change one of them or give model.head_dim", heads,
              width);
    head_dim = width / heads;
  }
  validate();
}

void ModelConfig::validate() const {
  check_given(vocab_size, "model.vocab_size");
  check_given(layers, "model.layers");
  check_given(width, "model.width");
  check_given(heads, "model.heads");
  check_given(kv_heads, "model.kv_heads");
  check_given(head_dim, "model.head_dim");
  check_given(ffn_width, "model.ffn_width");
  check_given(context, "model.context");
  check_key(sliding_window >= 0, "model.sliding_window", "{} is negative; 0 means no window",
            sliding_window);
  check_key(norm_eps > 0, "model.norm_eps", "must be positive, got {}", norm_eps);
  check_key(init.std > 0, "model.init.std", "must be positive, got {}", init.std);
  validate_heads(*this);
  validate_rope(*this);
}

void check_fits_weights(const ModelConfig& given, const ModelConfig& source,
                        const std::string& source_name) {
  ModelConfig a = given, b = source;
  for (ModelConfig* config : {&a, &b}) {  // what may differ is made equal
    config->init_from.clear();
    config->preset = {};
    config->context = config->sliding_window = 0;
    config->rope = {};
    config->init = {};
  }
  check_equal(fields::bind_section(a), fields::bind_section(b), "model", source_name);
}

int64_t parameter_count(const ModelConfig& config) {
  const int64_t query_width = config.heads * config.head_dim;
  const int64_t qkv_width = query_width + 2 * config.kv_heads * config.head_dim;
  int64_t block = config.width * qkv_width               // query, key and value projections
                  + query_width * config.width           // attention output
                  + 3 * config.width * config.ffn_width  // gate, up, down
                  + 2 * config.width;                    // norms before attention and MLP
  if (config.qkv_bias) block += qkv_width;
  if (config.qk_norm) block += 2 * config.head_dim;
  if (config.attention_sink) block += config.heads;
  const int64_t embedding = config.vocab_size * config.width;
  return (config.tied_embeddings ? 1 : 2) * embedding + config.layers * block + config.width;
}

}  // namespace tessera
