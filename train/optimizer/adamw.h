// AdamW over a model's parameters.
#pragma once

#include <string>
#include <vector>

#include "core/context.h"
#include "kernels/adamw/kernel.h"
#include "model/parameter.h"

namespace tessera {

struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.95, eps = 1e-8;
  double weight_decay = 0.1;   // of matrices only
  bool master_weights = true;  // false: bf16 parameters are all there is, rounded stochastically
};

// Owns the moments and, for bf16 parameters with master_weights, an f32 copy. All state counts as
// `optimizer` memory.
class AdamW {
 public:
  AdamW(Context& ctx, const std::vector<Parameter>& parameters, const AdamWOptions& options);

  // Sets the master copies from the parameters' values, after initialisation.
  void copy_masters(Context& ctx);
  // Sets the working copies from the masters, after these were restored.
  void copy_working(Context& ctx);

  // One update from the parameters' gradients times `grad_scale`; releases the gradients.
  void step(Context& ctx, double lr, double grad_scale);

  int64_t steps() const { return steps_; }
  void set_steps(int64_t steps) { steps_ = steps; }

  // What a checkpoint stores: for each parameter its master (or the parameter itself), m and v.
  struct StateTensor {
    std::string name;  // "model/NAME", "optimizer/m/NAME", "optimizer/v/NAME"
    Tensor tensor;
  };
  std::vector<StateTensor> state() const;

 private:
  AdamWOptions options_;
  std::vector<Parameter> parameters_;
  std::vector<AdamWTensor> tensors_;  // parallel to parameters_
  int64_t steps_ = 0;
};

}  // namespace tessera
