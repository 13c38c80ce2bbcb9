// The backward walk.
#pragma once

#include "core/autograd/node.h"

namespace tessera {

// Propagates `grads` (one per root, shaped like the root's value) from `roots` to all leaves,
// visiting every node once, after all its consumers. Gradients of leaves are added to what they
// hold. What a node saved is released when it has run. `add` sums gradients that cannot be
// accumulated by the ops themselves.
void backward(Context& ctx, std::span<const Var> roots, std::vector<Tensor> grads, AddInto add);

// From a scalar loss, with gradient 1.
void backward(Context& ctx, const Var& loss, AddInto add);

}  // namespace tessera
