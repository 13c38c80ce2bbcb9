#include "kernels/attention/standard_gpu.h"

#include <algorithm>
#include <cmath>

#include "core/transfer.h"
#include "kernels/attention/gpu_softmax.h"
#include "kernels/attention/standard_products.h"
#include "kernels/launch/gpu/dispatch.h"

namespace tessera {
namespace {

struct Segment {
  int64_t q_first, queries, k_first, keys;
};

std::vector<Segment> download_segments(const Segments& queries, const Segments& keys) {
  const auto q = to_vector<int32_t>(queries.offsets), k = to_vector<int32_t>(keys.offsets);
  std::vector<Segment> segments;
  for (size_t s = 0; s + 1 < q.size(); ++s) {
    segments.push_back({q[s], q[s + 1] - q[s], k[s], k[s + 1] - k[s]});
    const Segment& x = segments.back();
    check(x.queries >= 0 && x.queries <= queries.longest && x.keys >= 0 && x.keys <= keys.longest,
          "attention: segment {} has {} queries and {} keys; there may be {} and {}", s, x.queries,
          x.keys, queries.longest, keys.longest);
  }
  return segments;
}

// Keys to one side of the diagonal that a window leaves visible.
int64_t reach(int64_t window) {
  constexpr int64_t kUnlimited = int64_t{1} << 40;
  return window < 0 ? kUnlimited : std::min(window, kUnlimited);
}

AttentionArray from_token(const Tensor& x, int64_t token) {
  return {x.raw() + token * x.stride(0) * int64_t(size_of(x.dtype())), x.stride(0), x.stride(1)};
}

// Matrices [max_q, max_k], and sums [max_k, D]; those that a dtype or an option does not need are
// undefined.
struct Scratch {
  Tensor products;    // q k^T, where the probabilities have no room for it or are there already
  Tensor d_p;         // gradient of the probabilities
  Tensor d_products;  // gradient of q k^T, where d_p has no room for it
  Tensor dropped;     // probabilities after dropout
  Tensor sink_rows;   // [Hq, Nq], each row's part of the sinks' gradients
  Tensor dk, dv;      // sums of 16-bit gradients over the heads of a group

  Scratch(Context& ctx, const AttentionProblem& p, bool backward) {
    const bool narrow = p.dtype == DType::bf16;
    const DType wide = narrow ? DType::f32 : p.dtype;
    const auto empty = [&](bool wanted, DType dtype, int64_t rows, int64_t columns) {
      return wanted ? ctx.empty({rows, columns}, dtype, MemoryTag::workspace) : Tensor();
    };
    products = empty(backward ? p.softcap > 0 : narrow, wide, p.max_q, p.max_k);
    d_p = empty(backward, wide, p.max_q, p.max_k);
    d_products = empty(backward && narrow, p.dtype, p.max_q, p.max_k);
    dropped = empty(p.dropout > 0, p.dtype, p.max_q, p.max_k);
    sink_rows = empty(backward && p.has_sink, wide, p.q_heads, p.q_tokens);
    dk = empty(backward && narrow, wide, p.max_k, p.head_dim);
    dv = empty(backward && narrow, wide, p.max_k, p.head_dim);
  }
};

// The work on one segment; S is the storage type.
template <class S>
class Standard {
  using T = typename SoftmaxRows<S>::T;

 public:
  Standard(Context& ctx, const AttentionProblem& p, const AttentionHeadTerms& terms,
           const Tensor& probabilities, const Scratch& scratch, const StandardProducts& multiply,
           const SoftmaxGpu<S>& kernels)
      : ctx_(ctx),
        p_(p),
        terms_(terms),
        all_probabilities_(probabilities),
        scratch_(scratch),
        multiply_(multiply),
        kernels_(kernels) {}

  void forward(const AttentionForwardArgs& args, const Segment& s, int64_t head) const {
    const Tensor p = probabilities(s, head), products = among(scratch_.products, s, p);
    const bool empty = s.keys == 0;
    if (!empty) {
      multiply_({.a = queries(args.q, s, head),
                 .b = keys(args.k, s, head / group()),
                 .c = products,
                 .transpose_b = true});
    }
    kernels_.forward(ctx_, rows(s, head, products, p), lse(args.lse, s, head));
    if (empty) return;
    multiply_({.a = among(scratch_.dropped, s, p),
               .b = keys(args.v, s, head / group()),
               .c = queries(args.o, s, head)});
  }

  // One key head, with its group of query heads.
  void backward(const AttentionBackwardArgs& args, const Segment& s, int64_t kv_head) const {
    const Tensor k = keys(args.k, s, kv_head), v = keys(args.v, s, kv_head);
    const Tensor dk = sums(scratch_.dk, args.dk, s, kv_head),
                 dv = sums(scratch_.dv, args.dv, s, kv_head);
    const Tensor d_p = among(scratch_.d_p, s), d_products = among(scratch_.d_products, s, d_p);
    for (int64_t member = 0; member < group(); ++member) {
      const int64_t head = kv_head * group() + member;
      const bool more = member > 0;
      const Tensor q = queries(args.q, s, head), d_o = queries(args.d_o, s, head);
      const Tensor p = probabilities(s, head), products = among(scratch_.products, s, p);
      if (p_.softcap > 0) multiply_({.a = q, .b = k, .c = products, .transpose_b = true});
      multiply_({.a = d_o, .b = v, .c = d_p, .transpose_b = true});
      kernels_.backward(ctx_, rows(s, head, products, p), d_p.data<T>(), lse(args.d_lse, s, head),
                        lse(args.lse, s, head), lse(scratch_.sink_rows, s, head),
                        d_products.data<S>());
      multiply_({.a = among(scratch_.dropped, s, p),
                 .b = d_o,
                 .c = dv,
                 .transpose_a = true,
                 .accumulate = more});
      multiply_({.a = d_products, .b = q, .c = dk, .transpose_a = true, .accumulate = more});
      multiply_({.a = d_products, .b = k, .c = queries(args.dq, s, head)});
    }
    if (!scratch_.dk.defined()) return;
    store(args.dk.slice(1, kv_head, kv_head + 1), s.k_first, s.keys, scratch_.dk.data<T>());
    store(args.dv.slice(1, kv_head, kv_head + 1), s.k_first, s.keys, scratch_.dv.data<T>());
  }

  // Rows that see no key: all of their softmax is the sink.
  void backward_of_nothing(const AttentionBackwardArgs& args, const Segment& s) const {
    if (!scratch_.sink_rows.defined() || s.queries == 0) return;
    for (int64_t head = 0; head < p_.q_heads; ++head) {
      const Tensor p = probabilities(s, head);
      kernels_.backward(ctx_, rows(s, head, p, p), nullptr, lse(args.d_lse, s, head),
                        lse(args.lse, s, head), lse(scratch_.sink_rows, s, head), nullptr);
    }
  }

  // `queries`: the end of the last segment.
  void add_up_sinks(const Tensor& d_sink, int64_t queries) const {
    if (!d_sink.defined()) return;
    kernels_.add_up_sinks(ctx_, scratch_.sink_rows.data<T>(), p_.q_heads, queries, p_.q_tokens,
                          d_sink.data<T>());
  }

  // Zeros, or values [count, heads, D], into `count` tokens of x from `first` on.
  void store(const Tensor& x, int64_t first, int64_t count, const T* values = nullptr) const {
    if (count == 0) return;
    kernels_.store(ctx_, {.to = from_token(x, first),
                          .tokens = count,
                          .heads = x.shape(1),
                          .head_dim = x.shape(2),
                          .values = values});
  }

 private:
  int64_t group() const { return p_.q_heads / p_.kv_heads; }

  static Tensor head_of(const Tensor& x, int64_t token, int64_t count, int64_t head) {
    return matrix_of(x, token * x.stride(0) + head * x.stride(1), count, x.shape(2), x.stride(0));
  }
  static Tensor queries(const Tensor& x, const Segment& s, int64_t head) {
    return head_of(x, s.q_first, s.queries, head);
  }
  static Tensor keys(const Tensor& x, const Segment& s, int64_t head) {
    return head_of(x, s.k_first, s.keys, head);
  }
  Tensor probabilities(const Segment& s, int64_t head) const {
    return matrix_of(all_probabilities_, (head * p_.q_tokens + s.q_first) * p_.max_k, s.queries,
                     s.keys, p_.max_k);
  }
  // [queries, keys] of a scratch matrix; `otherwise` if it is undefined.
  Tensor among(const Tensor& scratch, const Segment& s, const Tensor& otherwise = {}) const {
    return scratch.defined() ? matrix_of(scratch, 0, s.queries, s.keys, p_.max_k) : otherwise;
  }
  Tensor sums(const Tensor& scratch, const Tensor& target, const Segment& s, int64_t head) const {
    return scratch.defined() ? scratch.slice(0, 0, s.keys) : keys(target, s, head);
  }
  T* lse(const Tensor& all, const Segment& s, int64_t head) const {
    return all.defined() ? all.data<T>() + head * p_.q_tokens + s.q_first : nullptr;
  }

  SoftmaxRows<S> rows(const Segment& s, int64_t head, const Tensor& products,
                      const Tensor& probabilities) const {
    const int64_t diagonal = s.keys - s.queries;
    return {
        .queries = s.queries,
        .keys = s.keys,
        .stride = p_.max_k,
        .left = reach(p_.window_left) - diagonal,
        .right = (p_.causal ? 0 : reach(p_.window_right)) + diagonal,
        .inner = T(p_.softcap > 0 ? p_.scale / p_.softcap : 0),
        .outer = T(p_.softcap > 0 ? p_.softcap : p_.scale),
        .scale = T(p_.scale),
        .diagonal = diagonal,
        .slope = terms_.alibi_slopes.defined() ? terms_.alibi_slopes.data<float>() + head : nullptr,
        .sink = terms_.sink.defined() ? terms_.sink.data<T>() + head : nullptr,
        .random = Philox(p_.seed, p_.purpose, p_.step),
        .first_draw = (head * p_.q_tokens + s.q_first) * p_.k_tokens + s.k_first,
        .row_draws = p_.k_tokens,
        .threshold = uint32_t(std::ceil(p_.dropout * 0x1p24)),
        .kept_factor = T(1 / (1 - p_.dropout)),
        .products = reinterpret_cast<const T*>(products.raw()),
        .probabilities = probabilities.data<S>(),
        .dropped = scratch_.dropped.defined() ? scratch_.dropped.data<S>() : nullptr};
  }

  Context& ctx_;
  const AttentionProblem& p_;
  const AttentionHeadTerms& terms_;
  const Tensor& all_probabilities_;
  const Scratch& scratch_;
  const StandardProducts& multiply_;
  SoftmaxGpu<S> kernels_;
};

// Calls body with a Standard of the problem's storage type and the device's kernels.
template <class Args, class Body>
void with_standard(Context& ctx, const AttentionProblem& p, const Args& args,
                   const Scratch& scratch, const StandardProducts& multiply, const Body& body) {
  dispatch_gpu(ctx.device(), [&]<Device device>() {
    dispatch_compute("attention", p.dtype, [&]<class S>() {
      body(Standard<S>(ctx, p, args.head_terms, args.probabilities, scratch, multiply,
                       softmax_gpu<device, S>()));
    });
  });
}

}  // namespace

void standard_forward_gpu(Context& ctx, const AttentionForwardArgs& args,
                          const AttentionProblem& p) {
  const Scratch scratch(ctx, p, /*backward=*/false);
  const StandardProducts multiply(ctx, p);
  if (ctx.is_meta() || args.q.elements() == 0) return;
  const std::vector<Segment> segments = download_segments(args.query_segments, args.key_segments);
  with_standard(ctx, p, args, scratch, multiply, [&](const auto& standard) {
    int64_t end = 0;
    for (const Segment& s : segments) {
      end = s.q_first + s.queries;
      if (s.queries == 0) continue;
      for (int64_t head = 0; head < p.q_heads; ++head) standard.forward(args, s, head);
      if (s.keys == 0) standard.store(args.o, s.q_first, s.queries);
    }
    standard.store(args.o, end, p.q_tokens - end);
  });
}

void standard_backward_gpu(Context& ctx, const AttentionBackwardArgs& args,
                           const AttentionProblem& p) {
  const Scratch scratch(ctx, p, /*backward=*/true);
  const StandardProducts multiply(ctx, p);
  if (ctx.is_meta()) return;
  if (args.q.elements() + args.k.elements() == 0 && !args.d_sink.defined()) return;
  const std::vector<Segment> segments = download_segments(args.query_segments, args.key_segments);
  with_standard(ctx, p, args, scratch, multiply, [&](const auto& standard) {
    const auto store_zeros = [&](int64_t q_first, int64_t queries, int64_t k_first, int64_t keys) {
      standard.store(args.dq, q_first, queries);
      standard.store(args.dk, k_first, keys);
      standard.store(args.dv, k_first, keys);
    };
    int64_t q_end = 0, k_end = 0;
    for (const Segment& s : segments) {
      q_end = s.q_first + s.queries;
      k_end = s.k_first + s.keys;
      if (s.queries == 0 || s.keys == 0) {
        store_zeros(s.q_first, s.queries, s.k_first, s.keys);
        standard.backward_of_nothing(args, s);
        continue;
      }
      for (int64_t head = 0; head < p.kv_heads; ++head) standard.backward(args, s, head);
    }
    store_zeros(q_end, p.q_tokens - q_end, k_end, p.k_tokens - k_end);
    standard.add_up_sinks(args.d_sink, q_end);
  });
}

}  // namespace tessera
