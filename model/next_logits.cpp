// The forward pass of generation: a few new tokens against cached keys and values.
#include <array>
#include <numeric>
#include <vector>

#include "core/transfer.h"
#include "kernels/elementwise/op.h"
#include "kernels/embedding/op.h"
#include "kernels/linear/op.h"
#include "kernels/rms_norm/op.h"
#include "model/llama.h"

namespace tessera {
namespace {

// i32 [n] holding first, first + 1, ...
Tensor counting(Context& ctx, int64_t first, int64_t n) {
  std::vector<int32_t> values(static_cast<size_t>(n));
  std::iota(values.begin(), values.end(), int32_t(first));
  return int_tensor(ctx, values);
}

// One segment of n rows.
Segments whole(Context& ctx, int64_t n) {
  return {int_tensor(ctx, std::array{0, int32_t(n)}), n};
}

}  // namespace

Tensor Llama::next_logits(Context& ctx, const Tensor& tokens, KvCache& cache) const {
  const GradMode off(ctx, false);
  const int64_t n = tokens.shape(0), begin = cache.length(), end = begin + n;
  check(end <= cache.capacity(), "generate: {} tokens do not fit the cache of {}", end,
        cache.capacity());
  const int64_t Hq = config_.heads, Hkv = config_.kv_heads, D = config_.head_dim;
  const float eps = float(config_.norm_eps);
  const Tensor positions = counting(ctx, begin, n);
  const Segments queries = whole(ctx, n), keys = whole(ctx, end);
  Var x = embedding(ctx, tokens, embedding_);
  for (int i = 0; i < int(layers_.size()); ++i) {
    const Layer& layer = layers_[size_t(i)];
    const Tensor qkv =
        projected_qkv(ctx, layer, rms_norm(ctx, x, layer.attention_norm, eps), positions).value();
    convert(ctx, cache.keys(i).slice(0, begin, end), qkv.slice(1, Hq * D, (Hq + Hkv) * D));
    convert(ctx, cache.values(i).slice(0, begin, end),
            qkv.slice(1, (Hq + Hkv) * D, (Hq + 2 * Hkv) * D));
    const Var q(qkv.slice(1, 0, Hq * D).unflatten(1, Hq, D));
    const Var k(cache.keys(i).slice(0, 0, end).unflatten(1, Hkv, D));
    const Var v(cache.values(i).slice(0, 0, end).unflatten(1, Hkv, D));
    const AttentionOptions options = attention_options(i, false);
    const Tensor attended = attention(ctx, q, k, v, queries, keys, options, attention_terms(layer))
                                .value()
                                .view({n, Hq * D});
    auto joined = add_rms_norm(ctx, x, linear(ctx, Var(attended), layer.attention_output),
                               layer.mlp_norm, eps);
    x = add(ctx, joined.sum, mlp(ctx, layer, joined.normed));
  }
  cache.advance(n);
  const Var last(x.value().slice(0, n - 1, n));
  return linear(ctx, rms_norm(ctx, last, final_norm_, eps), head())
      .value()
      .view({config_.vocab_size});
}

}  // namespace tessera
