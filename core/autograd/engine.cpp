#include "core/autograd/engine.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "core/transfer.h"

namespace tessera {
namespace {

class BackwardWalk {
 public:
  BackwardWalk(Context& ctx, AddInto add) : ctx_(ctx), add_(add) {}

  void seed(const Var& root, Tensor grad) {
    check(root.requires_grad(),
          "backward: the root does not depend on any variable that requires a gradient");
    check(grad.shape() == root.value().shape(), "backward: root of shape {}, gradient of shape {}",
          root.value().shape(), grad.shape());
    collect(root.producer().node.get());
    Tensor& pending = slot(root.producer());
    check(!pending.defined(), "backward: the same root was given twice");
    pending = std::move(grad);
  }

  void run() {
    for (auto node = order_.rbegin(); node != order_.rend(); ++node) visit(**node);
  }

 private:
  static LeafNode* as_leaf(Node* node) { return dynamic_cast<LeafNode*>(node); }

  // Appends what `root` depends on in depth-first post-order: inputs before consumers. So the
  // reverse of order_ visits every node after all its consumers.
  void collect(Node* root) {
    if (as_leaf(root) || !seen_.insert(root).second) return;
    std::vector<std::pair<Node*, size_t>> stack{{root, 0}};
    while (!stack.empty()) {
      auto& [node, next] = stack.back();
      if (next == node->inputs().size()) {
        order_.push_back(node);
        stack.pop_back();
        continue;
      }
      Node* input = node->inputs()[next++].node.get();
      if (input && !as_leaf(input) && seen_.insert(input).second) stack.emplace_back(input, 0);
    }
  }

  // Where the gradient of an output gathers until its node is visited.
  Tensor& slot(const Edge& edge) {
    if (LeafNode* leaf = as_leaf(edge.node.get())) return leaf->grad();
    auto& slots = pending_[edge.node.get()];
    slots.resize(size_t(edge.node->outputs()));
    return slots[size_t(edge.output)];
  }

  void visit(Node& node) {
    std::vector<Tensor> grad_outputs = std::move(pending_[&node]);
    pending_.erase(&node);
    const bool reached = std::any_of(grad_outputs.begin(), grad_outputs.end(),
                                     [](const Tensor& grad) { return grad.defined(); });
    if (reached) {
      std::vector<Tensor*> targets;
      for (const Edge& edge : node.inputs()) targets.push_back(edge.node ? &slot(edge) : nullptr);
      GradSink sink(node, std::move(targets), add_);
      node.backward(ctx_, grad_outputs, sink);
      sink.finish(ctx_);
    }
    node.finish(ctx_);
  }

  Context& ctx_;
  AddInto add_;
  std::unordered_set<Node*> seen_;
  std::vector<Node*> order_;
  std::unordered_map<Node*, std::vector<Tensor>> pending_;
};

}  // namespace

void backward(Context& ctx, std::span<const Var> roots, std::vector<Tensor> grads, AddInto add) {
  check(roots.size() == grads.size(), "backward: {} roots, {} gradients", roots.size(),
        grads.size());
  BackwardWalk walk(ctx, add);
  for (size_t i = 0; i < roots.size(); ++i) walk.seed(roots[i], std::move(grads[i]));
  walk.run();
}

void backward(Context& ctx, const Var& loss, AddInto add) {
  check(loss.value().elements() == 1, "backward: the loss has shape {}, not a scalar",
        loss.value().shape());
  Tensor one = ctx.scalar(1);
  if (loss.value().dtype() == DType::f64) {
    one = ctx.empty({}, DType::f64);
    const double value = 1;
    upload(one, &value);
  }
  backward(ctx, std::span(&loss, 1), {one.view(loss.value().shape())}, add);
}

}  // namespace tessera
