#include "kernels/rope/op.h"

#include "kernels/rope/kernel.h"

namespace tessera {
namespace {

struct Rope {
  static constexpr std::string_view kName = "rope";
  Tensor positions;
  RopeTable table;
  int64_t rotated_heads, head_dim;

  std::vector<Tensor> forward(Context& ctx, std::span<const Tensor> in, Saved&) const {
    rotate(ctx, in[0], in[0], /*inverse=*/false);
    return {in[0]};
  }

  void backward(Context& ctx, std::vector<Tensor>, std::span<Tensor> grad_out,
                GradSink& grads) const {
    const Tensor dy = std::move(grad_out[0]);
    const Tensor dx = dy.is_exclusive() ? dy : ctx.empty(dy.shape(), dy.dtype());
    rotate(ctx, dy, dx, /*inverse=*/true);
    grads.put(ctx, 0, dx);
  }

  void rotate(Context& ctx, const Tensor& x, const Tensor& y, bool inverse) const {
    rope_rotate(ctx, {.x = x,
                      .y = y,
                      .positions = positions,
                      .cos = table.cos,
                      .sin = table.sin,
                      .heads = rotated_heads,
                      .head_dim = head_dim,
                      .inverse = inverse});
  }
};

}  // namespace

Var rope(Context& ctx, Var qkv, const Tensor& positions, const RopeTable& table, int64_t heads,
         int64_t kv_heads, int64_t head_dim) {
  check(!dynamic_cast<const LeafNode*>(qkv.producer().node.get()),
        "rope: qkv is a leaf, which must not change; rope rotates in place, so give it the output "
        "of an op");
  check(qkv.value().rank() == 2 && qkv.value().shape(1) == (heads + 2 * kv_heads) * head_dim,
        "rope: qkv of shape {} does not hold {} + 2 * {} heads of {} columns", qkv.value().shape(),
        heads, kv_heads, head_dim);
  return apply_single(ctx, Rope{positions, table, heads + kv_heads, head_dim}, {std::move(qkv)});
}

}  // namespace tessera
