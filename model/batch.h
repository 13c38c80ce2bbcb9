// One micro-batch on the device; data/loader.h has its twin on the host.
#pragma once

#include "core/tensor.h"

namespace tessera {

// B sequences of T tokens, flattened to N = B * T rows.
struct DeviceBatch {
  int64_t sequences = 0;  // B
  int64_t context = 0;    // T
  Tensor tokens;          // i32 [N]
  Tensor positions;       // i32 [N]: index within the sequence, for RoPE
  Tensor targets;   // i32 [N]: the token to predict; -100: none. Undefined when only generating.
  Tensor segments;  // i32 [S + 1]: rows at which documents start and N at the end; attention stays
                    // inside one
  bool documents = false;  // a segment is a document or part of one; false: a whole sequence
  bool training = true;    // dropout applies
};

}  // namespace tessera
