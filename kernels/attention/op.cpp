#include "kernels/attention/op.h"

namespace tessera {
namespace {

// Views of the three parts of qkv [N, (Hq + 2 Hkv) * D].
struct Heads {
  Tensor q, k, v;  // [N, Hq, D], [N, Hkv, D], [N, Hkv, D]
};

Heads split(const Tensor& qkv, int64_t heads, int64_t kv_heads) {
  check(qkv.rank() == 2 && heads > 0 && kv_heads > 0 && qkv.shape(1) % (heads + 2 * kv_heads) == 0,
        "attention: qkv of shape {} does not hold {} query heads and twice {} key heads",
        qkv.shape(), heads, kv_heads);
  const int64_t D = qkv.shape(1) / (heads + 2 * kv_heads), k_begin = heads * D,
                v_begin = k_begin + kv_heads * D;
  return {qkv.slice(1, 0, k_begin).unflatten(1, heads, D),
          qkv.slice(1, k_begin, v_begin).unflatten(1, kv_heads, D),
          qkv.slice(1, v_begin, qkv.shape(1)).unflatten(1, kv_heads, D)};
}

// What forward computes and backward needs besides the inputs: o or the probabilities, and lse
// unless nothing reads it.
std::vector<Tensor> run_forward(Context& ctx, AttentionForwardArgs args) {
  const Tensor& q = args.q;
  const bool standard = args.options.backend == AttentionBackend::standard;
  if (standard)
    args.probabilities = ctx.empty({q.shape(1), q.shape(0), args.key_segments.longest}, q.dtype());
  if (!standard || args.head_terms.sink.defined())
    args.lse = ctx.empty({q.shape(1), q.shape(0)}, dtype_of_sums(q.dtype()));
  attention_forward(ctx, args);
  std::vector<Tensor> kept{standard ? args.probabilities : args.o};
  if (args.lse.defined()) kept.push_back(args.lse);
  return kept;
}

// `kept`: what run_forward returned, with o as [Nq, Hq, D]. Returns the gradient of the sink, if
// there is one.
Tensor run_backward(Context& ctx, AttentionBackwardArgs args, std::span<const Tensor> kept) {
  const bool standard = args.options.backend == AttentionBackend::standard;
  (standard ? args.probabilities : args.o) = kept[0];
  if (kept.size() > 1) args.lse = kept[1];
  if (args.head_terms.sink.defined())
    args.d_sink = ctx.empty({args.q.shape(1)}, dtype_of_sums(args.q.dtype()));
  attention_backward(ctx, args);
  return args.d_sink;
}

struct SelfAttention {
  static constexpr std::string_view kName = "attention";
  Segments segments;
  int64_t heads, kv_heads;
  AttentionOptions options;
  Tensor alibi_slopes;
  bool has_sink;
  uint32_t step;

  // in: qkv and the sink, if there is one; saved: these and what run_forward returns
  std::vector<Tensor> forward(Context& ctx, std::span<const Tensor> in, Saved& saved) const {
    const Heads x = split(in[0], heads, kv_heads);
    const int64_t D = x.q.shape(2);
    Tensor o = ctx.empty({x.q.shape(0), heads * D}, in[0].dtype());
    std::vector<Tensor> kept = run_forward(ctx, {.q = x.q,
                                                 .k = x.k,
                                                 .v = x.v,
                                                 .query_segments = segments,
                                                 .key_segments = segments,
                                                 .options = options,
                                                 .o = o.unflatten(1, heads, D),
                                                 .head_terms = terms_of(in)});
    kept.insert(kept.begin(), in.begin(), in.end());
    saved.keep(std::move(kept));
    return {std::move(o)};
  }

  void backward(Context& ctx, std::vector<Tensor> saved, std::span<Tensor> grad_out,
                GradSink& grads) const {
    const size_t inputs = has_sink ? 2 : 1;
    if (!grads.wanted(0) && !(has_sink && grads.wanted(1))) return;
    const Tensor& qkv = saved[0];
    const Heads x = split(qkv, heads, kv_heads);
    Tensor d_qkv = ctx.empty(qkv.shape(), qkv.dtype());
    const Heads d = split(d_qkv, heads, kv_heads);
    Tensor d_sink = run_backward(ctx,
                                 {.q = x.q,
                                  .k = x.k,
                                  .v = x.v,
                                  .d_o = grad_out[0].unflatten(1, heads, x.q.shape(2)),
                                  .query_segments = segments,
                                  .key_segments = segments,
                                  .options = options,
                                  .step = step,
                                  .dq = d.q,
                                  .dk = d.k,
                                  .dv = d.v,
                                  .head_terms = terms_of(std::span(saved).first(inputs))},
                                 std::span(saved).subspan(inputs));
    if (grads.wanted(0)) grads.put(ctx, 0, std::move(d_qkv));
    if (has_sink && grads.wanted(1)) grads.put(ctx, 1, std::move(d_sink));
  }

  AttentionHeadTerms terms_of(std::span<const Tensor> in) const {
    return {.alibi_slopes = alibi_slopes, .sink = has_sink ? in[1] : Tensor()};
  }
};

struct CrossAttention {
  static constexpr std::string_view kName = "attention";
  Segments query_segments, key_segments;
  AttentionOptions options;
  Tensor alibi_slopes;
  bool has_sink;
  uint32_t step;

  // in: q, k, v and the sink, if there is one; saved: these and what run_forward returns
  std::vector<Tensor> forward(Context& ctx, std::span<const Tensor> in, Saved& saved) const {
    Tensor o = ctx.empty(in[0].shape(), in[0].dtype());
    std::vector<Tensor> kept = run_forward(ctx, {.q = in[0],
                                                 .k = in[1],
                                                 .v = in[2],
                                                 .query_segments = query_segments,
                                                 .key_segments = key_segments,
                                                 .options = options,
                                                 .o = o,
                                                 .head_terms = terms_of(in)});
    kept.insert(kept.begin(), in.begin(), in.end());
    saved.keep(std::move(kept));
    return {std::move(o)};
  }

  void backward(Context& ctx, std::vector<Tensor> saved, std::span<Tensor> grad_out,
                GradSink& grads) const {
    const size_t inputs = has_sink ? 4 : 3;
    std::vector<Tensor> d;
    for (size_t i = 0; i < 3; ++i) d.push_back(ctx.empty(saved[i].shape(), saved[i].dtype()));
    d.push_back(run_backward(ctx,
                             {.q = saved[0],
                              .k = saved[1],
                              .v = saved[2],
                              .d_o = grad_out[0],
                              .query_segments = query_segments,
                              .key_segments = key_segments,
                              .options = options,
                              .step = step,
                              .dq = d[0],
                              .dk = d[1],
                              .dv = d[2],
                              .head_terms = terms_of(std::span(saved).first(inputs))},
                             std::span(saved).subspan(inputs)));
    for (size_t i = 0; i < inputs; ++i) {
      if (grads.wanted(int(i))) grads.put(ctx, int(i), std::move(d[i]));
    }
  }

  AttentionHeadTerms terms_of(std::span<const Tensor> in) const {
    return {.alibi_slopes = alibi_slopes, .sink = has_sink ? in[3] : Tensor()};
  }
};

}  // namespace

Var attention(Context& ctx, const Var& qkv, const Segments& segments, int64_t heads,
              int64_t kv_heads, const AttentionOptions& options, const AttentionTerms& terms) {
  const bool has_sink = terms.sink.value().defined();
  const SelfAttention op{segments,           heads,    kv_heads,  options,
                         terms.alibi_slopes, has_sink, ctx.step()};
  return has_sink ? apply_single(ctx, op, {qkv, terms.sink}) : apply_single(ctx, op, {qkv});
}

Var attention(Context& ctx, const Var& q, const Var& k, const Var& v,
              const Segments& query_segments, const Segments& key_segments,
              const AttentionOptions& options, const AttentionTerms& terms) {
  const bool has_sink = terms.sink.value().defined();
  const CrossAttention op{query_segments,     key_segments, options,
                          terms.alibi_slopes, has_sink,     ctx.step()};
  return has_sink ? apply_single(ctx, op, {q, k, v, terms.sink}) : apply_single(ctx, op, {q, k, v});
}

}  // namespace tessera
