#include "tests/kernels/attention_device.h"

#include <cmath>
#include <cstring>

#include "core/transfer.h"
#include "tests/kernels/op_case.h"
#include "tests/support/rounding.h"

namespace tessera::test {
namespace {

constexpr int64_t kGap = 8;  // values between two tokens' rows: 16 bytes of 16-bit ones

template <class Body>
auto with_storage(DType dtype, Body body) {
  if (dtype == DType::f16) return body.template operator()<f16>();
  return dispatch_compute("test", dtype, body);
}

// [rows, columns] with gaps after the rows; rows beyond the values and the gaps are NaN.
Tensor padded(Context& ctx, int64_t rows, int64_t columns, DType dtype, const Vec& values,
              int64_t gap) {
  const int64_t stride = columns + gap;
  Tensor tensor = ctx.empty({rows, stride}, dtype);
  if (tensor.elements() == 0) return tensor.slice(1, 0, columns);
  with_storage(dtype, [&]<class S>() {
    std::vector<S> stored(size_t(rows * stride));
    std::memset(static_cast<void*>(stored.data()), 0xff, stored.size() * sizeof(S));
    for (int64_t i = 0; i < int64_t(values.size()); ++i) {
      S& target = stored[size_t(i / columns * stride + i % columns)];
      if constexpr (std::is_same_v<S, double>) {
        target = values[size_t(i)];
      } else {
        target = from_float<S>(float(values[size_t(i)]));
      }
    }
    upload(tensor, stored.data());
  });
  return tensor.slice(1, 0, columns);
}

Tensor heads_of(Context& ctx, int64_t tokens, int heads, int head_dim, DType dtype,
                const Vec& values = {}) {
  return padded(ctx, tokens, int64_t(heads) * head_dim, dtype, values, kGap)
      .unflatten(1, heads, head_dim);
}

// [heads, tokens] from values [heads, used]; the tokens that are left are NaN.
Tensor rows_of(Context& ctx, int64_t heads, int64_t tokens, DType dtype, const Vec& values = {}) {
  const int64_t used = int64_t(values.size()) / heads;
  Vec rows(size_t(heads * tokens), std::nan(""));
  for (int64_t i = 0; i < int64_t(values.size()); ++i) {
    rows[size_t(i / used * tokens + i % used)] = values[size_t(i)];
  }
  return padded(ctx, heads, tokens, dtype, rows, 0);
}

Segments segments_of(Context& ctx, const std::vector<int32_t>& offsets, int64_t longest,
                     bool documents) {
  return {int_tensor(ctx, offsets), longest, documents};
}

// The first `tokens` of dimension `dim`, and whether the others are zero.
Values used(const char* what, const Tensor& x, int dim, int64_t tokens) {
  const Values tail = values_of(x.slice(dim, tokens, x.shape(dim)));
  for (const double value : tail.data) EXPECT_EQ(value, 0) << what << " after the last segment";
  return values_of(x.slice(dim, 0, tokens));
}

reference::Precision precision_of(DType dtype) {
  if (dtype == DType::bf16) return reference::Precision::bf16;
  return dtype == DType::f16 ? reference::Precision::f16 : reference::Precision::f32;
}

const reference::NumberFormat& format_of(DType dtype) {
  if (dtype == DType::bf16) return reference::kBF16;
  return dtype == DType::f16 ? reference::kF16 : reference::kF32;
}

// The rule of attention_cpu_test.cpp.
void expect_good(const char* what, const Values& actual, const Vec& exact, const Vec& low,
                 const AttentionCase& c) {
  if (actual.dtype == DType::f64) {
    const double size = c.q_factor * c.kv_factor;
    EXPECT_TRUE(is_close(actual, expected(actual.shape, DType::f64, exact),
                         {.absolute = 1e-12 * size, .relative = 1e-12}))
        << what;
    return;
  }
  const double factor = c.kv_factor > 1 ? 5 : c.softcap > 0 ? 3 : 2;
  const double reordered = 0x1p-21 * std::sqrt(c.head_dim) * c.q_factor * c.kv_factor;
  EXPECT_TRUE(is_as_good_as_formula(
      actual, exact, low,
      {.factor = factor, .quantum = reordered + rounding_quantum(format_of(actual.dtype), exact)}))
      << what;
}

}  // namespace

Context attention_context(Device device, int threads) {
  const AttentionProblem p = make_problem({}, DType::f32);
  Context ctx({.device = device, .threads = threads, .seed = p.seed, .poison = true});
  ctx.set_step(p.step);
  return ctx;
}

DeviceAttention::DeviceAttention(Context& ctx, const AttentionCase& c, const AttentionInputs& in,
                                 DType dtype) {
  const AttentionProblem p = make_problem(c, dtype);
  const auto queries = [&](const Vec& values = {}) {
    return heads_of(ctx, p.q_tokens, c.q_heads, c.head_dim, dtype, values);
  };
  const auto keys = [&](const Vec& values = {}) {
    return heads_of(ctx, p.k_tokens, c.kv_heads, c.head_dim, dtype, values);
  };
  forward = {.q = queries(in.q),
             .k = keys(in.k),
             .v = keys(in.v),
             .query_segments = segments_of(ctx, query_offsets(c), p.max_q, c.documents),
             .key_segments = segments_of(ctx, key_offsets(c), p.max_k, c.documents),
             .options = {.causal = c.causal,
                         .window_left = c.window_left,
                         .window_right = c.window_right,
                         .softcap = c.softcap,
                         .dropout = c.dropout,
                         .dropout_purpose = p.purpose},
             .o = queries(),
             .lse = rows_of(ctx, c.q_heads, p.q_tokens, dtype_of_sums(dtype))};
  backward = {.q = forward.q,
              .k = forward.k,
              .v = forward.v,
              .o = forward.o,
              .lse = forward.lse,
              .d_o = queries(in.d_o),
              .d_lse = rows_of(ctx, c.q_heads, p.q_tokens, dtype_of_sums(dtype), in.d_lse),
              .query_segments = forward.query_segments,
              .key_segments = forward.key_segments,
              .options = forward.options,
              .step = p.step,
              .dq = queries(),
              .dk = keys(),
              .dv = keys()};
  const reference::AttentionSpec spec = make_spec(c);
  if (c.alibi)
    forward.head_terms.alibi_slopes = make_tensor(ctx, {c.q_heads}, DType::f32, spec.alibi_slopes);
  if (c.sink) {
    forward.head_terms.sink = make_tensor(ctx, {c.q_heads}, dtype_of_sums(dtype), spec.sink);
    backward.d_sink = ctx.empty({c.q_heads}, dtype_of_sums(dtype));
  }
  backward.head_terms = forward.head_terms;
}

void DeviceAttention::run(Context& ctx) {
  attention_forward(ctx, forward);
  attention_backward(ctx, backward);
}

void expect_answer(const AttentionCase& c, const AttentionInputs& in, DType dtype,
                   const DeviceAttention& actual) {
  const int64_t queries = query_offsets(c).back(), keys = key_offsets(c).back();
  const AttentionAnswer exact = reference_answer(c, in, reference::Precision::exact);
  const AttentionAnswer low =
      dtype == DType::f64 ? exact : reference_answer(c, in, precision_of(dtype));
  const auto& [forward, backward] = actual;
  expect_good("o", used("o", forward.o, 0, queries), exact.output.o, low.output.o, c);
  expect_good("lse", values_of(forward.lse.slice(1, 0, queries)), exact.output.lse, low.output.lse,
              c);
  expect_good("dq", used("dq", backward.dq, 0, queries), exact.gradients.dq, low.gradients.dq, c);
  expect_good("dk", used("dk", backward.dk, 0, keys), exact.gradients.dk, low.gradients.dk, c);
  expect_good("dv", used("dv", backward.dv, 0, keys), exact.gradients.dv, low.gradients.dv, c);
  if (c.sink && dtype == DType::f64) {
    const Vec& d_sink = exact.gradients.d_sink;
    EXPECT_TRUE(is_close(values_of(backward.d_sink), expected({c.q_heads}, DType::f64, d_sink),
                         {.absolute = 1e-12, .relative = 1e-12}))
        << "d_sink";
  } else if (c.sink) {  // f32, but the errors of the dtype's products go into it
    double largest = 0;
    for (const double x : exact.gradients.d_sink) largest = std::max(largest, std::abs(x));
    EXPECT_TRUE(is_as_good_as_formula(values_of(backward.d_sink), exact.gradients.d_sink,
                                      low.gradients.d_sink,
                                      {.factor = 3, .quantum = 0x1p-22 * largest}))
        << "d_sink";
  }
}

}  // namespace tessera::test
