// How an op becomes differentiable. An op is one small struct:
//
//   struct Scale {  // y = factor * x
//     static constexpr std::string_view kName = "scale";
//     float factor;
//     // Calls saved.keep({...}).
//     std::vector<Tensor> forward(Context&, std::span<const Tensor> in, Saved&) const;
//     void backward(Context&, std::vector<Tensor> saved, std::span<Tensor> grad_out,
//                   GradSink&) const;
//   };
//   Var y = apply_single(ctx, Scale{2}, {x});
//
// `backward` receives exactly the tensors that forward kept, in that order, and owns them: an
// exclusive one may be overwritten. It asks grads.wanted(i) and fills grads.target(...) or calls
// grads.put(...).
#pragma once

#include "core/autograd/node.h"

namespace tessera {

// The tensors that an op's forward keeps for its backward.
class Saved {
 public:
  explicit Saved(bool wanted) : wanted_(wanted) {}
  // False when no backward will follow: forward may skip what only backward needs.
  bool wanted() const { return wanted_; }
  void keep(std::vector<Tensor> tensors) {
    if (wanted_) tensors_ = std::move(tensors);
  }
  std::vector<Tensor> take() { return std::move(tensors_); }

 private:
  bool wanted_;
  std::vector<Tensor> tensors_;
};

// Saved tensors between forward and backward, with the context's hooks applied and versions
// checked.
class SavedTensors {
 public:
  SavedTensors(Context& ctx, std::vector<Tensor> tensors);
  // Brings them back and forgets them; an in-place change since they were saved is an error that
  // names `op`.
  std::vector<Tensor> take(Context& ctx, std::string_view op);

 private:
  struct Entry {
    Tensor tensor;  // undefined when packed by a hook
    uint32_t version;
    std::any packed;
  };
  std::vector<Entry> entries_;
  const SavedTensorHooks* hooks_;
  bool taken_ = false;
};

// What apply() shares among all ops. Counts uses of leaves and returns the edges of the inputs.
std::vector<Edge> connect(std::span<const Var> inputs);
bool any_requires_grad(std::span<const Var> inputs);
void note_leaf_uses(Context& ctx, std::span<const Var> inputs);
void observe_outputs(Context& ctx, std::string_view op, std::span<const Tensor> outputs);

template <class Op>
class OpNode final : public Node {
 public:
  OpNode(Context& ctx, Op op, std::vector<Edge> inputs, int outputs, std::vector<Tensor> saved)
      : Node(std::string(Op::kName), std::move(inputs), outputs),
        op_(std::move(op)),
        scope_(ctx.scope()),
        saved_(ctx, std::move(saved)) {}
  void backward(Context& ctx, std::span<Tensor> grad_outputs, GradSink& grads) override {
    const FullScope scope(ctx, scope_);
    op_.backward(ctx, saved_.take(ctx, Op::kName), grad_outputs, grads);
  }

 private:
  Op op_;
  std::string scope_;
  SavedTensors saved_;
};

// Runs the op forward and, if gradients are enabled and any input wants one, records it.
template <class Op>
std::vector<Var> apply(Context& ctx, Op op, std::vector<Var> inputs) {
  const bool record = ctx.grad_enabled() && any_requires_grad(inputs);
  Saved saved(record);
  std::vector<Tensor> values;
  values.reserve(inputs.size());
  for (const Var& input : inputs) values.push_back(input.value());
  std::vector<Tensor> results = op.forward(ctx, values, saved);
  values.clear();
  observe_outputs(ctx, Op::kName, results);
  note_leaf_uses(ctx, inputs);
  std::shared_ptr<Node> node;
  if (record) {
    node = std::make_shared<OpNode<Op>>(ctx, std::move(op), connect(inputs), int(results.size()),
                                        saved.take());
  }
  std::vector<Var> outputs;
  outputs.reserve(results.size());
  for (size_t i = 0; i < results.size(); ++i)
    outputs.emplace_back(std::move(results[i]), Edge{node, int(i)});
  return outputs;
}

// For ops with one output.
template <class Op>
Var apply_single(Context& ctx, Op op, std::vector<Var> inputs) {
  return std::move(apply(ctx, std::move(op), std::move(inputs)).front());
}

}  // namespace tessera
