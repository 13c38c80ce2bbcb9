#include "train/optimizer/adamw.h"

#include "core/random.h"
#include "kernels/elementwise/kernel.h"

namespace tessera {

AdamW::AdamW(Context& ctx, const std::vector<Parameter>& parameters, const AdamWOptions& options)
    : options_(options), parameters_(parameters) {
  for (const Parameter& parameter : parameters_) {
    const Tensor& value = parameter.value();
    const DType dtype = parameter.leaf().grad_dtype();
    AdamWTensor state;
    state.param = value;
    state.purpose = purpose_id("rounding/" + parameter.name);
    if (value.dtype() != dtype && options.master_weights) {
      state.param = ctx.empty(value.shape(), dtype, MemoryTag::optimizer);
      state.low = value;
    }
    state.m = ctx.zeros(value.shape(), dtype, MemoryTag::optimizer);
    state.v = ctx.zeros(value.shape(), dtype, MemoryTag::optimizer);
    state.decay = parameter.is_matrix();
    tensors_.push_back(std::move(state));
  }
}

void AdamW::copy_masters(Context& ctx) {
  for (const AdamWTensor& tensor : tensors_) {
    if (tensor.low.defined()) convert(ctx, tensor.param, tensor.low);
  }
}

void AdamW::copy_working(Context& ctx) {
  for (const AdamWTensor& tensor : tensors_) {
    if (tensor.low.defined()) convert(ctx, tensor.low, tensor.param);
  }
}

void AdamW::step(Context& ctx, double lr, double grad_scale) {
  for (size_t i = 0; i < tensors_.size(); ++i) tensors_[i].grad = parameters_[i].leaf().grad();
  adamw_step(ctx, {.tensors = tensors_,
                   .lr = lr,
                   .beta1 = options_.beta1,
                   .beta2 = options_.beta2,
                   .eps = options_.eps,
                   .weight_decay = options_.weight_decay,
                   .step = ++steps_,
                   .grad_scale = grad_scale});
  for (size_t i = 0; i < tensors_.size(); ++i) {
    tensors_[i].grad = Tensor();
    parameters_[i].leaf().clear_grad();
  }
}

std::vector<AdamW::StateTensor> AdamW::state() const {
  std::vector<StateTensor> state;
  for (size_t i = 0; i < tensors_.size(); ++i) {
    const std::string& name = parameters_[i].name;
    state.push_back({"model/" + name, tensors_[i].param});
    state.push_back({"optimizer/m/" + name, tensors_[i].m});
    state.push_back({"optimizer/v/" + name, tensors_[i].v});
  }
  return state;
}

}  // namespace tessera
