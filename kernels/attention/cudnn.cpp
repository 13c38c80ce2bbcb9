#include "kernels/attention/cudnn.h"

#include <limits>
#include <map>

#include "kernels/elementwise/kernel.h"

namespace tessera {
namespace {

// Tensors and scalars of a call; cuDNN wants a number for each.
enum Id : int64_t {
  kQ = 1,
  kK,
  kV,
  kO,
  kLse,
  kGradO,
  kGradQ,
  kGradK,
  kGradV,
  kDelta,      // rowsum(o * d_o), f32
  kGradQSums,  // f32
  kScale,      // f32, as are the next two
  kOne,
  kMinusInfinity,
  kQueries,  // i32, as is the next
  kKeys,
};

CudnnDims transposed(const CudnnDims& x) {
  return {x[0], x[1], x[3], x[2]};
}

CudnnDims packed(const CudnnDims& dims) {
  return {dims[1] * dims[2] * dims[3], dims[2] * dims[3], dims[3], 1};
}

// The tensors that forward and backward share, and the first steps of both.
class Attention {
 public:
  Attention(CudnnGraph& graph, const CudnnShape& shape)
      : g(graph),
        s(shape),
        half(shape.dtype == DType::bf16 ? CudnnData::bfloat16 : CudnnData::half) {}

  void forward();
  void backward();

 private:
  CudnnDims strides(const CudnnShape::Strides& x, int64_t tokens) const {
    return {tokens * x.token, x.head, x.token, 1};
  }
  CudnnTensor queries(Id id, const CudnnShape::Strides& x) const {
    return g.tensor(id, half, q_dims, strides(x, s.queries));
  }
  CudnnTensor keys(Id id, const CudnnShape::Strides& x) const {
    return g.tensor(id, half, k_dims, strides(x, s.keys));
  }
  CudnnTensor keys_transposed(Id id, const CudnnShape::Strides& x) const {
    return g.tensor(id, half, transposed(k_dims), transposed(strides(x, s.keys)));
  }
  // Forward writes ours, [heads, tokens]. Backward reads a packed copy: before cuDNN 9.26 its
  // kernels for other GPUs than Hopper pass over these strides (cudnn-frontend, pull request 304).
  CudnnTensor lse() const {
    const CudnnDims ours{s.queries, s.batch * s.queries, 1, 1};
    return g.tensor(kLse, f32, row_dims, s.backward ? packed(row_dims) : ours);
  }
  CudnnTensor scores() const { return g.virtual_tensor(f32, score_dims); }
  CudnnTensor rows() const { return g.virtual_tensor(f32, row_dims); }
  CudnnTensor scaled_products(const CudnnTensor& q, const CudnnTensor& k_transposed) {
    const CudnnTensor products = g.matmul(q, k_transposed, scores());
    return g.pointwise(CudnnPointwise::mul, products, &scale, scores());
  }
  CudnnTensor masked(const CudnnTensor& x);
  CudnnTensor transposed_scores(const CudnnTensor& x);
  void sum_heads(const CudnnTensor& a, const CudnnTensor& b, const CudnnTensor& out);

  static constexpr CudnnData f32 = CudnnData::float_, i32 = CudnnData::int32;
  CudnnGraph& g;
  const CudnnShape& s;
  const CudnnData half;
  const CudnnDims q_dims{s.batch, s.q_heads, s.queries, s.head_dim},
      k_dims{s.batch, s.kv_heads, s.keys, s.head_dim},
      score_dims{s.batch, s.q_heads, s.queries, s.keys}, row_dims{s.batch, s.q_heads, s.queries, 1};
  const CudnnTensor scale = g.scalar(kScale, f32);
};

// Minus infinity where the key is beyond the query's, with the last query at the last key.
CudnnTensor Attention::masked(const CudnnTensor& x) {
  if (!s.causal) return x;
  const auto numbers = [&] { return g.virtual_tensor(i32, score_dims); };
  CudnnTensor row = g.pointwise(CudnnPointwise::gen_index, x, nullptr, numbers(), f32, 2);
  const CudnnTensor column = g.pointwise(CudnnPointwise::gen_index, x, nullptr, numbers(), f32, 3);
  if (s.queries != s.keys) {
    const CudnnTensor keys = g.scalar(kKeys, i32), queries = g.scalar(kQueries, i32);
    row = g.pointwise(CudnnPointwise::add, row, &keys, numbers(), i32);
    row = g.pointwise(CudnnPointwise::sub, row, &queries, numbers(), i32);
  }
  const CudnnTensor visible =
      g.pointwise(CudnnPointwise::cmp_ge, row, &column,
                  g.virtual_tensor(CudnnData::boolean, score_dims), CudnnData::boolean);
  return g.select(visible, x, g.scalar(kMinusInfinity, f32), scores());
}

void Attention::forward() {
  const CudnnTensor q = queries(kQ, s.q), k = keys_transposed(kK, s.k), v = keys(kV, s.v);
  const CudnnTensor x = masked(scaled_products(q, k));
  const CudnnTensor largest = g.reduce(CudnnReduce::max, x, rows());
  const CudnnTensor shifted = g.pointwise(CudnnPointwise::sub, x, &largest, scores());
  const CudnnTensor exponentials = g.pointwise(CudnnPointwise::exp, shifted, nullptr, scores());
  const CudnnTensor sum = g.reduce(CudnnReduce::add, exponentials, rows());
  const CudnnTensor log = g.pointwise(CudnnPointwise::log, sum, nullptr, rows());
  g.pointwise(CudnnPointwise::add, largest, &log, lse());
  const CudnnTensor p =
      g.pointwise(CudnnPointwise::div, exponentials, &sum, g.virtual_tensor(half, score_dims));
  g.matmul(p, v, queries(kO, s.o));
}

// x^T, rounded to the inputs' type.
CudnnTensor Attention::transposed_scores(const CudnnTensor& x) {
  return g.reshape(x,
                   g.virtual_tensor(half, transposed(score_dims), transposed(packed(score_dims))));
}

// out = a b, summed over the query heads that share a key head.
void Attention::sum_heads(const CudnnTensor& a, const CudnnTensor& b, const CudnnTensor& out) {
  if (s.q_heads == s.kv_heads) {
    g.matmul(a, b, out);
    return;
  }
  const CudnnDims dims{s.batch, s.q_heads, s.keys, s.head_dim};
  g.reduce(CudnnReduce::add, g.matmul(a, b, g.virtual_tensor(half, dims)), out);
}

void Attention::backward() {
  const CudnnTensor q = queries(kQ, s.q), k_transposed = keys_transposed(kK, s.k),
                    v_transposed = keys_transposed(kV, s.v), o = queries(kO, s.o),
                    d_o = queries(kGradO, s.d_o), row_lse = lse(), one = g.scalar(kOne, f32);
  const CudnnTensor products =
      g.pointwise(CudnnPointwise::mul, d_o, &o, g.virtual_tensor(f32, q_dims));
  const CudnnTensor delta =
      g.pointwise(CudnnPointwise::mul, g.reduce(CudnnReduce::add, products, rows()), &one,
                  g.tensor(kDelta, f32, row_dims, packed(row_dims)));

  const CudnnTensor x = scaled_products(q, k_transposed);
  const CudnnTensor logarithms = masked(g.pointwise(CudnnPointwise::sub, x, &row_lse, scores()));
  const CudnnTensor p = g.pointwise(CudnnPointwise::exp, logarithms, nullptr, scores());
  sum_heads(transposed_scores(p), d_o, keys(kGradV, s.dv));

  const CudnnTensor d_p = g.matmul(d_o, v_transposed, scores());
  const CudnnTensor centred = g.pointwise(CudnnPointwise::sub, d_p, &delta, scores());
  const CudnnTensor d_x = g.pointwise(CudnnPointwise::mul, centred, &p, scores());
  const CudnnTensor d_products =
      g.pointwise(CudnnPointwise::mul, d_x, &scale, g.virtual_tensor(half, score_dims));
  sum_heads(transposed_scores(d_products), q, keys(kGradK, s.dk));

  const CudnnTensor k =
      g.reshape(k_transposed, g.virtual_tensor(half, k_dims, strides(s.k, s.keys)));
  const CudnnTensor dq = queries(kGradQ, s.dq);
  if (s.deterministic) {
    g.matmul(d_products, k, dq);
    return;
  }
  const CudnnTensor sums =
      g.matmul(d_products, k, g.tensor(kGradQSums, f32, q_dims, packed(q_dims)));
  g.pointwise(CudnnPointwise::identity, sums, nullptr, dq);
}

// The handle and the plans of one context.
class Cudnn {
 public:
  ~Cudnn() {
    plans_.clear();
    if (handle_) api_->destroy(handle_);
  }

  void* handle(const CudnnApi* api, void* stream) {
    if (!api_) api_ = api ? api : &cudnn_api();
    if (!handle_) api_->checked(api_->create(&handle_), "starting the library");
    api_->checked(api_->set_stream(handle_, stream), "choosing a stream");
    return handle_;
  }

  const CudnnPlan& plan_for(const CudnnShape& shape) {
    const auto found = plans_.find(shape);
    if (found != plans_.end()) return found->second;
    CudnnGraph graph = cudnn_attention_graph(*api_, shape);
    return plans_.emplace(shape, graph.plan({.handle = handle_}, shape.text())).first->second;
  }

 private:
  const CudnnApi* api_ = nullptr;
  void* handle_ = nullptr;
  std::map<CudnnShape, CudnnPlan> plans_;
};

CudnnShape::Strides strides_of(const Tensor& x) {
  return {x.stride(0), x.stride(1)};
}

template <class Args>
CudnnShape shape_of(const Args& args, const AttentionProblem& p) {
  return {.dtype = p.dtype,
          .batch = p.segments,
          .q_heads = p.q_heads,
          .kv_heads = p.kv_heads,
          .queries = p.max_q,
          .keys = p.max_k,
          .head_dim = p.head_dim,
          .causal = p.causal,
          .q = strides_of(args.q),
          .k = strides_of(args.k),
          .v = strides_of(args.v),
          .o = strides_of(args.o)};
}

// Host numbers of a call.
struct Scalars {
  float scale, one = 1, minus_infinity = -std::numeric_limits<float>::infinity();
  int32_t queries, keys;

  explicit Scalars(const AttentionProblem& p)
      : scale(float(p.scale)), queries(int32_t(p.max_q)), keys(int32_t(p.max_k)) {}
  void append_to(std::vector<std::pair<int64_t, void*>>& pointers) {
    for (const std::pair<int64_t, void*>& pointer : {std::pair<int64_t, void*>{kScale, &scale},
                                                     {kOne, &one},
                                                     {kMinusInfinity, &minus_infinity},
                                                     {kQueries, &queries},
                                                     {kKeys, &keys}}) {
      pointers.push_back(pointer);
    }
  }
};

void run(Context& ctx, const CudnnShape& shape, const AttentionProblem& problem,
         std::vector<std::pair<int64_t, void*>> pointers) {
  Cudnn& cudnn = ctx.state<Cudnn>();
  void* const handle = cudnn.handle(ctx.state<CudnnFunctions>().api, ctx.pool().stream());
  const CudnnPlan& plan = cudnn.plan_for(shape);
  const Tensor scratch = ctx.workspace(plan.workspace_bytes());
  Scalars scalars(problem);
  scalars.append_to(pointers);
  plan.run(handle, pointers, scratch.raw());
}

// [heads, tokens] as [segments, heads, queries].
Tensor packed_lse(Context& ctx, const Tensor& lse, const AttentionProblem& p) {
  if (p.segments == 1) return lse;
  const Tensor copy =
      ctx.empty({p.segments * p.q_heads, p.max_q}, DType::f32, MemoryTag::workspace);
  for (int64_t i = 0; i < p.segments; ++i) {
    convert(ctx, copy.slice(0, i * p.q_heads, (i + 1) * p.q_heads),
            lse.slice(1, i * p.max_q, (i + 1) * p.max_q));
  }
  return copy;
}

void check_problem(const Context& ctx, const AttentionProblem& p, const AttentionHeadTerms& terms) {
  check(ctx.target() == Device::cuda,
        "attention: backend cudnn runs on cuda, not on {}; use flash or standard there",
        name_of(ctx.target()));
  check(p.dtype == DType::bf16 || p.dtype == DType::f16,
        "attention: backend cudnn has no {}; use bf16 or f16, or backend flash", p.dtype);
  check(p.window_left < 0 && p.window_right < 0,
        "attention: backend cudnn is not asked for windows, here ({}, {}); use flash",
        p.window_left, p.window_right);
  check(p.softcap == 0 && p.dropout == 0,
        "attention: backend cudnn is not asked for softcap {} or dropout {}; use flash", p.softcap,
        p.dropout);
  check(!terms.alibi_slopes.defined() && !terms.sink.defined(),
        "attention: backend cudnn is not asked for ALiBi slopes or a sink; use flash");
  check(!p.documents && p.segments * p.max_q == p.q_tokens && p.segments * p.max_k == p.k_tokens,
        "attention: backend cudnn needs segments of one length, here {} of up to {} queries and {} "
        "keys in {} and {} tokens; use flash for packed documents",
        p.segments, p.max_q, p.max_k, p.q_tokens, p.k_tokens);
  check(!p.causal || p.max_q <= p.max_k,
        "attention: backend cudnn masks causally where queries are no more than keys, here {} and "
        "{}; use flash",
        p.max_q, p.max_k);
  check(p.max_q > 0 && p.max_k > 0,
        "attention: backend cudnn needs queries and keys, here {} and {}; use flash", p.max_q,
        p.max_k);
}

}  // namespace

std::string CudnnShape::text() const {
  return fmt::format("{} of {} [{}, {}, {}, {}], {} keys of {} heads, {}",
                     backward ? "backward" : "forward", dtype, batch, q_heads, queries, head_dim,
                     keys, kv_heads, causal ? "causal" : "full");
}

CudnnGraph cudnn_attention_graph(const CudnnApi& api, const CudnnShape& shape) {
  CudnnGraph graph(api);
  Attention attention(graph, shape);
  shape.backward ? attention.backward() : attention.forward();
  return graph;
}

void check_cudnn(const Context& ctx, const AttentionForwardArgs& args,
                 const AttentionProblem& problem) {
  check_problem(ctx, problem, args.head_terms);
}

void check_cudnn(const Context& ctx, const AttentionBackwardArgs& args,
                 const AttentionProblem& problem) {
  check_problem(ctx, problem, args.head_terms);
  check(!args.d_lse.defined(),
        "attention: backend cudnn is not asked for gradients through lse; use flash");
}

void cudnn_forward(Context& ctx, const AttentionForwardArgs& args, const AttentionProblem& p) {
  if (ctx.is_meta()) return;
  run(ctx, shape_of(args, p), p,
      {{kQ, args.q.raw()},
       {kK, args.k.raw()},
       {kV, args.v.raw()},
       {kO, args.o.raw()},
       {kLse, args.lse.raw()}});
}

void cudnn_backward(Context& ctx, const AttentionBackwardArgs& args, const AttentionProblem& p) {
  const Tensor lse = packed_lse(ctx, args.lse, p);
  const Tensor delta =
      ctx.empty({p.segments, p.q_heads, p.max_q}, DType::f32, MemoryTag::workspace);
  const int64_t summed = p.deterministic ? 0 : p.q_tokens * p.q_heads * p.head_dim;
  const Tensor dq_sums = ctx.empty({summed}, DType::f32, MemoryTag::workspace);
  if (ctx.is_meta()) return;
  CudnnShape shape = shape_of(args, p);
  shape.backward = true;
  shape.deterministic = p.deterministic;
  shape.d_o = strides_of(args.d_o);
  shape.dq = strides_of(args.dq);
  shape.dk = strides_of(args.dk);
  shape.dv = strides_of(args.dv);
  run(ctx, shape, p,
      {{kQ, args.q.raw()},
       {kK, args.k.raw()},
       {kV, args.v.raw()},
       {kO, args.o.raw()},
       {kLse, const_cast<std::byte*>(lse.raw())},
       {kGradO, args.d_o.raw()},
       {kGradQ, args.dq.raw()},
       {kGradK, args.dk.raw()},
       {kGradV, args.dv.raw()},
       {kDelta, delta.raw()},
       {kGradQSums, dq_sums.raw()}});
}

}  // namespace tessera
