// The graph of autograd: nodes, edges, leaves and the variables that ops take and return.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/context.h"

namespace tessera {

class Node;
class GradSink;

// Points at output `output` of the node that produced a value.
struct Edge {
  std::shared_ptr<Node> node;
  int output = 0;
};

// A tensor with its place in the graph. Cheap to copy.
class Var {
 public:
  Var() = default;
  explicit Var(Tensor value) : value_(std::move(value)) {}  // a constant
  Var(Tensor value, Edge producer) : value_(std::move(value)), producer_(std::move(producer)) {}

  const Tensor& value() const { return value_; }
  const Edge& producer() const { return producer_; }
  bool requires_grad() const { return producer_.node != nullptr; }

 private:
  Tensor value_;
  Edge producer_;
};

// Adds `from` to `into`, element by element; handed to the engine, which knows no kernel.
using AddInto = void (*)(Context&, const Tensor& into, const Tensor& from);

// One recorded op application.
class Node {
 public:
  Node(std::string name, std::vector<Edge> inputs, int outputs);
  virtual ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  // Computes the gradients of the inputs from those of the outputs; an output that nothing used has
  // an undefined gradient. Called once; releases what was saved.
  virtual void backward(Context& ctx, std::span<Tensor> grad_outputs, GradSink& grads) = 0;

  const std::string& name() const { return name_; }
  const std::vector<Edge>& inputs() const { return inputs_; }
  int outputs() const { return outputs_; }
  // Ends the node's uses of leaves; called by the engine after backward.
  void finish(Context& ctx);

 private:
  // Moves the producers that only this node keeps to `orphans`.
  void take_orphans(std::vector<std::shared_ptr<Node>>& orphans);

  std::string name_;
  std::vector<Edge> inputs_;  // an edge without node where no gradient is wanted
  int outputs_;
  bool finished_ = false;
};

// A variable that collects a gradient: a parameter, or the input of a recomputed segment.
class LeafNode final : public Node {
 public:
  LeafNode(std::string name, const Shape& shape, DType grad_dtype, MemoryTag grad_tag);
  void backward(Context&, std::span<Tensor>, GradSink&) override {}

  // Undefined until the first backward pass after clear_grad(); later passes add to it.
  Tensor& grad() { return grad_; }
  void clear_grad() { grad_ = Tensor(); }
  // A tensor for the gradient, not yet initialised.
  Tensor make_grad(Context& ctx) const { return ctx.empty(shape_, grad_dtype_, grad_tag_); }
  DType grad_dtype() const { return grad_dtype_; }
  MemoryTag grad_tag() const { return grad_tag_; }

  // Called in backward as soon as no recorded use of the leaf is left, that is, when its gradient
  // is complete: the moment to reduce, offload or apply it.
  void set_ready_hook(std::function<void(Context&, LeafNode&)> hook) {
    ready_hook_ = std::move(hook);
  }
  void add_use() { ++uses_; }
  void drop_use() { --uses_; }
  // Ends one use; calls the hook after the last.
  void finish_use(Context& ctx);

 private:
  Shape shape_;
  DType grad_dtype_;
  MemoryTag grad_tag_;
  Tensor grad_;
  int uses_ = 0;
  std::function<void(Context&, LeafNode&)> ready_hook_;
};

// A leaf over `value` whose gradient has dtype f64 for f64 values and f32 otherwise: weight
// gradients accumulate in f32 whatever the compute dtype.
Var make_parameter(std::string name, Tensor value);
// The leaf behind a Var made by make_parameter; throws Error for any other.
LeafNode& leaf_of(const Var& var);

// Where a node's backward puts the gradients of its inputs.
class GradSink {
 public:
  // `pending[i]` holds the gradient that input i's producer output has received so far.
  GradSink(const Node& node, std::vector<Tensor*> pending, AddInto add)
      : node_(node), pending_(std::move(pending)), fresh_(pending_.size()), add_(add) {}

  bool wanted(int input) const { return pending_[size_t(input)] != nullptr; }

  // The tensor that receives input i's gradient, of `shape` and the dtype of its value (leaves: see
  // make_parameter), and whether to add to what it holds (true) or to overwrite it (false).
  struct Target {
    Tensor tensor;
    bool accumulate;
  };
  Target target(Context& ctx, int input, const Shape& shape, DType dtype);

  // Hands over a finished gradient; it is added if there is one already.
  void put(Context& ctx, int input, Tensor grad);

  // Merges what could not be accumulated in place. Called by the engine after the node's backward.
  void finish(Context& ctx);

  AddInto add() const { return add_; }

 private:
  const Node& node_;
  std::vector<Tensor*> pending_;
  std::vector<Tensor>
      fresh_;  // gradients to be added to a pending tensor that something else shares
  AddInto add_;
};

}  // namespace tessera
