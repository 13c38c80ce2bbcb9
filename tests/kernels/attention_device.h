// An attention problem on a GPU device: tensors with gaps between their rows and tokens after the
// last segment, all memory that is not an input NaN.
#pragma once

#include "kernels/attention/kernel.h"
#include "tests/kernels/attention_case.h"
#include "tests/support/compare.h"

namespace tessera::test {

// A context whose seed and step are those of the cases' dropout masks.
Context attention_context(Device device, int threads = 2);

struct DeviceAttention {
  AttentionForwardArgs forward;
  AttentionBackwardArgs backward;

  DeviceAttention(Context& ctx, const AttentionCase& c, const AttentionInputs& in, DType dtype);
  void run(Context& ctx);
};

// Expects o, lse, dq, dk and dv to be as good as the formula in the kernel's own precision, and the
// rows after the last segment to be 0.
void expect_answer(const AttentionCase& c, const AttentionInputs& in, DType dtype,
                   const DeviceAttention& actual);

}  // namespace tessera::test
