#include "kernels/embedding/op.h"

#include "kernels/embedding/kernel.h"

namespace tessera {
namespace {

struct Embedding {
  static constexpr std::string_view kName = "embedding";
  Shape table_shape;

  std::vector<Tensor> forward(Context& ctx, std::span<const Tensor> in, Saved& saved) const {
    const Tensor &tokens = in[0], &table = in[1];
    Tensor y = ctx.empty({tokens.elements(), table_shape[-1]}, table.dtype());
    embedding_forward(ctx, {.tokens = tokens, .table = table, .y = y});
    saved.keep({tokens});
    return {std::move(y)};
  }

  void backward(Context& ctx, std::vector<Tensor> saved, std::span<Tensor> grad_out,
                GradSink& grads) const {
    const Tensor& dy = grad_out[0];
    const DType dtype = dy.dtype() == DType::f64 ? DType::f64 : DType::f32;
    const auto [dtable, accumulate] = grads.target(ctx, 1, table_shape, dtype);
    embedding_backward(ctx,
                       {.tokens = saved[0], .dy = dy, .dtable = dtable, .accumulate = accumulate});
  }
};

}  // namespace

Var embedding(Context& ctx, const Tensor& tokens, const Var& table) {
  return apply_single(ctx, Embedding{table.value().shape()}, {Var(tokens), table});
}

}  // namespace tessera
