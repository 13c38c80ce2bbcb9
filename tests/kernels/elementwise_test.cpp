#include <cmath>
#include <limits>

#include "kernels/elementwise/op.h"
#include "tests/kernels/device_case.h"
#include "tests/support/compare.h"
#include "tests/support/gradcheck.h"
#include "tests/support/rounding.h"

namespace tessera::test {
namespace {

// What a kernel must give for x, computed in double: one rounding, so there is no tolerance.
Vec rounded(Vec x, DType dtype) {
  for (double& v : x) {
    if (dtype == DType::bf16) v = reference::round_bf16(v);
    if (dtype == DType::f32) v = reference::round_f32(v);
  }
  return x;
}

class ElementwiseOn : public DeviceTest {
 protected:
  // Calls body(ctx, n) for every level of the device.
  template <class Body>
  void for_all_cases(const Body& body) const {
    on_all_levels(GetParam(), [&](Context& ctx) {
      for (const int64_t n : {0, 1, 31, 33, 127, 4099, 70001}) {
        SCOPED_TRACE(fmt::format("n {}", n));
        body(ctx, n);
      }
    });
  }
};
INSTANTIATE_TEST_SUITE_P(Devices, ElementwiseOn, ::testing::ValuesIn(built_devices()), device_name);

TEST_P(ElementwiseOn, AddIntoRoundsOnce) {
  for_all_cases([](Context& ctx, int64_t n) {
    for (const DType dtype : kComputeTypes) {
      const Vec a = representable("a", n, dtype), b = representable("b", n, dtype);
      const Tensor into = make_tensor(ctx, {n}, dtype, a);
      add_into(ctx, into, make_tensor(ctx, {n}, dtype, b));
      EXPECT_TRUE(is_close(values_of(into),
                           expected({n}, dtype, rounded(reference::add(a, b), dtype)), {}));
    }
  });
}

TEST_P(ElementwiseOn, AddIntoTakesBf16IntoF32) {
  for_all_cases([](Context& ctx, int64_t n) {
    const Vec a = representable("a", n, DType::f32), b = representable("b", n, DType::bf16);
    const Tensor into = make_tensor(ctx, {n}, DType::f32, a);
    add_into(ctx, into, make_tensor(ctx, {n}, DType::bf16, b));
    const Vec sum = rounded(reference::add(a, b), DType::f32);
    EXPECT_TRUE(is_close(values_of(into), expected({n}, DType::f32, sum), {}));
  });
}

TEST_P(ElementwiseOn, ScaleRoundsOnce) {
  for_all_cases([](Context& ctx, int64_t n) {
    for (const DType dtype : kComputeTypes) {
      Vec x = representable("x", n, dtype);
      const Tensor by_value = make_tensor(ctx, {n}, dtype, x);
      const Tensor by_tensor = make_tensor(ctx, {n}, dtype, x);
      scale(ctx, by_value, 0.3);
      scale_by(ctx, by_tensor, make_tensor(ctx, {}, wide(dtype), {0.3}));
      for (double& v : x) v *= dtype == DType::f64 ? 0.3 : double(0.3f);
      EXPECT_TRUE(is_close(values_of(by_value), expected({n}, dtype, rounded(x, dtype)), {}));
      EXPECT_TRUE(is_bitwise_equal(by_tensor, by_value));
      scale_by(ctx, by_tensor, make_tensor(ctx, {}, wide(dtype), {1}));
      EXPECT_TRUE(is_bitwise_equal(by_tensor, by_value));
    }
  });
}

TEST_P(ElementwiseOn, ConvertRoundsToNearestEven) {
  for_all_cases([](Context& ctx, int64_t n) {
    for (const DType from : kComputeTypes) {
      for (const DType to : kComputeTypes) {
        const Vec x = representable("x", n, from);
        const Tensor result = ctx.empty({n}, to);
        convert(ctx, result, make_tensor(ctx, {n}, from, x));
        EXPECT_TRUE(is_close(values_of(result), expected({n}, to, rounded(x, to)), {}))
            << name_of(from) << " to " << name_of(to);
      }
    }
  });
}

TEST_P(ElementwiseOn, TakesUnalignedMemory) {
  Context ctx = context();
  const int64_t n = 4099;
  for (const DType dtype : kComputeTypes) {
    const Vec a = representable("a", n, dtype), b = representable("b", n, dtype);
    const Tensor into = make_unaligned(ctx, {n}, dtype, a);
    add_into(ctx, into, make_unaligned(ctx, {n}, dtype, b));
    EXPECT_TRUE(
        is_close(values_of(into), expected({n}, dtype, rounded(reference::add(a, b), dtype)), {}));
    const Tensor copy = make_unaligned(ctx, {n}, DType::f64, Vec(n));
    convert(ctx, copy, into);
    EXPECT_EQ(values_of(copy).data, values_of(into).data);
    scale(ctx, into, -2);
    EXPECT_TRUE(all_finite(ctx, into));
    EXPECT_EQ(values_of(into).data[n - 1], -2 * values_of(copy).data[n - 1]);
  }
}

TEST_P(ElementwiseOn, ConvertTakesColumnSlices) {
  Context ctx = context();
  const Vec x = representable("x", 300 * 70, DType::f32);
  const Tensor from = make_tensor(ctx, {300, 70}, DType::f32, x).slice(1, 3, 40);
  for (const DType dtype : kComputeTypes) {
    const Tensor whole = ctx.zeros({300, 50}, dtype), to = whole.slice(1, 11, 48);
    convert(ctx, to, from);
    const Vec part = rounded(reference::take_columns(x, 70, 3, 40), dtype);
    EXPECT_TRUE(is_close(values_of(to), expected({300, 37}, dtype, part), {}));
    double outside = 0;
    for (const auto& [begin, end] : {std::pair{0, 11}, {48, 50}})
      for (double v : values_of(whole.slice(1, begin, end)).data) outside += std::abs(v);
    EXPECT_EQ(outside, 0);
  }
}

TEST_P(ElementwiseOn, AllFiniteFindsEveryPlace) {
  on_all_levels(GetParam(), [](Context& ctx) {
    for (const DType dtype : kComputeTypes) {
      for (const double bad : {double(INFINITY), -double(INFINITY), double(NAN)}) {
        for (const int64_t n : {1, 33, 127}) {
          for (int64_t at = 0; at < n; ++at) {
            Vec x(n, 1.5);
            x[at] = bad;
            EXPECT_FALSE(all_finite(ctx, make_tensor(ctx, {n}, dtype, x)));
          }
        }
      }
      Vec large(70001, dtype == DType::f64 ? std::numeric_limits<double>::max() : 0x1.fep127);
      EXPECT_TRUE(all_finite(ctx, make_tensor(ctx, {70001}, dtype, large)));
      large[70000] = NAN;
      EXPECT_FALSE(all_finite(ctx, make_tensor(ctx, {70001}, dtype, large)));
    }
  });
}

TEST_P(ElementwiseOn, AddHasTheGradientsOfASum) {
  Context ctx = context(1);
  const Tensor a = make_tensor(ctx, {3, 5}, DType::f64, reference::random_values("a", 15));
  const Tensor b = make_tensor(ctx, {3, 5}, DType::f64, reference::random_values("b", 15));
  const auto sum = [](Context& c, const std::vector<Var>& in) {
    return add(c, add(c, in[0], in[1]), in[0]);
  };
  EXPECT_TRUE(gradcheck_op(ctx, sum, {a, b}, add_into));
}

TEST_P(ElementwiseOn, InPlaceKernelsBumpTheVersion) {
  Context ctx = context();
  const Tensor x = ctx.zeros({4}, DType::f32);
  add_into(ctx, x, x);
  scale(ctx, x, 2);
  convert(ctx, x, ctx.zeros({4}, DType::bf16));
  EXPECT_EQ(x.storage()->version(), 3u);
}

TEST(Elementwise, BadInputIsNamed) {
  Context ctx = cpu_context();
  const Tensor a = ctx.zeros({4}, DType::f32), b = ctx.zeros({5}, DType::f32);
  EXPECT_TRUE(fails_with([&] { add_into(ctx, a, b); },
                         "add_into: from of shape [5] does not match into of shape [4]"));
  EXPECT_TRUE(fails_with([&] { add_into(ctx, ctx.zeros({4}, DType::bf16), a); },
                         "add_into: cannot add f32 to bf16; use equal dtypes, or bf16 to f32"));
  EXPECT_TRUE(fails_with([&] { scale_by(ctx, a, a); },
                         "scale_by: the factor is f32 of shape [4]; for x of dtype f32 it is one "
                         "f32"));
  EXPECT_TRUE(fails_with([&] { scale(ctx, ctx.zeros({4}, DType::i32), 2); },
                         "scale: dtype i32 is not supported; use f32, bf16 or f64"));
  EXPECT_TRUE(fails_with(
      [&] {
        scale(ctx, ctx.zeros({4, 3}, DType::f32).transpose(0, 1), 2);
      },
      "scale: x of shape [3, 4] and strides [1, 3] is not contiguous"));
}

TEST(Elementwise, AddPlansItsMemory) {
  EXPECT_TRUE(plans_its_memory([](Context& ctx) {
    const Var x = make_parameter("x", ctx.zeros({65, 33}, DType::f32));
    const Var y = add(ctx, x, x);
    return add(ctx, y, x);
  }));
}

}  // namespace
}  // namespace tessera::test
