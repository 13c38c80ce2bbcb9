// From a source of weights to the tensors of a model.
#pragma once

#include <span>
#include <string>

#include "model/formats/weight_source.h"
#include "train/checkpoint/checkpoint.h"

namespace tessera {

// Reads every tensor, on any device and in any dtype, by the name of its parameter. Throws Error,
// one line naming the weight, where the source lacks one, has one more or one of another shape.
// `where` names the source.
void read_weights(const WeightSource& source, std::span<const NamedTensor> tensors,
                  const std::string& where);

}  // namespace tessera
