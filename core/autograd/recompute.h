// Recomputed segments (activation checkpointing: Chen et al., "Training Deep Nets with Sublinear
// Memory Cost", 2016).
#pragma once

#include "core/autograd/node.h"

namespace tessera {

// A part of the forward pass: a function of its inputs and of whatever parameters it captures. It
// must give the same result each time; random numbers do, since they are keyed by step.
using Segment = std::function<std::vector<Var>(std::span<const Var> inputs)>;

// Runs `segment` without recording and keeps only its inputs; backward runs it again, this time
// recording, and propagates through it. Gradients are bitwise those of the plain call, but where an
// input is used several times inside and its gradient has other parts from outside: these are added
// in another order.
std::vector<Var> recompute(Context& ctx, Segment segment, std::vector<Var> inputs);

}  // namespace tessera
