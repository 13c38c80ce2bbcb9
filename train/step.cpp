#include "train/step.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "core/autograd/engine.h"
#include "core/transfer.h"
#include "kernels/attention/kernel.h"
#include "kernels/elementwise/kernel.h"
#include "kernels/reduce/kernel.h"

namespace tessera {
namespace {

// The first values.size() of i32 [n]; planning has no values.
Tensor upload_ints(Context& ctx, std::span<const int32_t> values, int64_t n) {
  const Tensor tensor = ctx.empty({n}, DType::i32, MemoryTag::data);
  if (ctx.is_meta()) return tensor;
  upload(tensor.slice(0, 0, int64_t(values.size())), values.data());
  return tensor;
}

// Where the rows of a batch without document boundaries begin: 0, T, 2T, ...
std::vector<int32_t> row_offsets(const Batch& batch) {
  std::vector<int32_t> offsets;
  for (int64_t i = 0; i <= batch.samples; ++i) offsets.push_back(int32_t(i * batch.context));
  return offsets;
}

double value_of(Context& ctx, const Tensor& scalar) {
  if (ctx.is_meta()) return 0;
  return scalar.dtype() == DType::f64 ? to_vector<double>(scalar)[0]
                                      : double(to_vector<float>(scalar)[0]);
}

// Runs the forward pass again and returns the name of the first op output that is not finite.
std::string first_bad_output(Context& ctx, const Llama& model, const DeviceBatch& batch,
                             const LossOptions& loss) {
  std::optional<std::string> found;
  ctx.set_output_observer(
      [&](std::string_view scope, std::string_view op, std::span<const Tensor> outputs) {
        for (const Tensor& output : outputs) {
          if (found || output.dtype() == DType::i32 || !output.is_contiguous()) continue;
          if (!all_finite(ctx, output))
            found = fmt::format("the output of {} in {}", op, scope.empty() ? "model" : scope);
        }
      });
  const GradMode off(ctx, false);
  model.loss(ctx, batch, loss);
  ctx.set_output_observer(nullptr);
  return found.value_or("the loss");
}

void check_parameters(Context& ctx, const Llama& model) {
  for (const Parameter& parameter : model.parameters()) {
    if (!all_finite(ctx, parameter.value())) {
      throw NonFiniteError(fmt::format("parameter {} holds NaN or infinity", parameter.name));
    }
  }
}

std::string first_bad_gradient(Context& ctx, const Llama& model) {
  for (auto it = model.parameters().rbegin(); it != model.parameters().rend(); ++it) {
    if (!all_finite(ctx, it->leaf().grad())) return it->name;
  }
  return "the sum of all gradients";
}

double micro_step(Context& ctx, const Llama& model, const Batch& host, const LossOptions& options) {
  const DeviceBatch batch = upload(ctx, host);
  const Var loss = model.loss(ctx, batch, options);
  const double value = value_of(ctx, loss.value());
  if (!std::isfinite(value)) {
    check_parameters(ctx, model);
    throw NonFiniteError(fmt::format("the loss is {}; first bad tensor: {}", value,
                                     first_bad_output(ctx, model, batch, options)));
  }
  backward(ctx, loss, add_into);
  return value;
}

double gradient_norm(Context& ctx, const Llama& model) {
  std::vector<Tensor> grads;
  for (const Parameter& parameter : model.parameters()) {
    const Tensor& grad = parameter.leaf().grad();
    check(grad.defined(), "step: parameter {} received no gradient", parameter.name);
    grads.push_back(grad);
  }
  return std::sqrt(sum_of_squares(ctx, grads));
}

// Drops all gradients when a step fails half-way, so that the next one starts from nothing.
class GradientsOfStep {
 public:
  explicit GradientsOfStep(const Llama& model) : model_(model) {}
  ~GradientsOfStep() {
    for (const Parameter& parameter : model_.parameters()) parameter.leaf().clear_grad();
  }
  GradientsOfStep(const GradientsOfStep&) = delete;
  GradientsOfStep& operator=(const GradientsOfStep&) = delete;

 private:
  const Llama& model_;
};

}  // namespace

DeviceBatch upload(Context& ctx, const Batch& batch) {
  const int64_t n = batch.samples * batch.context;
  DeviceBatch device;
  device.sequences = batch.samples;
  device.context = batch.context;
  device.tokens = upload_ints(ctx, batch.tokens, n);
  device.positions = upload_ints(ctx, batch.positions, n);
  device.targets = upload_ints(ctx, batch.targets, n);
  device.documents = !batch.cu_seqlens.empty();
  const std::vector<int32_t> rows =
      batch.cu_seqlens.empty() ? row_offsets(batch) : batch.cu_seqlens;
  check_segment_offsets(rows, "document", n, batch.context);
  // Room for a document per token: how many there are must not change the memory plan.
  device.segments = upload_ints(ctx, rows, n + 1).slice(0, 0, int64_t(rows.size()));
  return device;
}

StepResult training_step(Context& ctx, const Llama& model, AdamW& optimizer,
                         std::span<const Batch> micro_batches, double lr,
                         const StepOptions& options) {
  StepResult result;
  for (const Batch& batch : micro_batches) result.targets += batch.target_count();
  // The mean over no target is NaN in PyTorch, and with it the weights. Here nothing is learned.
  if (result.targets == 0) return result;
  const LossOptions loss{.ignore_index = kIgnoreTarget,
                         .z_loss = options.z_loss,
                         .scale = 1.0 / double(result.targets),
                         .chunk = options.loss_chunk};
  const GradientsOfStep gradients(model);
  const uint32_t first = ctx.step();
  for (size_t i = 0; i < micro_batches.size(); ++i) {
    ctx.set_step(first + uint32_t(i));
    result.loss += micro_step(ctx, model, micro_batches[i], loss);
  }
  result.grad_norm = gradient_norm(ctx, model);
  if (!std::isfinite(result.grad_norm)) {
    throw NonFiniteError(
        fmt::format("the gradient norm is {}; first bad tensor: the gradient of {}",
                    result.grad_norm, first_bad_gradient(ctx, model)));
  }
  const bool clip = options.gradient_clip > 0 && result.grad_norm > options.gradient_clip;
  optimizer.step(ctx, lr, clip ? options.gradient_clip / result.grad_norm : 1);
  return result;
}

std::vector<float> token_losses(Context& ctx, const Llama& model, const Batch& batch,
                                int64_t loss_chunk) {
  DeviceBatch device = upload(ctx, batch);
  device.training = false;
  const Tensor losses =
      model.token_losses(ctx, device, {.ignore_index = kIgnoreTarget, .chunk = loss_chunk});
  return ctx.is_meta() ? std::vector<float>() : to_vector<float>(losses);
}

double evaluation_loss(Context& ctx, const Llama& model, const Batch& batch, int64_t loss_chunk) {
  const std::vector<float> losses = token_losses(ctx, model, batch, loss_chunk);
  return std::accumulate(losses.begin(), losses.end(), 0.0);
}

}  // namespace tessera
