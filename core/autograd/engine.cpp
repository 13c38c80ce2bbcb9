#include "core/autograd/engine.h"

#include <map>
#include <unordered_map>

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
    const Edge& edge = root.producer();
    count_consumers(edge.node.get());
    Tensor& pending = slot(edge);
    check(!pending.defined(), "backward: the same root was given twice");
    pending = std::move(grad);
  }

  void run() {
    for (auto& [node, consumers] : consumers_) {
      if (consumers == 0) ready_.emplace(depth_[node], node);
    }
    while (!ready_.empty()) {
      const auto last = std::prev(ready_.end());
      Node* node = last->second;
      ready_.erase(last);
      visit(*node);
    }
  }

 private:
  static LeafNode* as_leaf(Node* node) { return dynamic_cast<LeafNode*>(node); }

  // Numbers reachable nodes in depth-first post-order (inputs before consumers) and counts edges
  // into each.
  void count_consumers(Node* root) {
    if (as_leaf(root) || !consumers_.try_emplace(root, 0).second) return;
    std::vector<std::pair<Node*, size_t>> stack{{root, 0}};
    while (!stack.empty()) {
      auto& [node, next] = stack.back();
      if (next == node->inputs().size()) {
        depth_[node] = depth_.size();
        stack.pop_back();
        continue;
      }
      Node* input = node->inputs()[next++].node.get();
      if (!input || as_leaf(input)) continue;
      const auto [entry, fresh] = consumers_.try_emplace(input, 0);
      ++entry->second;
      if (fresh) stack.emplace_back(input, 0);
    }
  }

  Tensor& slot(const Edge& edge) {
    if (LeafNode* leaf = as_leaf(edge.node.get())) return leaf->grad();
    auto& slots = pending_[edge.node.get()];
    slots.resize(size_t(edge.node->outputs()));
    return slots[size_t(edge.output)];
  }

  void visit(Node& node) {
    std::vector<Tensor> grad_outputs = std::move(pending_[&node]);
    pending_.erase(&node);
    grad_outputs.resize(size_t(node.outputs()));
    std::vector<Tensor*> targets;
    for (const Edge& edge : node.inputs()) targets.push_back(edge.node ? &slot(edge) : nullptr);
    GradSink sink(node, std::move(targets), add_);
    node.backward(ctx_, grad_outputs, sink);
    sink.finish(ctx_);
    node.finish(ctx_);
    for (const Edge& edge : node.inputs()) {
      Node* input = edge.node.get();
      if (input && !as_leaf(input) && --consumers_[input] == 0)
        ready_.emplace(depth_[input], input);
    }
  }

  Context& ctx_;
  AddInto add_;
  std::unordered_map<Node*, int> consumers_;
  std::unordered_map<Node*, size_t> depth_;
  std::map<size_t, Node*> ready_;
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
    if (!ctx.is_meta()) *one.data<double>() = 1;
  }
  backward(ctx, std::span(&loss, 1), {one.view(loss.value().shape())}, add);
}

}  // namespace tessera
