// The SIMD layer on every instruction-set level of this machine.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "core/random.h"
#include "kernels/launch/cpu/isa.h"
#include "kernels/launch/cpu/parallel.h"
#include "tests/kernels/simd_functions.h"

namespace tessera {
static void PrintTo(Isa isa, std::ostream* out) {
  *out << isa_name(isa);
}
}  // namespace tessera

namespace tessera::test {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
const double kNaN = std::nan("");

SimdFunctions functions_of(Isa isa) {
  return dispatch_isa(isa, []<Isa level>() { return simd_functions<level>(); });
}

// One test per level; a level that the machine lacks is skipped.
class Simd : public ::testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    if (!isa_supported(GetParam())) GTEST_SKIP() << "not supported here";
    f_ = functions_of(GetParam());
  }
  template <class T>
  std::vector<T> map(SimdFunction function, const std::vector<T>& x) const {
    std::vector<T> y(x.size());
    if constexpr (sizeof(T) == 4) {
      f_.map_f32(function, x.data(), y.data(), int64_t(x.size()));
    } else {
      f_.map_f64(function, x.data(), y.data(), int64_t(x.size()));
    }
    return y;
  }
  SimdFunctions f_;
};

struct MathCase {
  SimdFunction function;
  double (*exact)(double);
  double low, high;
  double ulps;  // largest error, in units of the last place
};

const MathCase kMathCases[] = {
    {SimdFunction::exp2, [](double x) { return std::exp2(x); }, -126, 127.4, 3},
    {SimdFunction::exp, [](double x) { return std::exp(x); }, -87, 88, 3},
    {SimdFunction::log, [](double x) { return std::log(x); }, 1e-37, 1e37, 3},
    {SimdFunction::log, [](double x) { return std::log(x); }, 0.5, 2, 4},
    {SimdFunction::sigmoid, [](double x) { return 1 / (1 + std::exp(-x)); }, -80, 80, 4},
    {SimdFunction::tanh, [](double x) { return std::tanh(x); }, -12, 12, 6},
    {SimdFunction::tanh, [](double x) { return std::tanh(x); }, -1e-3, 1e-3, 6},
};

template <class T>
void check_math(const std::vector<T>& x, const std::vector<T>& y, const MathCase& c) {
  const double ulp = std::numeric_limits<T>::epsilon();
  for (size_t i = 0; i < x.size(); ++i) {
    const double exact = c.exact(double(x[i]));
    ASSERT_LE(std::abs(double(y[i]) - exact), c.ulps * ulp * std::abs(exact))
        << "function " << int(c.function) << " of " << x[i];
  }
}

TEST_P(Simd, FunctionsAreWithinAFewUnitsOfTheLastPlace) {
  const Philox random(7, purpose_id("simd"), 0);
  for (const MathCase& c : kMathCases) {
    std::vector<float> x32;
    std::vector<double> x64;
    for (uint64_t i = 0; i < 20011; ++i) {
      const double x = c.low + (c.high - c.low) * random.uniform(i);
      x32.push_back(float(x));
      x64.push_back(x);
    }
    check_math(x32, map(c.function, x32), c);
    check_math(x64, map(c.function, x64), c);
  }
}

template <class T>
void expect_values(const std::vector<T>& y, const std::vector<double>& target, const char* what) {
  ASSERT_EQ(y.size(), target.size());
  for (size_t i = 0; i < y.size(); ++i) {
    if (std::isnan(target[i])) {
      EXPECT_TRUE(std::isnan(y[i])) << what << " element " << i << " is " << y[i];
    } else {
      EXPECT_EQ(double(y[i]), target[i]) << what << " element " << i;
    }
  }
}

TEST_P(Simd, FunctionsKnowInfinitiesZeroAndNaN) {
  const std::vector<double> x = {-kInf, kInf, kNaN, -1e30, 1e30, 0};
  const std::vector<float> narrow(x.begin(), x.end());
  const auto check_both = [&](SimdFunction function, const std::vector<double>& y,
                              const char* name) {
    expect_values(map(function, x), y, name);
    expect_values(map(function, narrow), y, name);
  };
  check_both(SimdFunction::exp2, {0, kInf, kNaN, 0, kInf, 1}, "exp2");
  check_both(SimdFunction::exp, {0, kInf, kNaN, 0, kInf, 1}, "exp");
  check_both(SimdFunction::sigmoid, {0, 1, kNaN, 0, 1, 0.5}, "sigmoid");
  check_both(SimdFunction::tanh, {-1, 1, kNaN, -1, 1, 0}, "tanh");
  expect_values(map(SimdFunction::log, std::vector<double>{-1, 0, kInf, kNaN, 1}),
                {kNaN, -kInf, kInf, kNaN, 0}, "log");
  expect_values(map(SimdFunction::log, std::vector<float>{-1, 0, INFINITY, NAN, 1}),
                {kNaN, -kInf, kInf, kNaN, 0}, "log");
}

// Values of every exponent and sign, ties, and the special ones; no denormals, which vcvtneps2bf16
// flushes.
std::vector<float> rounding_inputs() {
  std::vector<float> x = {0, -0.0f, INFINITY, -INFINITY, 3.4e38f, -3.4e38f, 65520, 65519, 1e-7f};
  const Philox random(11, purpose_id("rounding"), 0);
  for (uint64_t i = 0; i < 4099; ++i) {
    const uint32_t bits = random.bits(i), exponent = 1 + (bits >> 23) % 254;
    const uint32_t mantissa = i % 3 == 0   ? bits & 0x7f0000u
                              : i % 3 == 1 ? (bits & 0x7f0000u) | 0x8000u
                                           : bits & 0x7fffffu;
    x.push_back(std::bit_cast<float>((bits & 0x80000000u) | exponent << 23 | mantissa));
  }
  return x;
}

TEST_P(Simd, StorageRoundsAsTheScalarConversions) {
  const std::vector<float> x = rounding_inputs();
  const auto n = int64_t(x.size());
  std::vector<bf16> b(x.size());
  std::vector<f16> h(x.size());
  f_.to_bf16(x.data(), b.data(), n);
  f_.to_f16(x.data(), h.data(), n);
  std::vector<float> from_b(x.size()), from_h(x.size());
  f_.from_bf16(b.data(), from_b.data(), n);
  f_.from_f16(h.data(), from_h.data(), n);
  for (size_t i = 0; i < x.size(); ++i) {
    ASSERT_EQ(b[i].bits, from_float<bf16>(x[i]).bits) << x[i];
    ASSERT_EQ(h[i].bits, from_float<f16>(x[i]).bits) << x[i];
    ASSERT_EQ(from_b[i], to_float(b[i])) << x[i];
    ASSERT_EQ(from_h[i], to_float(h[i])) << x[i];
  }
}

TEST_P(Simd, NaNSurvivesRounding) {
  // A NaN whose mantissa would overflow or vanish if it were rounded like a number.
  const std::vector<float> x = {std::bit_cast<float>(0x7fffffffu),
                                std::bit_cast<float>(0x7f800001u)};
  std::vector<bf16> b(2);
  f_.to_bf16(x.data(), b.data(), 2);
  for (bf16 y : b) EXPECT_TRUE(std::isnan(to_float(y)));
}

TEST_P(Simd, FirstLanesTouchNothingElse) {
  for (int n = 0; n < f_.lanes_f32; ++n) {
    std::vector<float> x(size_t(n), 2.5f);  // the sanitizer sees reads beyond
    std::vector<bf16> b(size_t(n) + 1, bf16{0x1234});
    std::vector<f16> h(size_t(n) + 1, f16{0x1234});
    std::vector<float> y(size_t(n) + 1, -7);
    f_.to_bf16(x.data(), b.data(), n);
    f_.to_f16(x.data(), h.data(), n);
    EXPECT_EQ(b.back().bits, 0x1234);
    EXPECT_EQ(h.back().bits, 0x1234);
    f_.from_bf16(b.data(), y.data(), n);
    EXPECT_EQ(y.back(), -7);
    for (int i = 0; i < n; ++i) EXPECT_EQ(y[size_t(i)], 2.5f);
  }
}

TEST_P(Simd, ReductionsUseEveryLane) {
  for (int lane = 0; lane < f_.lanes_f32; ++lane) {
    std::vector<float> x(size_t(f_.lanes_f32), 1);
    x[size_t(lane)] = 100;
    EXPECT_EQ(f_.add_f32(x.data()), float(99 + f_.lanes_f32));
    EXPECT_EQ(f_.max_f32(x.data()), 100);
  }
  for (int lane = 0; lane < f_.lanes_f64; ++lane) {
    std::vector<double> x(size_t(f_.lanes_f64), 1);
    x[size_t(lane)] = 100;
    EXPECT_EQ(f_.add_f64(x.data()), 99 + f_.lanes_f64);
    EXPECT_EQ(f_.max_f64(x.data()), 100);
  }
}

INSTANTIATE_TEST_SUITE_P(Levels, Simd, ::testing::ValuesIn(kIsas),
                         [](const auto& test) { return std::string(isa_name(test.param)); });

TEST(IsaNames, AreReadBack) {
  EXPECT_EQ(parse_isa(isa_name(best_isa())), best_isa());
  EXPECT_THROW(parse_isa("sse9"), Error);
}

TEST(Parallel, CoversEveryItemOnce) {
  for (const int threads : {1, 2, 5}) {
    for (const int64_t n : {0, 1, 7, 1000}) {
      std::vector<int> visits(size_t(n), 0), tasks(size_t(n), 0);
      parallel_for(threads, n, 3, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) ++visits[size_t(i)];
      });
      parallel_tasks(threads, n, [&](int64_t task, int worker) {
        EXPECT_LT(worker, threads);
        ++tasks[size_t(task)];
      });
      EXPECT_EQ(visits, std::vector<int>(size_t(n), 1));
      EXPECT_EQ(tasks, std::vector<int>(size_t(n), 1));
    }
  }
}

}  // namespace
}  // namespace tessera::test
