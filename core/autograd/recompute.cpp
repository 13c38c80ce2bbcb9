#include "core/autograd/recompute.h"

#include "core/autograd/engine.h"
#include "core/autograd/op.h"

namespace tessera {
namespace {

using LeafUses = std::vector<std::shared_ptr<LeafNode>>;

class RecomputeNode final : public Node {
 public:
  RecomputeNode(Context& ctx, Segment segment, std::span<const Var> inputs, int outputs,
                LeafUses uses)
      : Node("recompute", connect(inputs), outputs),
        segment_(std::move(segment)),
        scope_(ctx.scope()),
        step_(ctx.step()),
        saved_(ctx, values_of(inputs)),
        uses_(std::move(uses)) {}

  ~RecomputeNode() override {
    for (const auto& leaf : uses_) leaf->drop_use();
  }

  void backward(Context& ctx, std::span<Tensor> grad_outputs, GradSink& grads) override {
    check(ctx.step() == step_, "recompute: forward ran at step {}, backward at step {}", step_,
          ctx.step());
    std::vector<Var> inputs = fresh_leaves(ctx, grads);
    run_and_propagate(ctx, inputs, grad_outputs, grads.add());
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (!grads.wanted(int(i))) continue;
      Tensor grad = std::move(leaf_of(inputs[i]).grad());
      if (grad.defined()) grads.put(ctx, int(i), std::move(grad));
    }
    for (const auto& leaf : std::exchange(uses_, {})) leaf->finish_use(ctx);
  }

 private:
  static std::vector<Tensor> values_of(std::span<const Var> inputs) {
    std::vector<Tensor> values;
    for (const Var& input : inputs) values.push_back(input.value());
    return values;
  }

  // The saved inputs as variables of their own, cut off from the graph that led to them.
  std::vector<Var> fresh_leaves(Context& ctx, const GradSink& grads) {
    std::vector<Var> leaves;
    for (Tensor& value : saved_.take(ctx, name())) {
      Edge edge;
      if (const int i = int(leaves.size()); grads.wanted(i)) {
        const auto* outer = dynamic_cast<LeafNode*>(inputs()[size_t(i)].node.get());
        const DType dtype = outer ? outer->grad_dtype() : value.dtype();
        edge.node = std::make_shared<LeafNode>("recompute.input", value.shape(), dtype,
                                               MemoryTag::activations);
      }
      leaves.emplace_back(std::move(value), std::move(edge));
    }
    return leaves;
  }

  void run_and_propagate(Context& ctx, std::span<const Var> inputs, std::span<Tensor> grad_outputs,
                         AddInto add) {
    const FullScope scope(ctx, scope_);
    const GradMode recording(ctx, true);
    const SavedTensorHooksScope no_hooks(ctx, nullptr);
    const std::vector<Var> outputs = segment_(inputs);
    std::vector<Var> roots;
    std::vector<Tensor> root_grads;
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (!grad_outputs[i].defined() || !outputs[i].requires_grad()) continue;
      roots.push_back(outputs[i]);
      root_grads.push_back(std::move(grad_outputs[i]));
    }
    tessera::backward(ctx, roots, std::move(root_grads), add);
  }

  Segment segment_;
  std::string scope_;
  uint32_t step_;
  SavedTensors saved_;
  LeafUses uses_;
};

}  // namespace

std::vector<Var> recompute(Context& ctx, Segment segment, std::vector<Var> inputs) {
  if (!ctx.grad_enabled()) return segment(inputs);
  LeafUses uses;
  std::vector<Var> results;
  {
    const GradMode off(ctx, false);
    const LeafUseScope collect(ctx, &uses);
    std::vector<Var> detached;
    for (const Var& input : inputs) detached.emplace_back(input.value());
    results = segment(detached);
  }
  const auto node = std::make_shared<RecomputeNode>(ctx, std::move(segment), inputs,
                                                    int(results.size()), std::move(uses));
  std::vector<Var> outputs;
  for (size_t i = 0; i < results.size(); ++i)
    outputs.emplace_back(results[i].value(), Edge{node, int(i)});
  return outputs;
}

}  // namespace tessera
