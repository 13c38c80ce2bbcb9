#include "model/llama.h"

#include <cmath>

#include "core/autograd/recompute.h"
#include "core/transfer.h"
#include "kernels/elementwise/op.h"
#include "kernels/embedding/op.h"
#include "kernels/linear/op.h"
#include "kernels/swiglu/op.h"
#include "model/alibi.h"

// Shapes: N = B * T rows, d width, D head size, Hq and Hkv query and key heads, F feed-forward
// width, V vocabulary.

namespace tessera {

Llama::Llama(Context& ctx, const ModelConfig& config, const ComputeOptions& options)
    : config_(config), options_(options) {
  const int64_t V = config.vocab_size, d = config.width;
  embedding_ = parameter(ctx, "embedding.weight", {V, d}, config.init.std);
  for (int64_t i = 0; i < config.layers; ++i) layers_.push_back(make_layer(ctx, int(i)));
  final_norm_ = parameter(ctx, "final_norm.weight", {d}, 0, 1);
  if (!config.tied_embeddings) head_ = parameter(ctx, "lm_head.weight", {V, d}, config.init.std);
  const DType table_dtype = options.dtype == DType::f64 ? DType::f64 : DType::f32;
  if (config.positions == Positions::rope)
    rope_ = rope_table(ctx, config.rope, config.context, config.head_dim, table_dtype);
  if (config.positions == Positions::alibi) {
    alibi_slopes_ = ctx.empty({config.heads}, DType::f32, MemoryTag::data);
    if (!ctx.is_meta()) upload(alibi_slopes_, alibi_slopes(config.heads).data());
  }
}

Var Llama::parameter(Context& ctx, std::string name, const Shape& shape, double init_std,
                     float init_value) {
  // Vectors stay in f32: they are small, and rounding a norm's weight near 1 to bf16 would cost it
  // 16 bits.
  const DType vector_dtype = options_.dtype == DType::f64 ? DType::f64 : DType::f32;
  const DType dtype = shape.rank() == 2 ? options_.dtype : vector_dtype;
  Var var = make_parameter(name, ctx.empty(shape, dtype, MemoryTag::parameters));
  parameters_.push_back({std::move(name), var, init_std, init_value});
  return var;
}

Llama::Layer Llama::make_layer(Context& ctx, int index) {
  const int64_t d = config_.width, F = config_.ffn_width, D = config_.head_dim;
  const int64_t q_rows = config_.heads * D, qkv_rows = q_rows + 2 * config_.kv_heads * D;
  const double std = config_.init.std;
  // GPT-2's rule: the 2 L branches that add up on the residual stream start smaller.
  const double residual_std =
      config_.init.scale_residual ? std / std::sqrt(2.0 * double(config_.layers)) : std;
  const auto make = [&](const char* name, const Shape& shape, double init_std, float value = 0) {
    return parameter(ctx, fmt::format("layers.{}.{}", index, name), shape, init_std, value);
  };
  Layer layer;
  layer.attention_norm = make("attention_norm.weight", {d}, 0, 1);
  layer.qkv = make("attention.qkv.weight", {qkv_rows, d}, std);
  if (config_.qkv_bias) layer.qkv_bias = make("attention.qkv.bias", {qkv_rows}, 0);
  if (config_.qk_norm) {
    layer.q_norm = make("attention.q_norm.weight", {D}, 0, 1);
    layer.k_norm = make("attention.k_norm.weight", {D}, 0, 1);
  }
  if (config_.attention_sink) layer.sink = make("attention.sink", {config_.heads}, 0);
  layer.attention_output = make("attention.output.weight", {d, q_rows}, residual_std);
  layer.mlp_norm = make("mlp_norm.weight", {d}, 0, 1);
  layer.gate_up = make("mlp.gate_up.weight", {2 * F, d}, std);
  layer.down = make("mlp.down.weight", {d, F}, residual_std);
  return layer;
}

// The stream as attention finds it, and its queries, keys and values, rotated with RoPE:
// [N, (Hq + 2 Hkv) * D].
NormLinear Llama::projected_qkv(Context& ctx, const Layer& layer, const Stream& in,
                                const Tensor& positions) const {
  const int64_t Hq = config_.heads, Hkv = config_.kv_heads;
  const float eps = float(config_.norm_eps);
  auto [residual, qkv] = rms_norm_linear(ctx, in.residual, in.branch, layer.attention_norm,
                                         layer.qkv, layer.qkv_bias, eps);
  if (layer.q_norm) qkv = qk_norm(ctx, qkv, *layer.q_norm, *layer.k_norm, Hq, Hkv, eps);
  if (config_.positions == Positions::rope)
    qkv = rope(ctx, std::move(qkv), positions, rope_, Hq, Hkv, config_.head_dim);
  return {std::move(residual), std::move(qkv)};
}

Llama::Stream Llama::self_attention(Context& ctx, int index, const Stream& in,
                                    const DeviceBatch& batch) const {
  const NameScope scope(ctx, "attention");
  const Layer& layer = layers_[size_t(index)];
  auto [residual, qkv] = projected_qkv(ctx, layer, in, batch.positions);
  const Var heads =
      attention(ctx, qkv, {batch.segments, batch.context, batch.documents}, config_.heads,
                config_.kv_heads, attention_options(index, batch.training), attention_terms(layer));
  return {std::move(residual), linear(ctx, heads, layer.attention_output)};
}

Llama::Stream Llama::mlp(Context& ctx, const Layer& layer, const Stream& in) const {
  const NameScope scope(ctx, "mlp");
  auto [residual, gate_up] = rms_norm_linear(ctx, in.residual, in.branch, layer.mlp_norm,
                                             layer.gate_up, {}, float(config_.norm_eps));
  return {std::move(residual), swiglu_linear(ctx, gate_up, layer.down)};
}

AttentionOptions Llama::attention_options(int layer, bool training) const {
  AttentionOptions options;
  options.backend = options_.attention;
  options.window_left = config_.sliding_window > 0 ? config_.sliding_window - 1 : -1;
  options.softcap = options_.attention_softcap;
  options.deterministic = options_.attention_deterministic;
  options.dropout = training ? options_.attention_dropout : 0;
  options.dropout_purpose = purpose_id(fmt::format("dropout/layers.{}.attention", layer));
  return options;
}

AttentionTerms Llama::attention_terms(const Layer& layer) const {
  return {.alibi_slopes = alibi_slopes_, .sink = layer.sink.value_or(Var())};
}

Llama::Stream Llama::block(Context& ctx, int index, const Stream& in,
                           const DeviceBatch& batch) const {
  const NameScope scope(ctx, fmt::format("layers.{}", index));
  return mlp(ctx, layers_[size_t(index)], self_attention(ctx, index, in, batch));
}

Llama::Stream Llama::run_block(Context& ctx, int index, const Stream& in,
                               const DeviceBatch& batch) const {
  if (!options_.recompute_blocks) return block(ctx, index, in, batch);
  // The branch is added inside the segment, so that one [N, d] tensor a block is all that is kept.
  const Segment segment = [this, &ctx, index, batch](std::span<const Var> inputs) {
    const Stream out = block(ctx, index, {inputs[0], std::nullopt}, batch);
    return std::vector<Var>{add(ctx, out.residual, *out.branch)};
  };
  return {std::move(recompute(ctx, segment, {in.residual}).front()), std::nullopt};
}

Var Llama::hidden(Context& ctx, const DeviceBatch& batch) const {
  Stream stream{embedding(ctx, batch.tokens, embedding_), std::nullopt};
  for (int i = 0; i < int(layers_.size()); ++i) stream = run_block(ctx, i, stream, batch);
  const float eps = float(config_.norm_eps);
  if (!stream.branch) return rms_norm(ctx, stream.residual, final_norm_, eps);
  return add_rms_norm(ctx, stream.residual, *stream.branch, final_norm_, eps).normed;
}

Var Llama::loss(Context& ctx, const DeviceBatch& batch, const LossOptions& loss) const {
  const Var x = hidden(ctx, batch);
  const NameScope scope(ctx, "loss");
  return linear_cross_entropy(ctx, x, head(), batch.targets, loss);
}

Tensor Llama::token_losses(Context& ctx, const DeviceBatch& batch, const LossOptions& loss) const {
  const GradMode off(ctx, false);
  const Var x = hidden(ctx, batch);
  const NameScope scope(ctx, "loss");
  return linear_cross_entropy_per_token(ctx, x.value(), head().value(), batch.targets, loss);
}

}  // namespace tessera
