#include "model/formats/tensor_map.h"

namespace tessera {
namespace {

// Collects the tensors of one model.
class Map {
 public:
  Map(const ModelConfig& config, const TensorNames& names, bool interleaved)
      : config_(config), names_(names), interleaved_(interleaved) {}

  std::vector<MappedTensor> tensors() {
    const int64_t V = config_.vocab_size, d = config_.width;
    tensors_.push_back({weight(names_.embedding), {V, d}, "embedding.weight"});
    for (int64_t i = 0; i < config_.layers; ++i) add_layer(i);
    tensors_.push_back({weight(names_.final_norm), {d}, "final_norm.weight"});
    if (!config_.tied_embeddings)
      tensors_.push_back({weight(names_.head), {V, d}, "lm_head.weight"});
    return std::move(tensors_);
  }

 private:
  static std::string weight(std::string_view name) { return fmt::format("{}.weight", name); }

  void add_layer(int64_t layer) {
    file_ = fmt::format(fmt::runtime(names_.layer_prefix), layer);
    ours_ = fmt::format("layers.{}.", layer);
    const int64_t d = config_.width, D = config_.head_dim, F = config_.ffn_width;
    add(names_.attention_norm, {d}, "attention_norm.weight");
    add_qkv("weight");
    if (config_.qkv_bias) add_qkv("bias");
    if (config_.qk_norm) {
      add(names_.q_norm, {D}, "attention.q_norm.weight");
      add(names_.k_norm, {D}, "attention.k_norm.weight");
    }
    add(names_.attention_output, {d, config_.heads * D}, "attention.output.weight");
    add(names_.mlp_norm, {d}, "mlp_norm.weight");
    add(names_.gate, {F, d}, "mlp.gate_up.weight");
    add(names_.up, {F, d}, "mlp.gate_up.weight", F);
    add(names_.down, {d, F}, "mlp.down.weight");
  }

  void add(std::string_view name, const Shape& shape, std::string_view parameter,
           int64_t first_row = 0, int64_t interleaved_head = 0, std::string_view kind = "weight") {
    tensors_.push_back({fmt::format("{}{}.{}", file_, name, kind), shape,
                        fmt::format("{}{}", ours_, parameter), first_row, interleaved_head});
  }

  void add_qkv(std::string_view kind) {
    const int64_t D = config_.head_dim;
    const int64_t queries = config_.heads * D, keys = config_.kv_heads * D;
    const std::string parameter = fmt::format("attention.qkv.{}", kind);
    const auto shape = [&](int64_t rows) {
      return kind == "bias" ? Shape{rows} : Shape{rows, config_.width};
    };
    const int64_t head = interleaved_ ? D : 0;
    add(names_.q, shape(queries), parameter, 0, head, kind);
    add(names_.k, shape(keys), parameter, queries, head, kind);
    add(names_.v, shape(keys), parameter, queries + keys, 0, kind);
  }

  const ModelConfig& config_;
  const TensorNames& names_;
  bool interleaved_;
  std::string file_, ours_;
  std::vector<MappedTensor> tensors_;
};

}  // namespace

const TensorNames kHuggingFaceNames = {
    .embedding = "model.embed_tokens",
    .final_norm = "model.norm",
    .head = "lm_head",
    .layer_prefix = "model.layers.{}.",
    .attention_norm = "input_layernorm",
    .q = "self_attn.q_proj",
    .k = "self_attn.k_proj",
    .v = "self_attn.v_proj",
    .attention_output = "self_attn.o_proj",
    .q_norm = "self_attn.q_norm",
    .k_norm = "self_attn.k_norm",
    .mlp_norm = "post_attention_layernorm",
    .gate = "mlp.gate_proj",
    .up = "mlp.up_proj",
    .down = "mlp.down_proj",
};

const TensorNames kGgufNames = {
    .embedding = "token_embd",
    .final_norm = "output_norm",
    .head = "output",
    .layer_prefix = "blk.{}.",
    .attention_norm = "attn_norm",
    .q = "attn_q",
    .k = "attn_k",
    .v = "attn_v",
    .attention_output = "attn_output",
    .q_norm = "attn_q_norm",
    .k_norm = "attn_k_norm",
    .mlp_norm = "ffn_norm",
    .gate = "ffn_gate",
    .up = "ffn_up",
    .down = "ffn_down",
};

// The file has no names; these follow the fields of llama2.c's TransformerWeights.
const TensorNames kLlama2cNames = {
    .embedding = "token_embedding_table",
    .final_norm = "rms_final",
    .head = "wcls",
    .layer_prefix = "{}.",
    .attention_norm = "rms_att",
    .q = "wq",
    .k = "wk",
    .v = "wv",
    .attention_output = "wo",
    .q_norm = nullptr,
    .k_norm = nullptr,
    .mlp_norm = "rms_ffn",
    .gate = "w1",
    .up = "w3",
    .down = "w2",
};

int64_t MappedTensor::parameter_row(int64_t row) const {
  if (interleaved_head == 0) return first_row + row;
  const int64_t head = row / interleaved_head * interleaved_head, in_head = row - head;
  return first_row + head + in_head / 2 + in_head % 2 * (interleaved_head / 2);
}

int64_t MappedTensor::file_row(int64_t row) const {
  if (interleaved_head == 0) return row;
  const int64_t head = row / interleaved_head * interleaved_head, in_head = row - head;
  const int64_t half = interleaved_head / 2;
  return head + in_head % half * 2 + in_head / half;
}

std::vector<MappedTensor> tensor_map(const ModelConfig& config, const TensorNames& names,
                                     bool interleaved) {
  return Map(config, names, interleaved).tensors();
}

int64_t mapped_tensor_count(const ModelConfig& config) {
  const int64_t layer = 9 + (config.qkv_bias ? 3 : 0) + (config.qk_norm ? 2 : 0);
  return config.layers * layer + (config.tied_embeddings ? 2 : 3);
}

}  // namespace tessera
