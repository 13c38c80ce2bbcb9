#include "tests/support/compare.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/transfer.h"

namespace tessera::test {
namespace {

using ::testing::AssertionFailure;
using ::testing::AssertionResult;
using ::testing::AssertionSuccess;

// Calls body.operator()<T>() with the storage type of any dtype.
template <class Body>
void dispatch_any(DType dtype, Body body) {
  switch (dtype) {
    case DType::f32:
      return body.template operator()<float>();
    case DType::f64:
      return body.template operator()<double>();
    case DType::f16:
      return body.template operator()<f16>();
    case DType::bf16:
      return body.template operator()<bf16>();
    case DType::e4m3:
      return body.template operator()<e4m3>();
    case DType::e5m2:
      return body.template operator()<e5m2>();
    case DType::i32:
      return body.template operator()<int32_t>();
    case DType::i64:
      return body.template operator()<int64_t>();
    case DType::u8:
      return body.template operator()<uint8_t>();
  }
}

template <class T>
double as_double(T x) {
  if constexpr (std::is_arithmetic_v<T>) {
    return double(x);
  } else {
    return double(to_float(x));
  }
}

// Row-major coordinates of an element of a tensor.
std::vector<int64_t> coordinates(const Shape& shape, int64_t element) {
  std::vector<int64_t> at(shape.rank());
  for (int dim = shape.rank() - 1; dim >= 0; --dim) {
    at[dim] = element % shape[dim];
    element /= shape[dim];
  }
  return at;
}

int64_t offset_of(const Tensor& tensor, int64_t element) {
  const std::vector<int64_t> at = coordinates(tensor.shape(), element);
  int64_t offset = 0;
  for (int dim = 0; dim < tensor.rank(); ++dim) offset += at[dim] * tensor.stride(dim);
  return offset;
}

// The elements of a strided tensor of any device, as bytes that the host can read.
class HostBytes {
 public:
  explicit HostBytes(const Tensor& tensor) : tensor_(tensor), first_(tensor.raw()) {
    if (is_host_readable(tensor.device())) return;
    const Storage& storage = *tensor.storage();
    copy_.resize(storage.bytes());
    storage.pool().segments().copy_out(copy_.data(), storage.data(), storage.bytes());
    first_ = copy_.data() + (tensor.raw() - storage.data());
  }
  const std::byte* operator[](int64_t element) const {
    return first_ + offset_of(tensor_, element) * int64_t(size_of(tensor_.dtype()));
  }

 private:
  const Tensor& tensor_;
  std::vector<std::byte> copy_;
  const std::byte* first_;
};

AssertionResult same_kind(const Shape& shape, DType dtype, const Shape& expected_shape,
                          DType expected_dtype) {
  if (!(shape == expected_shape)) {
    return AssertionFailure() << fmt::format("shape {}, expected {}", shape, expected_shape);
  }
  if (dtype != expected_dtype) {
    return AssertionFailure() << fmt::format("dtype {}, expected {}", dtype, expected_dtype);
  }
  return AssertionSuccess();
}

std::string describe_element(const Values& actual, const Values& expected, int64_t i) {
  return fmt::format("{} {} at [{}] (element {} of {}): {:.9g}, expected {:.9g}", actual.dtype,
                     actual.shape, fmt::join(coordinates(actual.shape, i), ", "), i,
                     actual.data.size(), actual.data[i], expected.data[i]);
}

std::string describe(const Errors& e) {
  return fmt::format("max error {:.3g}, relative L2 {:.3g}, RMS {:.3g}, mean signed {:.3g}",
                     e.max_abs, e.relative_l2, e.root_mean_square, e.mean_signed);
}

}  // namespace

Values values_of(const Tensor& on_device) {
  const Tensor tensor = to_host(on_device);
  Values out{.shape = tensor.shape(), .dtype = tensor.dtype(), .data = Vec(tensor.elements())};
  const HostBytes bytes(tensor);
  dispatch_any(tensor.dtype(), [&]<class T>() {
    for (int64_t i = 0; i < tensor.elements(); ++i)
      out.data[i] = as_double(*reinterpret_cast<const T*>(bytes[i]));
  });
  return out;
}

Values expected(const Shape& shape, DType dtype, Vec data) {
  check(shape.elements() == int64_t(data.size()), "expected: {} values for shape {}", data.size(),
        shape);
  return {.shape = shape, .dtype = dtype, .data = std::move(data)};
}

Errors measure(const Vec& actual, const Vec& expected) {
  check(actual.size() == expected.size(), "measure: {} and {} values", actual.size(),
        expected.size());
  Errors e;
  double squares = 0, expected_squares = 0, sum = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    if (actual[i] == expected[i]) {  // equal infinities too
      if (std::isfinite(expected[i])) expected_squares += expected[i] * expected[i];
      continue;
    }
    const double error = actual[i] - expected[i];
    if (!(std::abs(error) <= e.max_abs)) {
      e.worst = int64_t(i);
      e.max_abs = std::isfinite(error) ? std::abs(error) : std::nan("");
    }
    squares += error * error;
    expected_squares += expected[i] * expected[i];
    sum += error;
  }
  const double n = double(std::max<size_t>(1, actual.size()));
  e.relative_l2 = std::sqrt(squares) / (expected_squares > 0 ? std::sqrt(expected_squares) : 1);
  e.root_mean_square = std::sqrt(squares / n);
  e.mean_signed = sum / n;
  return e;
}

AssertionResult is_close(const Values& actual, const Values& expected, Tolerance tolerance) {
  const AssertionResult kind =
      same_kind(actual.shape, actual.dtype, expected.shape, expected.dtype);
  if (!kind) return kind;
  for (size_t i = 0; i < actual.data.size(); ++i) {
    const double a = actual.data[i], e = expected.data[i];
    if (a == e || std::abs(a - e) <= tolerance.absolute + tolerance.relative * std::abs(e))
      continue;
    return AssertionFailure() << fmt::format("{}; tolerance {:.3g} + {:.3g} relative; {}",
                                             describe_element(actual, expected, i),
                                             tolerance.absolute, tolerance.relative,
                                             describe(measure(actual.data, expected.data)));
  }
  return AssertionSuccess();
}

AssertionResult is_close_l2(const Values& actual, const Values& expected, double bound) {
  const AssertionResult kind =
      same_kind(actual.shape, actual.dtype, expected.shape, expected.dtype);
  if (!kind) return kind;
  const Errors e = measure(actual.data, expected.data);
  if (e.relative_l2 <= bound) return AssertionSuccess();
  return AssertionFailure() << fmt::format("{}; relative L2 bound {:.3g}; worst: {}", describe(e),
                                           bound, describe_element(actual, expected, e.worst));
}

AssertionResult is_bitwise_equal(const Tensor& actual_on_device, const Tensor& expected_on_device) {
  const Tensor actual = to_host(actual_on_device), expected = to_host(expected_on_device);
  const AssertionResult kind =
      same_kind(actual.shape(), actual.dtype(), expected.shape(), expected.dtype());
  if (!kind) return kind;
  const HostBytes actual_bytes(actual), expected_bytes(expected);
  for (int64_t i = 0; i < actual.elements(); ++i) {
    if (std::memcmp(actual_bytes[i], expected_bytes[i], size_of(actual.dtype())) == 0) continue;
    return AssertionFailure() << describe_element(values_of(actual), values_of(expected), i)
                              << ", bits differ";
  }
  return AssertionSuccess();
}

AssertionResult is_as_good_as_formula(const Values& actual, const Vec& exact,
                                      const Vec& low_precision, LowPrecisionRule rule) {
  const Values target = expected(actual.shape, actual.dtype, exact);
  const Errors kernel = measure(actual.data, exact), formula = measure(low_precision, exact);
  const double n = double(std::max<size_t>(1, exact.size()));
  const double max_bound = rule.factor * formula.max_abs + rule.quantum;
  const double rms_bound = rule.factor * formula.root_mean_square + rule.quantum;
  const double bias_bound = rule.factor * std::abs(formula.mean_signed) +
                            5 * (formula.root_mean_square + rule.quantum) / std::sqrt(n);
  const char* excess = !(kernel.max_abs <= max_bound)                  ? "max error"
                       : !(kernel.root_mean_square <= rms_bound)       ? "RMS"
                       : !(std::abs(kernel.mean_signed) <= bias_bound) ? "mean signed error"
                                                                       : nullptr;
  if (!excess) return AssertionSuccess();
  return AssertionFailure() << fmt::format(
             "{} out of bounds. Kernel: {}. Formula in low precision: {}. Bounds: max {:.3g}, RMS "
             "{:.3g}, mean "
             "signed {:.3g} (factor {}, quantum {:.3g}). Worst: {}",
             excess, describe(kernel), describe(formula), max_bound, rms_bound, bias_bound,
             rule.factor, rule.quantum, describe_element(actual, target, kernel.worst));
}

double rounding_quantum(const reference::NumberFormat& format, const Vec& exact) {
  double largest = 0;
  for (double x : exact) {
    if (!std::isfinite(x)) continue;
    const double low = round_to(format, x);
    const double moved = round_to(format, round_to(format, low + 0.3) - 0.3);
    largest = std::max(largest, std::abs(moved - low));
  }
  return 2 * largest;
}

}  // namespace tessera::test
