#include "kernels/attention/kernel.h"

#include <algorithm>
#include <cmath>

#include "kernels/attention/cpu.h"
#include "kernels/attention/cudnn.h"
#include "kernels/attention/gpu.h"
#include "kernels/attention/standard.h"
#include "kernels/attention/standard_gpu.h"
#include "kernels/launch/gpu/dispatch.h"

namespace tessera {
namespace {

constexpr int64_t kLargestHeadDim = 256;

void check_heads(const Tensor& x, const char* name, const Tensor& like, int64_t heads) {
  check(x.rank() == 3 && x.shape(2) == like.shape(2) && x.shape(1) == heads &&
            x.dtype() == like.dtype(),
        "attention: {} is {} {}, expected {} [N, {}, {}]", name, x.dtype(), x.shape(), like.dtype(),
        heads, like.shape(2));
  check(x.shape(2) == 1 || x.stride(2) == 1,
        "attention: the elements of a head of {} are {} apart; they must be adjacent", name,
        x.stride(2));
}

void check_segments(const Segments& segments, const char* name, const Tensor& heads) {
  const Tensor& offsets = segments.offsets;
  check(offsets.rank() == 1 && offsets.dtype() == DType::i32 && offsets.shape(0) >= 1,
        "attention: the {} segments are {} {}, expected i32 [S + 1]", name, offsets.dtype(),
        offsets.shape());
  check(offsets.device() == heads.device(),
        "attention: the {} segments are on {}, their tokens on {}; make both with one context",
        name, name_of(offsets.device()), name_of(heads.device()));
  if (!is_host_readable(offsets.device())) return;
  check_segment_offsets({offsets.data<int32_t>(), size_t(offsets.shape(0))}, name, heads.shape(0),
                        segments.longest);
}

void check_options(const AttentionOptions& o) {
  check(o.window_left >= -1 && o.window_right >= -1,
        "attention: window ({}, {}); use sizes from 0, or -1 for no limit", o.window_left,
        o.window_right);
  check(o.dropout >= 0 && o.dropout < 1, "attention: dropout {} is not in [0, 1)", o.dropout);
  check(o.softcap >= 0 && o.scale >= 0, "attention: softcap {} and scale {} must not be negative",
        o.softcap, o.scale);
}

// A value per query head and token.
void check_rows(const Tensor& x, const char* name, const Tensor& q) {
  const DType dtype = dtype_of_sums(q.dtype());
  const Shape shape{q.shape(1), q.shape(0)};
  check(x.shape() == shape && x.dtype() == dtype && x.is_contiguous(),
        "attention: {} is {} {}, expected contiguous {} {}", name, x.dtype(), x.shape(), dtype,
        shape);
}

void check_probabilities(const Tensor& x, const Tensor& q, const Segments& keys) {
  const Shape shape{q.shape(1), q.shape(0), keys.longest};
  check(x.shape() == shape && x.dtype() == q.dtype() && x.is_contiguous(),
        "attention: the probabilities are {} {}, expected contiguous {} {}", x.dtype(), x.shape(),
        q.dtype(), shape);
}

// What the kernels of GPUs ask beyond that.
void check_gpu_heads(const Tensor& x, const char* name) {
  check(x.shape(0) < kMaxGpuTokens, "attention: {} has {} tokens; on a GPU there may be {}", name,
        x.shape(0), kMaxGpuTokens);
  if (size_of(x.dtype()) != 2) return;
  constexpr int64_t kUnit = 8;  // elements of an access of 16 bytes
  check(x.shape(2) % kUnit == 0,
        "attention: head size {} in {} is not supported on a GPU; use a multiple of {}", x.shape(2),
        x.dtype(), kUnit);
  const bool aligned = x.stride(0) % kUnit == 0 && x.stride(1) % kUnit == 0 &&
                       reinterpret_cast<uintptr_t>(x.raw()) % 16 == 0;
  check(aligned,
        "attention: {} has strides {} and begins {} bytes beyond a multiple of 16; in {} on a GPU, "
        "heads must begin at multiples of 16 bytes",
        name, x.strides(), reinterpret_cast<uintptr_t>(x.raw()) % 16, x.dtype());
}

bool is_standard(const AttentionOptions& options) {
  return options.backend == AttentionBackend::standard;
}

bool is_cudnn(const AttentionOptions& options) {
  return options.backend == AttentionBackend::cudnn;
}

template <class Args>
void check_inputs(const Args& args) {
  const Tensor& q = args.q;
  check(q.rank() == 3, "attention: q has shape {}, expected [N, heads, D]", q.shape());
  const int64_t heads = q.shape(1), kv_heads = args.k.rank() == 3 ? args.k.shape(1) : 0,
                D = q.shape(2);
  check(D >= 1 && D <= kLargestHeadDim, "attention: head size {} is not supported; use 1 to {}", D,
        kLargestHeadDim);
  check(kv_heads > 0 && heads % kv_heads == 0,
        "attention: {} query heads cannot share {} key heads; use a multiple", heads, kv_heads);
  check_heads(q, "q", q, heads);
  check_heads(args.k, "k", q, kv_heads);
  check_heads(args.v, "v", q, kv_heads);
  check(args.k.shape(0) == args.v.shape(0), "attention: k {} and v {} differ in their tokens",
        args.k.shape(), args.v.shape());
  check_segments(args.query_segments, "query", q);
  check_segments(args.key_segments, "key", args.k);
  check(args.query_segments.offsets.shape(0) == args.key_segments.offsets.shape(0),
        "attention: {} query segments, {} key segments", args.query_segments.offsets.shape(0) - 1,
        args.key_segments.offsets.shape(0) - 1);
  check_options(args.options);
  if (is_standard(args.options)) check_probabilities(args.probabilities, q, args.key_segments);
  if (!is_standard(args.options) || args.lse.defined()) check_rows(args.lse, "lse", q);
}

// x [N, heads, D] like `like`, in its number of tokens too.
void check_like(const Tensor& x, const char* name, const Tensor& like) {
  check_heads(x, name, like, like.shape(1));
  check(x.shape(0) == like.shape(0), "attention: {} has {} tokens, expected {}", name, x.shape(0),
        like.shape(0));
}

// Visible (query, key) pairs of a segment of Sq queries and Sk keys.
double visible_pairs(const AttentionOptions& options, int64_t Sq, int64_t Sk) {
  double pairs = 0;
  for (int64_t i = 0; i < Sq; ++i) {
    const int64_t t = i + Sk - Sq;  // the query's place among the keys
    const int64_t first =
        options.window_left < 0 ? 0 : std::max<int64_t>(0, t - options.window_left);
    int64_t last = options.causal ? std::min(t, Sk - 1) : Sk - 1;
    if (options.window_right >= 0) last = std::min(last, t + options.window_right);
    pairs += double(std::max<int64_t>(0, last - first + 1));
  }
  return pairs;
}

template <class Args>
double visible_pairs(const Args& args) {
  const Tensor &q = args.query_segments.offsets, &k = args.key_segments.offsets;
  if (!is_host_readable(q.device())) {
    const int64_t longest = std::max<int64_t>(1, args.query_segments.longest);
    return double(args.q.shape(0)) / double(longest) *
           visible_pairs(args.options, longest, std::max<int64_t>(1, args.key_segments.longest));
  }
  double pairs = 0;
  for (int64_t s = 0; s + 1 < q.shape(0); ++s) {
    const int32_t *q_begin = q.data<int32_t>() + s, *k_begin = k.data<int32_t>() + s;
    pairs += visible_pairs(args.options, q_begin[1] - q_begin[0], k_begin[1] - k_begin[0]);
  }
  return pairs;
}

template <class Args>
AttentionProblem problem_of(const Context& ctx, const Args& args, uint32_t step) {
  const AttentionOptions& o = args.options;
  AttentionProblem problem{.dtype = args.q.dtype(),
                           .q_tokens = args.q.shape(0),
                           .k_tokens = args.k.shape(0),
                           .q_heads = args.q.shape(1),
                           .kv_heads = args.k.shape(1),
                           .head_dim = args.q.shape(2),
                           .segments = args.query_segments.offsets.shape(0) - 1,
                           .documents = args.query_segments.documents,
                           .max_q = args.query_segments.longest,
                           .max_k = args.key_segments.longest,
                           .causal = o.causal,
                           .window_left = o.window_left,
                           .window_right = o.window_right,
                           .scale = o.scale > 0 ? o.scale : 1 / std::sqrt(double(args.q.shape(2))),
                           .softcap = o.softcap,
                           .dropout = o.dropout,
                           .seed = ctx.seed(),
                           .purpose = o.dropout_purpose,
                           .step = step,
                           .deterministic = o.deterministic ||
                                            args.head_terms.alibi_slopes.defined() ||
                                            args.head_terms.sink.defined(),
                           .has_sink = args.head_terms.sink.defined()};
  if (!ctx.is_meta()) {
    problem.cu_q = args.query_segments.offsets.template data<int32_t>();
    problem.cu_k = args.key_segments.offsets.template data<int32_t>();
  }
  return problem;
}

AttentionArray array_of(const Tensor& x) {
  return {x.raw(), x.stride(0), x.stride(1)};
}

// Whether the flash kernels of a GPU run.
bool runs_flash_on_gpu(const Context& ctx, bool standard) {
  return is_gpu(ctx.target()) && !standard;
}

size_t forward_workspace(const Context& ctx, const AttentionProblem& problem, bool standard) {
  if (runs_flash_on_gpu(ctx, standard)) return attention_gpu_forward_workspace(problem);
  return standard ? standard_forward_workspace(problem, ctx.threads())
                  : attention_forward_workspace(problem, ctx.threads(), ctx.isa());
}

size_t backward_workspace(const Context& ctx, const AttentionProblem& problem, bool standard) {
  if (runs_flash_on_gpu(ctx, standard)) return attention_gpu_backward_workspace(problem);
  return standard ? standard_backward_workspace(problem, ctx.threads())
                  : attention_backward_workspace(problem, ctx.threads(), ctx.isa());
}

void check_head_term(const Tensor& x, const char* name, const Tensor& q, DType dtype) {
  check(x.shape() == Shape{q.shape(1)} && x.dtype() == dtype && x.is_contiguous(),
        "attention: {} is {} {}, expected contiguous {} [{}]", name, x.dtype(), x.shape(), dtype,
        q.shape(1));
}

void check_head_terms(const AttentionHeadTerms& terms, const Tensor& q) {
  if (terms.alibi_slopes.defined())
    check_head_term(terms.alibi_slopes, "alibi_slopes", q, DType::f32);
  if (terms.sink.defined()) check_head_term(terms.sink, "sink", q, dtype_of_sums(q.dtype()));
}

AttentionExtras extras_of(const AttentionHeadTerms& terms) {
  return {.alibi_slopes = terms.alibi_slopes.defined() ? terms.alibi_slopes.data<float>() : nullptr,
          .sink = terms.sink.defined() ? terms.sink.raw() : nullptr};
}

// What the target can run; on `meta`, what the device that is planned for can.
template <class... Heads>
void check_target(const Context& ctx, const Tensor& q, bool standard, const Heads&... heads) {
  const DType dtype = q.dtype();
  if (!runs_flash_on_gpu(ctx, standard)) {
    check(dtype == DType::f32 || dtype == DType::bf16 || dtype == DType::f64,
          "attention: dtype {} is not supported on {}; use f32, bf16 or f64", dtype,
          name_of(ctx.target()));
    return;
  }
  check(dtype == DType::f32 || dtype == DType::bf16 || dtype == DType::f16 || dtype == DType::f64,
        "attention: dtype {} is not supported on {}; use bf16, f16, f32 or f64", dtype,
        name_of(ctx.target()));
  (check_gpu_heads(heads.tensor, heads.name), ...);
}

struct NamedHeads {
  const char* name;
  const Tensor& tensor;
};

void forward_on_gpu(Context& ctx, const AttentionForwardArgs& args, const AttentionProblem& problem,
                    const Tensor& workspace) {
  const AttentionForwardGpu call{.problem = problem,
                                 .extras = extras_of(args.head_terms),
                                 .q = array_of(args.q),
                                 .k = array_of(args.k),
                                 .v = array_of(args.v),
                                 .o = array_of(args.o),
                                 .lse = args.lse.raw(),
                                 .splits = attention_splits(problem),
                                 .workspace = workspace.raw()};
  dispatch_gpu(ctx.device(), [&]<Device device>() { attention_forward_gpu<device>(ctx, call); });
}

void backward_on_gpu(Context& ctx, const AttentionBackwardArgs& args,
                     const AttentionProblem& problem, const Tensor& workspace) {
  AttentionBackwardGpu call{.problem = problem,
                            .extras = extras_of(args.head_terms),
                            .q = array_of(args.q),
                            .k = array_of(args.k),
                            .v = array_of(args.v),
                            .o = array_of(args.o),
                            .d_o = array_of(args.d_o),
                            .lse = args.lse.raw(),
                            .d_lse = args.d_lse.defined() ? args.d_lse.raw() : nullptr,
                            .dq = array_of(args.dq),
                            .dk = array_of(args.dk),
                            .dv = array_of(args.dv),
                            .d_sink = args.d_sink.defined() ? args.d_sink.raw() : nullptr,
                            .workspace = workspace.raw()};
  dispatch_gpu(ctx.device(), [&]<Device device>() {
    call.problem.deterministic |= adds_dq(problem) && !fits_one_pass<device>(ctx, problem);
    const bool one_pass = adds_dq(call.problem);
    attention_row_terms_gpu<device>(ctx, call);
    if (!one_pass) attention_query_gradients_gpu<device>(ctx, call);
    attention_key_gradients_gpu<device>(ctx, call);
    if (one_pass) attention_round_dq_gpu<device>(ctx, call);
  });
}

}  // namespace

void check_segment_offsets(std::span<const int32_t> offsets, const char* name, int64_t tokens,
                           int64_t longest) {
  for (size_t s = 0; s + 1 < offsets.size(); ++s) {
    const int64_t length = int64_t(offsets[s + 1]) - offsets[s];
    check(length >= 0,
          "attention: {} segment {} begins at {} and ends at {}; offsets must not decrease", name,
          s, offsets[s], offsets[s + 1]);
    check(length <= longest,
          "attention: {} segment {} has {} rows, more than the longest stated, {}", name, s, length,
          longest);
  }
  check(offsets.front() == 0 && offsets.back() <= tokens,
        "attention: {} segments reach from {} to {}; they must begin at 0 and end by {}", name,
        offsets.front(), offsets.back(), tokens);
}

KernelCost cost(const AttentionForwardArgs& args) {
  const double D = double(args.q.shape(2)), heads = double(args.q.shape(1));
  KernelCost cost{.flops = 4 * D * heads * visible_pairs(args),
                  .bytes = double(2 * args.q.bytes() + 2 * args.k.bytes())};
  if (args.lse.defined()) cost.bytes += double(args.lse.bytes());
  if (args.probabilities.defined()) cost.bytes += double(args.probabilities.bytes());
  return cost;
}

KernelCost cost(const AttentionBackwardArgs& args) {
  const double D = double(args.q.shape(2)), heads = double(args.q.shape(1));
  const bool standard = is_standard(args.options);
  return {.flops = (standard ? 8 : 10) * D * heads * visible_pairs(args),
          .bytes = double(4 * args.q.bytes() + 4 * args.k.bytes()) +
                   double(standard ? args.probabilities.bytes() : args.lse.bytes())};
}

void attention_forward(Context& ctx, const AttentionForwardArgs& args) {
  check_inputs(args);
  check_like(args.o, "o", args.q);
  const bool standard = is_standard(args.options);
  check_target(ctx, args.q, standard, NamedHeads{"q", args.q}, NamedHeads{"k", args.k},
               NamedHeads{"v", args.v}, NamedHeads{"o", args.o});
  check_head_terms(args.head_terms, args.q);
  const AttentionProblem problem = problem_of(ctx, args, ctx.step());
  if (is_cudnn(args.options)) check_cudnn(ctx, args, problem);
  args.o.storage()->bump_version();
  const KernelScope scope(ctx, "attention_forward", cost(args));
  if (is_cudnn(args.options)) return cudnn_forward(ctx, args, problem);
  if (standard && is_gpu(ctx.target())) return standard_forward_gpu(ctx, args, problem);
  const Tensor workspace = ctx.workspace(forward_workspace(ctx, problem, standard));
  if (ctx.is_meta() || args.q.elements() == 0) return;
  if (runs_flash_on_gpu(ctx, standard)) return forward_on_gpu(ctx, args, problem, workspace);
  const AttentionForwardCpu call{.problem = problem,
                                 .extras = extras_of(args.head_terms),
                                 .q = array_of(args.q),
                                 .k = array_of(args.k),
                                 .v = array_of(args.v),
                                 .o = array_of(args.o),
                                 .lse = args.lse.defined() ? args.lse.raw() : nullptr,
                                 .workspace = workspace.raw()};
  if (standard) {
    standard_forward_cpu(call, args.probabilities.raw(), ctx.threads(), ctx.isa());
  } else {
    attention_forward_cpu(call, ctx.threads(), ctx.isa());
  }
}

void attention_backward(Context& ctx, const AttentionBackwardArgs& args) {
  check_inputs(args);
  const bool standard = is_standard(args.options);
  if (!standard) check_like(args.o, "o", args.q);
  check_like(args.d_o, "d_o", args.q);
  check_like(args.dq, "dq", args.q);
  check_like(args.dk, "dk", args.k);
  check_like(args.dv, "dv", args.k);
  if (args.d_lse.defined()) check_rows(args.d_lse, "d_lse", args.q);
  check_target(ctx, args.q, standard, NamedHeads{"q", args.q}, NamedHeads{"k", args.k},
               NamedHeads{"v", args.v}, NamedHeads{"o", standard ? args.q : args.o},
               NamedHeads{"d_o", args.d_o}, NamedHeads{"dq", args.dq}, NamedHeads{"dk", args.dk},
               NamedHeads{"dv", args.dv});
  check_head_terms(args.head_terms, args.q);
  check(args.d_sink.defined() == args.head_terms.sink.defined(),
        "attention: d_sink and a sink go together; give both or neither");
  if (args.d_sink.defined()) {
    check_head_term(args.d_sink, "d_sink", args.q, dtype_of_sums(args.q.dtype()));
    check_rows(args.lse, "lse", args.q);
  }
  const AttentionProblem problem = problem_of(ctx, args, args.step);
  if (is_cudnn(args.options)) check_cudnn(ctx, args, problem);
  for (const Tensor& written : {args.dq, args.dk, args.dv}) written.storage()->bump_version();
  if (args.d_sink.defined()) args.d_sink.storage()->bump_version();
  const KernelScope scope(ctx, "attention_backward", cost(args));
  if (is_cudnn(args.options)) return cudnn_backward(ctx, args, problem);
  if (standard && is_gpu(ctx.target())) return standard_backward_gpu(ctx, args, problem);
  const Tensor workspace = ctx.workspace(backward_workspace(ctx, problem, standard));
  if (ctx.is_meta()) return;
  if (args.q.elements() + args.k.elements() == 0 && !args.d_sink.defined()) return;
  if (runs_flash_on_gpu(ctx, standard)) return backward_on_gpu(ctx, args, problem, workspace);
  const AttentionBackwardCpu call{.problem = problem,
                                  .extras = extras_of(args.head_terms),
                                  .q = array_of(args.q),
                                  .k = array_of(args.k),
                                  .v = array_of(args.v),
                                  .o = standard ? AttentionArray{} : array_of(args.o),
                                  .d_o = array_of(args.d_o),
                                  .lse = args.lse.defined() ? args.lse.raw() : nullptr,
                                  .d_lse = args.d_lse.defined() ? args.d_lse.raw() : nullptr,
                                  .dq = array_of(args.dq),
                                  .dk = array_of(args.dk),
                                  .dv = array_of(args.dv),
                                  .d_sink = args.d_sink.defined() ? args.d_sink.raw() : nullptr,
                                  .workspace = workspace.raw()};
  if (standard) {
    standard_backward_cpu(call, args.probabilities.raw(), ctx.threads(), ctx.isa());
  } else {
    attention_backward_cpu(call, ctx.threads(), ctx.isa());
  }
}

}  // namespace tessera
