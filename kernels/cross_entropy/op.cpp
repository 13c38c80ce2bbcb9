#include "kernels/cross_entropy/op.h"

#include <algorithm>

#include "kernels/cross_entropy/kernel.h"
#include "kernels/elementwise/kernel.h"
#include "kernels/linear/kernel.h"

namespace tessera {
namespace {

constexpr int64_t round_up(int64_t x, int64_t multiple) {
  return (x + multiple - 1) / multiple * multiple;
}

// Of losses and of weight gradients, for operands of `dtype`.
DType accumulation_dtype(DType dtype) {
  return dtype == DType::f64 ? DType::f64 : DType::f32;
}

// The dtype of the gradient that `var` collects.
DType grad_dtype_of(const Var& var) {
  const auto* leaf = dynamic_cast<const LeafNode*>(var.producer().node.get());
  return leaf ? leaf->grad_dtype() : var.value().dtype();
}

// f32 or f64 []: scale * the sum of losses.
Tensor total_of(Context& ctx, const Tensor& losses, double scale) {
  Tensor total = ctx.empty({}, losses.dtype());
  total_loss(ctx, losses, scale, total);
  return total;
}

// Puts a gradient that was computed for an upstream gradient of 1.
void hand_over(Context& ctx, GradSink& grads, int input, Tensor grad, const Tensor& upstream) {
  if (!grads.wanted(input)) return;
  scale_by(ctx, grad, upstream);
  grads.put(ctx, input, std::move(grad));
}

// Rows of logits between which the first elements are aligned, and never a power of two bytes
// apart: walks down a column would hit few cache sets.
int64_t padded_vocab(int64_t vocab) {
  return round_up(vocab, 16) + 16;
}

// The losses of hidden [N, d] with weight [V, d] and, where given, gradients: a chunk of rows at a
// time.
struct ChunkedLoss {
  Tensor hidden, weight, targets;
  LossOptions options;
  Tensor losses;   // [N]
  Tensor dhidden;  // [N, d] or undefined
  Tensor dweight;  // [V, d] f32 (f64) or undefined

  void run(Context& ctx) const {
    const int64_t rows = hidden.shape(0), vocab = weight.shape(0);
    check_targets(targets, vocab, options.ignore_index);
    const int64_t chunk =
        std::min(rows, options.chunk > 0 ? options.chunk : loss_chunk(rows, vocab, ctx.target()));
    const Tensor buffer =
        ctx.empty({chunk, padded_vocab(vocab)}, losses.dtype(), MemoryTag::workspace);
    for (int64_t begin = 0; begin < rows; begin += chunk)
      run_chunk(ctx, begin, std::min(rows, begin + chunk), buffer);
  }

  void run_chunk(Context& ctx, int64_t begin, int64_t end, const Tensor& buffer) const {
    const int64_t rows = end - begin, vocab = weight.shape(0);
    const Tensor x = hidden.slice(0, begin, end);
    const Tensor logits = buffer.slice(0, 0, rows).slice(1, 0, vocab);
    matmul(ctx, {.a = x, .b = weight, .c = logits, .bias = {}, .transpose_b = true});
    const bool with_gradients = dhidden.defined() || dweight.defined();
    const Tensor dlogits = with_gradients ? gradient_over(buffer, rows) : Tensor();
    cross_entropy_rows(ctx, {.logits = logits,
                             .targets = targets.slice(0, begin, end),
                             .losses = losses.slice(0, begin, end),
                             .dlogits = dlogits,
                             .ignore_index = options.ignore_index,
                             .z_loss = options.z_loss,
                             .scale = options.scale});
    if (dhidden.defined()) {
      matmul(ctx, {.a = dlogits, .b = weight, .c = dhidden.slice(0, begin, end), .bias = {}});
    }
    if (dweight.defined()) {
      matmul(ctx, {.a = dlogits,
                   .b = x,
                   .c = dweight,
                   .bias = {},
                   .transpose_a = true,
                   .accumulate = begin > 0});
    }
  }

  // [rows, V] of hidden's dtype in the logits' place: bf16 takes the first half of each row.
  Tensor gradient_over(const Tensor& buffer, int64_t rows) const {
    const int64_t row_elements =
        buffer.shape(1) * int64_t(size_of(buffer.dtype()) / size_of(hidden.dtype()));
    return Tensor(buffer.storage(), {buffer.shape(0), row_elements}, hidden.dtype())
        .slice(0, 0, rows)
        .slice(1, 0, weight.shape(0));
  }
};

// Inputs hidden, weight and targets.
struct LinearCrossEntropy {
  static constexpr std::string_view kName = "linear_cross_entropy";
  LossOptions options;
  bool hidden_wants_grad, weight_wants_grad;
  DType dhidden_dtype;

  std::vector<Tensor> forward(Context& ctx, std::span<const Tensor> in, Saved& saved) const {
    const Tensor &hidden = in[0], &weight = in[1];
    const DType real = accumulation_dtype(hidden.dtype());
    ChunkedLoss loss{.hidden = hidden,
                     .weight = weight,
                     .targets = in[2],
                     .options = options,
                     .losses = ctx.empty({hidden.shape(0)}, real, MemoryTag::workspace),
                     .dhidden = {},
                     .dweight = {}};
    if (saved.wanted() && hidden_wants_grad)
      loss.dhidden = ctx.empty(hidden.shape(), dhidden_dtype);
    if (saved.wanted() && weight_wants_grad)
      loss.dweight = ctx.empty(weight.shape(), real, MemoryTag::gradients);
    loss.run(ctx);
    saved.keep({loss.dhidden, loss.dweight});
    return {total_of(ctx, loss.losses, options.scale)};
  }

  void backward(Context& ctx, std::vector<Tensor> saved, std::span<Tensor> grad_out,
                GradSink& grads) const {
    for (int input : {0, 1})
      hand_over(ctx, grads, input, std::move(saved[size_t(input)]), grad_out[0]);
  }
};

// Inputs logits and targets.
struct CrossEntropy {
  static constexpr std::string_view kName = "cross_entropy";
  LossOptions options;

  std::vector<Tensor> forward(Context& ctx, std::span<const Tensor> in, Saved& saved) const {
    const Tensor& logits = in[0];
    const Tensor losses =
        ctx.empty({logits.shape(0)}, accumulation_dtype(logits.dtype()), MemoryTag::workspace);
    const Tensor dlogits = saved.wanted() ? ctx.empty(logits.shape(), logits.dtype()) : Tensor();
    cross_entropy_rows(ctx, {.logits = logits,
                             .targets = in[1],
                             .losses = losses,
                             .dlogits = dlogits,
                             .ignore_index = options.ignore_index,
                             .z_loss = options.z_loss,
                             .scale = options.scale});
    saved.keep({dlogits});
    return {total_of(ctx, losses, options.scale)};
  }

  void backward(Context& ctx, std::vector<Tensor> saved, std::span<Tensor> grad_out,
                GradSink& grads) const {
    hand_over(ctx, grads, 0, std::move(saved[0]), grad_out[0]);
  }
};

void check_inputs(const Tensor& hidden, const Tensor& weight, const Tensor& targets) {
  check(hidden.rank() == 2 && weight.rank() == 2 && hidden.shape(1) == weight.shape(1) &&
            hidden.shape(0) > 0,
        "linear_cross_entropy: weight of shape {} does not match hidden of shape {}; [V, d] and "
        "[N, d] go together",
        weight.shape(), hidden.shape());
  check(hidden.dtype() == weight.dtype(),
        "linear_cross_entropy: hidden is {}, the weight {}; use one dtype", hidden.dtype(),
        weight.dtype());
  check(targets.shape() == Shape{hidden.shape(0)},
        "linear_cross_entropy: targets of shape {} for {} rows of hidden", targets.shape(),
        hidden.shape(0));
}

}  // namespace

// On a CPU, logits of 16 MiB stay in the last-level cache between their products; below 256 rows
// the weight gradient, which every chunk reads and writes, would cost more than that saves. On a
// GPU, 2048 rows keep that traffic at a tenth of the time of the chunk's products (V = 128k, d =
// 2048: 2 GiB to 3 TFLOP), and 256 MiB of logits fill any.
int64_t loss_chunk(int64_t rows, int64_t vocab, Device device) {
  constexpr int64_t kMultiple = 16;
  const int64_t elements = is_gpu(device) ? 64 << 20 : 4 << 20;
  const int64_t minimum = is_gpu(device) ? 2048 : 256;
  const int64_t limit = std::max(minimum, elements / vocab);
  const int64_t chunks = (rows + limit - 1) / limit;
  return round_up((rows + chunks - 1) / chunks, kMultiple);
}

Var linear_cross_entropy(Context& ctx, const Var& hidden, const Var& weight, const Tensor& targets,
                         const LossOptions& options) {
  check_inputs(hidden.value(), weight.value(), targets);
  const LinearCrossEntropy op{.options = options,
                              .hidden_wants_grad = hidden.requires_grad(),
                              .weight_wants_grad = weight.requires_grad(),
                              .dhidden_dtype = grad_dtype_of(hidden)};
  return apply_single(ctx, op, {hidden, weight, Var(targets)});
}

Tensor linear_cross_entropy_per_token(Context& ctx, const Tensor& hidden, const Tensor& weight,
                                      const Tensor& targets, const LossOptions& options) {
  check_inputs(hidden, weight, targets);
  ChunkedLoss loss{.hidden = hidden,
                   .weight = weight,
                   .targets = targets,
                   .options = options,
                   .losses = ctx.empty({hidden.shape(0)}, accumulation_dtype(hidden.dtype())),
                   .dhidden = {},
                   .dweight = {}};
  loss.options.z_loss = 0;
  loss.run(ctx);
  return loss.losses;
}

Var cross_entropy(Context& ctx, const Var& logits, const Tensor& targets,
                  const LossOptions& options) {
  return apply_single(ctx, CrossEntropy{options}, {logits, Var(targets)});
}

}  // namespace tessera
