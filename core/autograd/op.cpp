#include "core/autograd/op.h"

#include <algorithm>

namespace tessera {

SavedTensors::SavedTensors(Context& ctx, std::vector<Tensor> tensors)
    : hooks_(ctx.saved_tensor_hooks()) {
  entries_.reserve(tensors.size());
  for (Tensor& tensor : tensors) {
    Entry entry{.tensor = {}, .version = 0, .packed = {}};
    if (tensor.defined() && hooks_) {
      entry.packed = hooks_->pack(ctx, tensor);
    } else if (tensor.defined()) {
      entry.version = tensor.storage()->version();
      entry.tensor = std::move(tensor);
    }
    entries_.push_back(std::move(entry));
  }
}

std::vector<Tensor> SavedTensors::take(Context& ctx, std::string_view op) {
  check(!taken_, "autograd: backward ran twice through {}; its saved tensors are already released",
        op);
  taken_ = true;
  std::vector<Tensor> tensors;
  tensors.reserve(entries_.size());
  for (size_t i = 0; i < entries_.size(); ++i) {
    Entry& entry = entries_[i];
    if (entry.packed.has_value()) {
      tensors.push_back(hooks_->unpack(ctx, entry.packed));
    } else {
      check(!entry.tensor.defined() || entry.tensor.storage()->version() == entry.version,
            "autograd: tensor {} saved by {} was changed in place before its backward", i, op);
      tensors.push_back(std::move(entry.tensor));
    }
  }
  entries_.clear();
  return tensors;
}

std::vector<Edge> connect(std::span<const Var> inputs) {
  std::vector<Edge> edges;
  edges.reserve(inputs.size());
  for (const Var& input : inputs) {
    edges.push_back(input.producer());
    if (auto* leaf = dynamic_cast<LeafNode*>(input.producer().node.get())) leaf->add_use();
  }
  return edges;
}

bool any_requires_grad(std::span<const Var> inputs) {
  return std::any_of(inputs.begin(), inputs.end(), [](const Var& v) { return v.requires_grad(); });
}

void note_leaf_uses(Context& ctx, std::span<const Var> inputs) {
  if (!ctx.leaf_use_collector()) return;
  for (const Var& input : inputs) {
    if (auto leaf = std::dynamic_pointer_cast<LeafNode>(input.producer().node)) {
      leaf->add_use();
      ctx.leaf_use_collector()->push_back(std::move(leaf));
    }
  }
}

void observe_outputs(Context& ctx, std::string_view op, std::span<const Tensor> outputs) {
  if (ctx.output_observer()) ctx.output_observer()(ctx.scope(), op, outputs);
}

}  // namespace tessera
