#include "model/formats/huggingface_rope.h"

namespace tessera {
namespace {

constexpr int64_t kMostTokens = int64_t{1} << 31;

// Keys of DeepSeek's variants and of later ones, which change the frequencies or the amplitude.
void refuse_variants(const JsonObject& scaling) {
  for (const char* key : {"mscale", "mscale_all_dim", "short_factor", "long_factor", "sections",
                          "mrope_section", "alpha"})
    if (scaling.has(key)) scaling.fail_at(key, "is not supported");
  if (!scaling.boolean("truncate").value_or(true))
    scaling.fail_at("truncate", "false is not supported: the ramp's ends are whole pairs here");
  if (scaling.number("partial_rotary_factor").value_or(1) != 1)
    scaling.fail_at("partial_rotary_factor", "only 1 is supported");
}

void read_yarn(const JsonObject& scaling, int64_t context, RopeConfig& rope) {
  rope.original_length =
      scaling.integer("original_max_position_embeddings", 1, kMostTokens).value_or(context);
  rope.beta_fast = scaling.number("beta_fast").value_or(32);
  rope.beta_slow = scaling.number("beta_slow").value_or(1);
  rope.attention_factor = scaling.number("attention_factor").value_or(0);
}

void read_llama3(const JsonObject& scaling, RopeConfig& rope) {
  rope.original_length = scaling.need_integer("original_max_position_embeddings", 1, kMostTokens);
  rope.low_freq_factor = scaling.need_number("low_freq_factor");
  rope.high_freq_factor = scaling.need_number("high_freq_factor");
}

void read_scaling(const JsonObject& scaling, int64_t context, RopeConfig& rope) {
  const char* key = scaling.has("rope_type") ? "rope_type" : "type";
  const std::string type = scaling.text(key).value_or("default");
  refuse_variants(scaling);
  if (type == "default" || type == "none") return;
  if (type == "linear") {
    rope.scaling = RopeScaling::linear;
  } else if (type == "yarn") {
    rope.scaling = RopeScaling::yarn;
    read_yarn(scaling, context, rope);
  } else if (type == "llama3") {
    rope.scaling = RopeScaling::llama3;
    read_llama3(scaling, rope);
  } else {
    scaling.fail_at(key, "'{}' is not supported; default, linear, yarn and llama3 are", type);
  }
  rope.factor = scaling.need_number("factor");
  if (rope.factor < 1) scaling.fail_at("factor", "{} is below 1", rope.factor);
}

}  // namespace

RopeConfig read_huggingface_rope(const JsonObject& config, int64_t context) {
  RopeConfig rope;
  const auto parameters = config.object("rope_parameters");
  const JsonObject& holder = parameters ? *parameters : config;
  rope.theta = holder.number("rope_theta").value_or(config.number("rope_theta").value_or(10000));
  if (rope.theta <= 1) holder.fail_at("rope_theta", "{} is not above 1", rope.theta);
  for (const char* key : {"full_attention", "sliding_attention"})
    if (parameters && parameters->has(key))
      parameters->fail_at(key, "settings by kind of layer are not supported");
  if (parameters) {
    read_scaling(*parameters, context, rope);
  } else if (const auto scaling = config.object("rope_scaling")) {
    read_scaling(*scaling, context, rope);
  }
  return rope;
}

void write_huggingface_rope(nlohmann::ordered_json& config, const RopeConfig& rope) {
  config["rope_theta"] = rope.theta;
  nlohmann::ordered_json scaling;
  if (rope.scaling == RopeScaling::linear)
    scaling = {{"rope_type", "linear"}, {"factor", rope.factor}};
  if (rope.scaling == RopeScaling::yarn) {
    scaling = {{"rope_type", "yarn"},
               {"factor", rope.factor},
               {"original_max_position_embeddings", rope.original_length},
               {"beta_fast", rope.beta_fast},
               {"beta_slow", rope.beta_slow}};
    if (rope.attention_factor > 0) scaling["attention_factor"] = rope.attention_factor;
  }
  if (rope.scaling == RopeScaling::llama3) {
    scaling = {{"rope_type", "llama3"},
               {"factor", rope.factor},
               {"original_max_position_embeddings", rope.original_length},
               {"low_freq_factor", rope.low_freq_factor},
               {"high_freq_factor", rope.high_freq_factor}};
  }
  config["rope_scaling"] = scaling;
}

}  // namespace tessera
