// Gradients against central differences in double precision.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "core/autograd/op.h"
#include "tests/support/values.h"

namespace tessera::test {

using reference::Vec;

struct GradcheckOptions {
  // Differences are of fourth order: with a step h their error is about h^4 f''''' / 30 + 1e-16 f /
  // h.
  double step = 3e-4;
  // Allowed |numeric - analytic| as a part of the root-mean-square of the analytic gradient, plus
  // `absolute`.
  double tolerance = 1e-7;
  double absolute = 1e-10;
  int64_t max_elements = 4096;  // elements beyond are checked by random directions instead
  int directions = 8;
};

// Whether `gradient` is the gradient of `f` at `x`. With more than max_elements elements, checks
// `directions` random directions of +-1 instead of the elements one by one.
::testing::AssertionResult gradcheck(const std::string& name,
                                     const std::function<double(const Vec&)>& f, const Vec& x,
                                     const Vec& gradient, const GradcheckOptions& options = {});

// The same for a vector-valued function: the gradient of dot(weights, f(x)), with random weights,
// against backward(weights).
::testing::AssertionResult gradcheck_map(const std::string& name,
                                         const std::function<Vec(const Vec&)>& f,
                                         const std::function<Vec(const Vec& dy)>& backward,
                                         const Vec& x, const GradcheckOptions& options = {});

// Whether the autograd engine and the ops in `f` give the gradients of f's first output with
// respect to every f64 tensor of `inputs` (contiguous); tensors of other dtypes are passed as
// constants. `f` is called many times and must not keep state. `add` is the engine's AddInto.
using VarFunction = std::function<Var(Context&, const std::vector<Var>&)>;
::testing::AssertionResult gradcheck_op(Context& ctx, const VarFunction& f,
                                        const std::vector<Tensor>& inputs, AddInto add,
                                        const GradcheckOptions& options = {});

}  // namespace tessera::test
