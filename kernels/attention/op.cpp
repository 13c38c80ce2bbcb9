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

// What forward computes and backward needs besides the inputs: o and lse, or the probabilities.
std::vector<Tensor> run_forward(Context& ctx, AttentionForwardArgs args) {
  const Tensor& q = args.q;
  if (args.options.backend == AttentionBackend::standard) {
    args.probabilities = ctx.empty({q.shape(1), q.shape(0), args.key_segments.longest}, q.dtype());
    attention_forward(ctx, args);
    return {args.probabilities};
  }
  args.lse = ctx.empty({q.shape(1), q.shape(0)}, q.dtype() == DType::f64 ? DType::f64 : DType::f32);
  attention_forward(ctx, args);
  return {args.o, args.lse};
}

size_t kept_tensors(const AttentionOptions& options) {
  return options.backend == AttentionBackend::standard ? 1 : 2;
}

// `kept`: what run_forward returned, with o as [Nq, Hq, D].
void run_backward(Context& ctx, AttentionBackwardArgs args, std::span<const Tensor> kept) {
  if (args.options.backend == AttentionBackend::standard) {
    args.probabilities = kept[0];
  } else {
    args.o = kept[0];
    args.lse = kept[1];
  }
  attention_backward(ctx, args);
}

struct SelfAttention {
  static constexpr std::string_view kName = "attention";
  Segments segments;
  int64_t heads, kv_heads;
  AttentionOptions options;
  Tensor alibi_slopes;
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
    const size_t inputs = saved.size() - kept_tensors(options);
    const bool has_sink = inputs > 1;
    if (!grads.wanted(0) && !(has_sink && grads.wanted(1))) return;
    const Tensor& qkv = saved[0];
    const Heads x = split(qkv, heads, kv_heads);
    Tensor d_qkv = ctx.empty(qkv.shape(), qkv.dtype());
    Tensor d_sink = has_sink ? ctx.empty({heads}, DType::f32) : Tensor();
    const Heads d = split(d_qkv, heads, kv_heads);
    run_backward(ctx,
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
                  .head_terms = terms_of(std::span(saved).first(inputs)),
                  .d_sink = d_sink},
                 std::span(saved).subspan(inputs));
    if (grads.wanted(0)) grads.put(ctx, 0, std::move(d_qkv));
    if (has_sink && grads.wanted(1)) grads.put(ctx, 1, std::move(d_sink));
  }

  AttentionHeadTerms terms_of(std::span<const Tensor> in) const {
    return {.alibi_slopes = alibi_slopes, .sink = in.size() > 1 ? in[1] : Tensor()};
  }
};

struct CrossAttention {
  static constexpr std::string_view kName = "attention";
  Segments query_segments, key_segments;
  AttentionOptions options;
  uint32_t step;

  // in: q, k, v; saved: these and what run_forward returns
  std::vector<Tensor> forward(Context& ctx, std::span<const Tensor> in, Saved& saved) const {
    Tensor o = ctx.empty(in[0].shape(), in[0].dtype());
    std::vector<Tensor> kept = run_forward(ctx, {.q = in[0],
                                                 .k = in[1],
                                                 .v = in[2],
                                                 .query_segments = query_segments,
                                                 .key_segments = key_segments,
                                                 .options = options,
                                                 .o = o});
    kept.insert(kept.begin(), in.begin(), in.end());
    saved.keep(std::move(kept));
    return {std::move(o)};
  }

  void backward(Context& ctx, std::vector<Tensor> saved, std::span<Tensor> grad_out,
                GradSink& grads) const {
    std::vector<Tensor> d;
    for (size_t i = 0; i < 3; ++i) d.push_back(ctx.empty(saved[i].shape(), saved[i].dtype()));
    run_backward(ctx,
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
                  .dv = d[2]},
                 std::span(saved).subspan(3));
    for (int i = 0; i < 3; ++i) {
      if (grads.wanted(i)) grads.put(ctx, i, std::move(d[size_t(i)]));
    }
  }
};

}  // namespace

Var attention(Context& ctx, const Var& qkv, const Segments& segments, int64_t heads,
              int64_t kv_heads, const AttentionOptions& options, const AttentionTerms& terms) {
  const SelfAttention op{segments, heads, kv_heads, options, terms.alibi_slopes, ctx.step()};
  if (!terms.sink.value().defined()) return apply_single(ctx, op, {qkv});
  return apply_single(ctx, op, {qkv, terms.sink});
}

Var attention(Context& ctx, const Var& q, const Var& k, const Var& v,
              const Segments& query_segments, const Segments& key_segments,
              const AttentionOptions& options) {
  return apply_single(ctx, CrossAttention{query_segments, key_segments, options, ctx.step()},
                      {q, k, v});
}

}  // namespace tessera
