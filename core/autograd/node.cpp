#include "core/autograd/node.h"

namespace tessera {

Node::Node(std::string name, std::vector<Edge> inputs, int outputs)
    : name_(std::move(name)), inputs_(std::move(inputs)), outputs_(outputs) {}

Node::~Node() {
  if (!finished_) {
    for (const Edge& edge : inputs_) {
      if (auto* leaf = dynamic_cast<LeafNode*>(edge.node.get())) leaf->drop_use();
    }
  }
  // Nodes that nothing else keeps go one after the other, not inside one another: a long chain
  // would overflow the stack.
  std::vector<std::shared_ptr<Node>> orphans;
  take_orphans(orphans);
  while (!orphans.empty()) {
    const std::shared_ptr<Node> node = std::move(orphans.back());
    orphans.pop_back();
    node->take_orphans(orphans);
  }
}

void Node::take_orphans(std::vector<std::shared_ptr<Node>>& orphans) {
  for (Edge& edge : inputs_) {
    // A leaf stays: its use is dropped by the node's destructor.
    if (edge.node && edge.node.use_count() == 1 && !edge.node->inputs_.empty())
      orphans.push_back(std::move(edge.node));
  }
}

void Node::finish(Context& ctx) {
  finished_ = true;
  for (const Edge& edge : inputs_) {
    if (auto* leaf = dynamic_cast<LeafNode*>(edge.node.get())) leaf->finish_use(ctx);
  }
}

LeafNode::LeafNode(std::string name, const Shape& shape, DType grad_dtype, MemoryTag grad_tag)
    : Node(std::move(name), {}, 1), shape_(shape), grad_dtype_(grad_dtype), grad_tag_(grad_tag) {}

void LeafNode::finish_use(Context& ctx) {
  drop_use();
  if (uses_ == 0 && ready_hook_) ready_hook_(ctx, *this);
}

Var make_parameter(std::string name, Tensor value) {
  const DType grad_dtype = value.dtype() == DType::f64 ? DType::f64 : DType::f32;
  auto leaf =
      std::make_shared<LeafNode>(std::move(name), value.shape(), grad_dtype, MemoryTag::gradients);
  return Var(std::move(value), Edge{std::move(leaf), 0});
}

LeafNode& leaf_of(const Var& var) {
  auto* leaf = dynamic_cast<LeafNode*>(var.producer().node.get());
  check(leaf != nullptr, "autograd: the variable is not a leaf and has no gradient of its own");
  return *leaf;
}

GradSink::Target GradSink::target(Context& ctx, int input, const Shape& shape, DType dtype) {
  const size_t i = size_t(input);
  Tensor& pending = *pending_[i];
  if (pending.defined() && pending.is_exclusive()) return {pending, true};
  const auto* leaf = dynamic_cast<LeafNode*>(node_.inputs()[i].node.get());
  Tensor fresh = leaf ? leaf->make_grad(ctx) : ctx.empty(shape, dtype);
  (pending.defined() ? fresh_[i] : pending) = fresh;
  return {std::move(fresh), false};
}

void GradSink::put(Context& ctx, int input, Tensor grad) {
  const size_t i = size_t(input);
  Tensor& pending = *pending_[i];
  if (const auto* leaf = dynamic_cast<LeafNode*>(node_.inputs()[i].node.get())) {
    check(grad.dtype() == leaf->grad_dtype(), "autograd: {} gave {} a gradient of dtype {}, not {}",
          node_.name(), leaf->name(), grad.dtype(), leaf->grad_dtype());
    if (grad.storage()->tag() != leaf->grad_tag()) grad.storage()->retag(leaf->grad_tag());
  }
  if (!pending.defined()) {
    pending = std::move(grad);
  } else if (pending.is_exclusive()) {
    add_(ctx, pending, grad);
  } else if (grad.is_exclusive()) {
    add_(ctx, grad, pending);
    pending = std::move(grad);
  } else {
    Tensor sum = ctx.zeros(pending.shape(), pending.dtype(), pending.storage()->tag());
    add_(ctx, sum, pending);
    add_(ctx, sum, grad);
    pending = std::move(sum);
  }
}

void GradSink::finish(Context& ctx) {
  for (size_t i = 0; i < fresh_.size(); ++i) {
    if (!fresh_[i].defined()) continue;
    add_(ctx, fresh_[i], *pending_[i]);
    *pending_[i] = std::move(fresh_[i]);
  }
}

}  // namespace tessera
