#include "tests/support/gradcheck.h"

#include <algorithm>
#include <cmath>

#include "core/autograd/engine.h"
#include "core/random.h"
#include "core/transfer.h"

namespace tessera::test {
namespace {

using ::testing::AssertionFailure;
using ::testing::AssertionResult;
using ::testing::AssertionSuccess;

// Derivative of f along `direction` at x.
double directional_derivative(const std::function<double(const Vec&)>& f, const Vec& x,
                              const Vec& direction, double h) {
  const auto at = [&](double t) {
    Vec moved(x);
    for (size_t i = 0; i < x.size(); ++i) moved[i] += t * direction[i];
    return f(moved);
  };
  return (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h);
}

Vec random_signs(int64_t count, int trial) {
  const Philox philox(/*seed=*/0, purpose_id("gradcheck"), uint32_t(trial));
  Vec signs(count);
  for (int64_t i = 0; i < count; ++i) signs[i] = philox.bits(i) & 1 ? 1 : -1;
  return signs;
}

double root_mean_square(const Vec& x) {
  return x.empty() ? 0 : std::sqrt(reference::dot(x, x) / double(x.size()));
}

}  // namespace

AssertionResult gradcheck(const std::string& name, const std::function<double(const Vec&)>& f,
                          const Vec& x, const Vec& gradient, const GradcheckOptions& options) {
  if (gradient.size() != x.size()) {
    return AssertionFailure() << fmt::format("{}: gradient of {} elements for {} inputs", name,
                                             gradient.size(), x.size());
  }
  const int64_t n = int64_t(x.size());
  const bool by_element = n <= options.max_elements;
  // A sum of n errors with random signs grows like sqrt(n).
  const double spread = by_element ? 1 : std::sqrt(double(n));
  const double bound = spread * (options.tolerance * root_mean_square(gradient) + options.absolute);
  for (int64_t trial = 0; trial < (by_element ? n : options.directions); ++trial) {
    Vec direction = by_element ? Vec(n) : random_signs(n, int(trial));
    if (by_element) direction[trial] = 1;
    const double numeric = directional_derivative(f, x, direction, options.step / spread);
    const double analytic = reference::dot(gradient, direction);
    if (std::abs(numeric - analytic) <= bound) continue;
    return AssertionFailure() << fmt::format(
               "{}: {} {} of {}: gradient {:.12g}, differences {:.12g}, bound {:.3g}", name,
               by_element ? "element" : "direction", trial, n, analytic, numeric, bound);
  }
  return AssertionSuccess();
}

AssertionResult gradcheck_map(const std::string& name, const std::function<Vec(const Vec&)>& f,
                              const std::function<Vec(const Vec& dy)>& backward, const Vec& x,
                              const GradcheckOptions& options) {
  const Vec weights = reference::random_values("gradcheck_map", int64_t(f(x).size()));
  return gradcheck(
      name, [&](const Vec& moved) { return reference::dot(weights, f(moved)); }, x,
      backward(weights), options);
}

namespace {

Tensor make_tensor(Context& ctx, const Shape& shape, const Vec& values) {
  Tensor tensor = ctx.empty(shape, DType::f64);
  upload(tensor, values.data());
  return tensor;
}

std::vector<Var> make_inputs(const std::vector<Tensor>& tensors, bool differentiable) {
  std::vector<Var> inputs;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const bool is_leaf = differentiable && tensors[i].dtype() == DType::f64;
    inputs.push_back(is_leaf ? make_parameter("input " + std::to_string(i), tensors[i])
                             : Var(tensors[i]));
  }
  return inputs;
}

}  // namespace

AssertionResult gradcheck_op(Context& ctx, const VarFunction& f, const std::vector<Tensor>& inputs,
                             AddInto add, const GradcheckOptions& options) {
  const std::vector<Var> leaves = make_inputs(inputs, /*differentiable=*/true);
  const Var y = f(ctx, leaves);
  const Vec weights = reference::random_values("gradcheck_op", y.value().elements());
  backward(ctx, std::span(&y, 1), {make_tensor(ctx, y.value().shape(), weights)}, add);
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].dtype() != DType::f64) continue;
    const auto scalar = [&](const Vec& x) {
      std::vector<Tensor> moved(inputs);
      moved[i] = make_tensor(ctx, inputs[i].shape(), x);
      return reference::dot(
          weights, to_vector<double>(f(ctx, make_inputs(moved, /*differentiable=*/false)).value()));
    };
    const Tensor& grad = leaf_of(leaves[i]).grad();
    const Vec gradient = grad.defined() ? to_vector<double>(grad) : Vec(inputs[i].elements());
    const AssertionResult result = gradcheck("input " + std::to_string(i), scalar,
                                             to_vector<double>(inputs[i]), gradient, options);
    if (!result) return result;
  }
  return AssertionSuccess();
}

}  // namespace tessera::test
