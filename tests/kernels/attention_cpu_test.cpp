// The CPU flash-attention kernels against the reference, on every instruction-set level of this
// machine. All memory that the kernels may not read is NaN: gaps between rows, tokens after the
// last segment, the workspace.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <memory>

#include "core/random.h"
#include "kernels/launch/cpu/isa.h"
#include "tests/kernels/attention_case.h"
#include "tests/support/compare.h"

namespace tessera::test {
namespace {

constexpr int64_t kGap = 5;  // values between two tokens' rows

std::vector<Isa> supported_isas() {
  std::vector<Isa> isas;
  for (Isa isa : kIsas) {
    if (isa_supported(isa)) isas.push_back(isa);
  }
  return isas;
}

double read(const std::byte* p, DType dtype) {
  return dispatch_compute("test", dtype, [&]<class S>() {
    S x;
    std::memcpy(&x, p, sizeof(S));
    if constexpr (std::is_same_v<S, double>) {
      return x;
    } else {
      return double(to_float(x));
    }
  });
}

void write(std::byte* p, DType dtype, double x) {
  dispatch_compute("test", dtype, [&]<class S>() {
    S s;
    if constexpr (std::is_same_v<S, double>) {
      s = x;
    } else {
      s = from_float<S>(float(x));
    }
    std::memcpy(p, &s, sizeof(S));
  });
}

// A [tokens, heads, D] array with gaps, all NaN but the values.
class Array {
 public:
  Array(DType dtype, int64_t tokens, int64_t heads, int64_t head_dim, const Vec& values = {})
      : dtype_(dtype),
        heads_(heads),
        head_dim_(head_dim),
        stride_(heads * head_dim + kGap),
        bytes_(size_t(tokens * stride_ + kGap) * size_of(dtype), std::byte(0xff)) {
    for (size_t i = 0; i < values.size(); ++i) write(at(int64_t(i)), dtype, values[i]);
  }
  AttentionArray array() { return {bytes_.data(), stride_, head_dim_}; }
  Vec values(int64_t tokens) {
    Vec out(size_t(tokens * heads_ * head_dim_));
    for (size_t i = 0; i < out.size(); ++i) out[i] = read(at(int64_t(i)), dtype_);
    return out;
  }
  const std::vector<std::byte>& bytes() const { return bytes_; }

 private:
  std::byte* at(int64_t i) {
    const int64_t row = heads_ * head_dim_;
    return bytes_.data() + size_t(i / row * stride_ + i % row) * size_of(dtype_);
  }

  DType dtype_;
  int64_t heads_, head_dim_, stride_;
  std::vector<std::byte> bytes_;
};

// [heads, tokens] of the sums' type.
class RowValues {
 public:
  RowValues(DType dtype, int64_t heads, int64_t tokens)
      : dtype_(dtype == DType::f64 ? DType::f64 : DType::f32),
        tokens_(tokens),
        bytes_(size_t(heads * tokens) * size_of(dtype_), std::byte(0xff)) {}
  // values [heads, used], used <= tokens
  void set(const Vec& values, int64_t used) {
    for (int64_t i = 0; i < int64_t(values.size()); ++i) {
      write(at(i / used, i % used), dtype_, values[size_t(i)]);
    }
  }
  Vec get(int64_t heads, int64_t used) {
    Vec out;
    for (int64_t i = 0; i < heads * used; ++i) out.push_back(read(at(i / used, i % used), dtype_));
    return out;
  }
  void* data() { return bytes_.data(); }
  DType dtype() const { return dtype_; }
  const std::vector<std::byte>& bytes() const { return bytes_; }

 private:
  std::byte* at(int64_t head, int64_t token) {
    return bytes_.data() + size_t(head * tokens_ + token) * size_of(dtype_);
  }
  DType dtype_;
  int64_t tokens_;
  std::vector<std::byte> bytes_;
};

class Workspace {
 public:
  explicit Workspace(size_t bytes) : bytes_(bytes), memory_(bytes + kFence + 64, std::byte(0xff)) {
    std::memset(data() + bytes_, kMark, kFence);
  }
  std::byte* data() {
    return memory_.data() + (64 - reinterpret_cast<uintptr_t>(memory_.data()) % 64) % 64;
  }
  bool intact() {
    return std::all_of(data() + bytes_, data() + bytes_ + kFence,
                       [](std::byte b) { return b == std::byte(kMark); });
  }

 private:
  static constexpr size_t kFence = 256;
  static constexpr int kMark = 0x5a;
  size_t bytes_;
  std::vector<std::byte> memory_;
};

struct Run {
  Array q, k, v, o, d_o, dq, dk, dv;
  RowValues lse, d_lse;
  std::vector<float> slopes;
  RowValues sink, d_sink;  // [Hq, 1]

  Run(const AttentionProblem& p, const AttentionInputs& in, const reference::AttentionSpec& spec)
      : q(p.dtype, p.q_tokens, p.q_heads, p.head_dim, in.q),
        k(p.dtype, p.k_tokens, p.kv_heads, p.head_dim, in.k),
        v(p.dtype, p.k_tokens, p.kv_heads, p.head_dim, in.v),
        o(p.dtype, p.q_tokens, p.q_heads, p.head_dim),
        d_o(p.dtype, p.q_tokens, p.q_heads, p.head_dim, in.d_o),
        dq(p.dtype, p.q_tokens, p.q_heads, p.head_dim),
        dk(p.dtype, p.k_tokens, p.kv_heads, p.head_dim),
        dv(p.dtype, p.k_tokens, p.kv_heads, p.head_dim),
        lse(p.dtype, p.q_heads, p.q_tokens),
        d_lse(p.dtype, p.q_heads, p.q_tokens),
        slopes(spec.alibi_slopes.begin(), spec.alibi_slopes.end()),
        sink(p.dtype, p.q_heads, 1),
        d_sink(p.dtype, p.q_heads, 1) {
    sink.set(spec.sink, 1);
    if (p.q_tokens > 0) d_lse.set(in.d_lse, int64_t(in.d_lse.size()) / p.q_heads);
  }
};

// Forward and backward.
std::unique_ptr<Run> run(const AttentionCase& c, const AttentionInputs& in, DType dtype, Isa isa,
                         int threads) {
  AttentionProblem p = make_problem(c, dtype);
  const std::vector<int32_t> cu_q = query_offsets(c), cu_k = key_offsets(c);
  p.cu_q = cu_q.data();
  p.cu_k = cu_k.data();
  auto r = std::make_unique<Run>(p, in, make_spec(c));
  const AttentionExtras extras{.alibi_slopes = c.alibi ? r->slopes.data() : nullptr,
                               .sink = c.sink ? r->sink.data() : nullptr};
  Workspace forward(attention_forward_workspace(p, threads, isa));
  attention_forward_cpu({.problem = p,
                         .extras = extras,
                         .q = r->q.array(),
                         .k = r->k.array(),
                         .v = r->v.array(),
                         .o = r->o.array(),
                         .lse = r->lse.data(),
                         .workspace = forward.data()},
                        threads, isa);
  EXPECT_TRUE(forward.intact());
  Workspace backward(attention_backward_workspace(p, threads, isa));
  attention_backward_cpu({.problem = p,
                          .extras = extras,
                          .q = r->q.array(),
                          .k = r->k.array(),
                          .v = r->v.array(),
                          .o = r->o.array(),
                          .d_o = r->d_o.array(),
                          .lse = r->lse.data(),
                          .d_lse = r->d_lse.data(),
                          .dq = r->dq.array(),
                          .dk = r->dk.array(),
                          .dv = r->dv.array(),
                          .d_sink = c.sink ? r->d_sink.data() : nullptr,
                          .workspace = backward.data()},
                         threads, isa);
  EXPECT_TRUE(backward.intact());
  return r;
}

class AttentionCpu : public ::testing::TestWithParam<AttentionCase> {};

// `quantum`: an absolute error beyond that of the last rounding.
void expect_good(const char* what, const Vec& actual, DType dtype, const Vec& exact,
                 const Vec& low_precision, double factor, double quantum) {
  const Values values = expected({int64_t(actual.size())}, dtype, actual);
  if (dtype == DType::f64) {
    const Values target = expected({int64_t(actual.size())}, dtype, exact);
    EXPECT_TRUE(is_close(values, target, {.absolute = 1e-12 + 1e-6 * quantum, .relative = 1e-12}))
        << what;
    return;
  }
  const auto& format = dtype == DType::bf16 ? reference::kBF16 : reference::kF32;
  EXPECT_TRUE(is_as_good_as_formula(
      values, exact, low_precision,
      {.factor = factor, .quantum = quantum + rounding_quantum(format, exact)}))
      << what;
}

void expect_zero_tail(const char* what, const Vec& values, size_t used) {
  for (size_t i = used; i < values.size(); ++i) EXPECT_EQ(values[i], 0) << what << " tail " << i;
}

void expect_answer(const AttentionCase& c, Run& r, DType dtype, const AttentionAnswer& exact,
                   const AttentionAnswer& low) {
  const int64_t queries = query_offsets(c).back(), keys = key_offsets(c).back();
  // Softcap adds a tanh, whose rounding the sums of scores multiply. With large scores nearly
  // one-hot rows make gradients differences of equal numbers, one of which comes from o as it was
  // rounded.
  const double factor = c.kv_factor > 1 ? 5 : c.softcap > 0 ? 3 : 2;
  // The kernel's own order of summing and the rounding of lse show where the formula's errors
  // cancel, as for a row that sees one key: gradients are differences of sums of D products of
  // size 1.
  const double reordered = 0x1p-21 * std::sqrt(c.head_dim) * c.q_factor * c.kv_factor;
  const auto check_values = [&](const char* what, const Vec& actual, DType actual_dtype,
                                const Vec& target, const Vec& formula) {
    expect_good(what, actual, actual_dtype, target, formula, factor, reordered);
  };
  expect_good("o", r.o.values(queries), dtype, exact.output.o, low.output.o, factor, 0);
  check_values("lse", r.lse.get(c.q_heads, queries), r.lse.dtype(), exact.output.lse,
               low.output.lse);
  check_values("dq", r.dq.values(queries), dtype, exact.gradients.dq, low.gradients.dq);
  check_values("dk", r.dk.values(keys), dtype, exact.gradients.dk, low.gradients.dk);
  check_values("dv", r.dv.values(keys), dtype, exact.gradients.dv, low.gradients.dv);
  // Those of no token are -infinity.
  const Vec lse = r.lse.get(c.q_heads, queries + c.tail);
  for (size_t i = 0; i < lse.size(); ++i) {
    if (int64_t(i) % (queries + c.tail) < queries) continue;
    EXPECT_EQ(lse[i], -std::numeric_limits<double>::infinity()) << "lse tail " << i;
  }
  if (c.sink) {
    expect_good("d_sink", r.d_sink.get(c.q_heads, 1), r.d_sink.dtype(), exact.gradients.d_sink,
                low.gradients.d_sink, 3, 0);
  }
  expect_zero_tail("o", r.o.values(queries + c.tail), exact.output.o.size());
  expect_zero_tail("dq", r.dq.values(queries + c.tail), exact.output.o.size());
  expect_zero_tail("dk", r.dk.values(keys + c.tail), exact.gradients.dk.size());
  expect_zero_tail("dv", r.dv.values(keys + c.tail), exact.gradients.dk.size());
}

TEST_P(AttentionCpu, IsAsGoodAsTheFormulaInItsOwnPrecision) {
  const AttentionCase& c = GetParam();
  for (const DType dtype : {DType::f32, DType::bf16, DType::f64}) {
    const AttentionInputs in = make_inputs(c, dtype);
    const AttentionAnswer exact = reference_answer(c, in, reference::Precision::exact);
    const auto precision =
        dtype == DType::bf16 ? reference::Precision::bf16 : reference::Precision::f32;
    const AttentionAnswer low = dtype == DType::f64 ? exact : reference_answer(c, in, precision);
    for (const Isa isa : supported_isas()) {
      SCOPED_TRACE(fmt::format("{} {}", dtype, isa_name(isa)));
      expect_answer(c, *run(c, in, dtype, isa, 1), dtype, exact, low);
    }
  }
}

TEST_P(AttentionCpu, DoesNotDependOnTheNumberOfThreads) {
  const AttentionCase& c = GetParam();
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const AttentionInputs in = make_inputs(c, dtype);
    for (const Isa isa : supported_isas()) {
      SCOPED_TRACE(fmt::format("{} {}", dtype, isa_name(isa)));
      const auto one = run(c, in, dtype, isa, 1);
      for (const int threads : {2, 3, 7}) {
        const auto many = run(c, in, dtype, isa, threads);
        EXPECT_EQ(one->o.bytes(), many->o.bytes()) << threads;
        EXPECT_EQ(one->lse.bytes(), many->lse.bytes()) << threads;
        EXPECT_EQ(one->dq.bytes(), many->dq.bytes()) << threads;
        EXPECT_EQ(one->dk.bytes(), many->dk.bytes()) << threads;
        EXPECT_EQ(one->dv.bytes(), many->dv.bytes()) << threads;
        EXPECT_EQ(one->d_sink.bytes(), many->d_sink.bytes()) << threads;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, AttentionCpu, ::testing::ValuesIn(attention_cases()),
                         [](const auto& test) { return test.param.name; });

// Of these documents two threads share the long ones and divide the others.
const AttentionCase kLongDocuments[] = {
    {.name = "long_documents",
     .segments = {{40, 40}, {700, 700}, {3, 3}, {300, 420}, {0, 9}},
     .q_heads = 3,
     .kv_heads = 1,
     .head_dim = 32,
     .causal = true,
     .documents = true,
     .tail = 2}};
INSTANTIATE_TEST_SUITE_P(LongDocuments, AttentionCpu, ::testing::ValuesIn(kLongDocuments),
                         [](const auto& test) { return test.param.name; });

// With v = 1 and D = 1, o is the share of probability that was kept, over 1 - dropout.
TEST(AttentionCpuDropout, KeepsTheAskedShareAndKeepsTheExpectation) {
  const AttentionCase c{
      .name = "rate", .segments = {{500, 500}}, .head_dim = 1, .dropout = 0.17, .q_factor = 0};
  AttentionInputs in = make_inputs(c, DType::f32);
  std::fill(in.v.begin(), in.v.end(), 1.0);
  const auto r = run(c, in, DType::f32, best_isa(), 2);
  double mean = 0;
  for (double x : r->o.values(500)) mean += x / 500;
  // 250000 independent draws: standard deviation sqrt(p / (1 - p) / 250000) = 9e-4
  EXPECT_NEAR(mean, 1, 5 * 9e-4);
}

TEST(AttentionCpuWorkspace, GrowsLinearlyWithTheLength) {
  AttentionProblem p;
  p.head_dim = 64;
  p.causal = true;
  const auto bytes = [&](int64_t length) {
    p.q_tokens = p.k_tokens = p.max_q = p.max_k = length;
    return double(attention_forward_workspace(p, 2, Isa::avx512) +
                  attention_backward_workspace(p, 2, Isa::avx512));
  };
  const double fixed = bytes(32), at_64k = bytes(65536) - fixed, at_128k = bytes(131072) - fixed;
  EXPECT_NEAR(at_128k / at_64k, 2, 0.01);
  EXPECT_LT(at_64k, 65536 * (4.0 * 64 * 4));  // at most four rows of D sums a token
}

}  // namespace
}  // namespace tessera::test
