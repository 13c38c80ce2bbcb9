// The forward pass of generation: a few new tokens of some sequences against their cached keys and
// values. What is done row by row is done for all of them at once, attention for each alone.
#include <array>
#include <span>
#include <vector>

#include "core/transfer.h"
#include "kernels/elementwise/op.h"
#include "kernels/embedding/op.h"
#include "kernels/linear/op.h"
#include "model/llama.h"

namespace tessera {
namespace {

// One segment of n rows.
Segments whole(Context& ctx, int64_t n) {
  return {int_tensor(ctx, std::array{0, int32_t(n)}), n};
}

// The rows of one sequence among all, and where they stand in it.
struct Rows {
  KvCache& cache;
  int64_t begin, end;      // of the rows that are given together
  int64_t first, length;   // positions of its new tokens: [first, length)
  Segments queries, keys;  // the new tokens; all of them
};

std::vector<Rows> rows_of(Context& ctx, std::span<const Continuation> sequences) {
  std::vector<Rows> rows;
  int64_t begin = 0;
  for (const auto& [cache, tokens] : sequences) {
    const int64_t first = cache->length(), length = first + tokens;
    check(length <= cache->capacity(), "{} tokens do not fit the cache of {}", length,
          cache->capacity());
    rows.push_back(
        {*cache, begin, begin + tokens, first, length, whole(ctx, tokens), whole(ctx, length)});
    begin += tokens;
  }
  return rows;
}

// i32 [N]: the position of every row in its sequence.
Tensor positions_of(Context& ctx, const std::vector<Rows>& sequences) {
  std::vector<int32_t> positions;
  for (const Rows& rows : sequences) {
    for (int64_t p = rows.first; p < rows.length; ++p) positions.push_back(int32_t(p));
  }
  return int_tensor(ctx, positions);
}

// [B, d]: the last row of each sequence.
Tensor last_rows(Context& ctx, const Tensor& x, const std::vector<Rows>& sequences) {
  const Tensor last = ctx.empty({int64_t(sequences.size()), x.shape(1)}, x.dtype());
  for (size_t i = 0; i < sequences.size(); ++i) {
    const int64_t end = sequences[i].end;
    convert(ctx, last.slice(0, int64_t(i), int64_t(i) + 1), x.slice(0, end - 1, end));
  }
  return last;
}

}  // namespace

// Attention of the new tokens of one sequence, qkv [n, (Hq + 2 Hkv) * D], to all that it has seen:
// [n, Hq * D].
Tensor Llama::cached_attention(Context& ctx, int layer, const Tensor& qkv, KvCache& cache,
                               const Segments& queries, const Segments& keys) const {
  const int64_t Hq = config_.heads, Hkv = config_.kv_heads, D = config_.head_dim;
  const int64_t first = cache.length(), length = first + qkv.shape(0);
  convert(ctx, cache.keys(layer).slice(0, first, length), qkv.slice(1, Hq * D, (Hq + Hkv) * D));
  convert(ctx, cache.values(layer).slice(0, first, length),
          qkv.slice(1, (Hq + Hkv) * D, (Hq + 2 * Hkv) * D));
  const Var q(qkv.slice(1, 0, Hq * D).unflatten(1, Hq, D));
  const Var k(cache.keys(layer).slice(0, 0, length).unflatten(1, Hkv, D));
  const Var v(cache.values(layer).slice(0, 0, length).unflatten(1, Hkv, D));
  return attention(ctx, q, k, v, queries, keys, attention_options(layer, false),
                   attention_terms(layers_[size_t(layer)]))
      .value()
      .view({qkv.shape(0), Hq * D});
}

Tensor Llama::next_logits(Context& ctx, const Tensor& tokens,
                          std::span<const Continuation> sequences) const {
  const GradMode off(ctx, false);
  const std::vector<Rows> rows = rows_of(ctx, sequences);
  const int64_t n = tokens.shape(0);
  check(!rows.empty() && rows.back().end == n, "{} tokens for sequences of {} in all", n,
        rows.empty() ? 0 : rows.back().end);
  const float eps = float(config_.norm_eps);
  const Tensor positions = positions_of(ctx, rows);
  Stream stream{embedding(ctx, tokens, embedding_), std::nullopt};
  for (int i = 0; i < int(layers_.size()); ++i) {
    const Layer& layer = layers_[size_t(i)];
    const NormLinear projected = projected_qkv(ctx, layer, stream, positions);
    const Tensor& qkv = projected.y.value();
    const Tensor attended = ctx.empty({n, config_.heads * config_.head_dim}, qkv.dtype());
    for (const Rows& each : rows) {
      convert(ctx, attended.slice(0, each.begin, each.end),
              cached_attention(ctx, i, qkv.slice(0, each.begin, each.end), each.cache, each.queries,
                               each.keys));
    }
    stream = mlp(ctx, layer, {projected.sum, linear(ctx, Var(attended), layer.attention_output)});
  }
  for (const Rows& each : rows) each.cache.advance(each.end - each.begin);
  const Var x = stream.branch ? add(ctx, stream.residual, *stream.branch) : stream.residual;
  const Var last(last_rows(ctx, x.value(), rows));
  return linear(ctx, rms_norm(ctx, last, final_norm_, eps), head()).value();
}

Tensor Llama::next_logits(Context& ctx, const Tensor& tokens, KvCache& cache) const {
  const Continuation all{&cache, tokens.shape(0)};
  return next_logits(ctx, tokens, std::span(&all, 1)).view({config_.vocab_size});
}

}  // namespace tessera
