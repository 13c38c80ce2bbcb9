// The products that oneDNN computes. Arguments are checked already.
#pragma once

#include "kernels/linear/kernel.h"

namespace tessera {

struct MatmulSizes {
  int64_t m, n, k;
};
inline MatmulSizes sizes_of(const MatmulArgs& args) {
  return {args.c.shape(0), args.c.shape(1), args.a.shape(args.transpose_a ? 0 : 1)};
}

// The distance between the rows of a matrix, in elements.
inline int64_t row_stride(const Tensor& x) {
  return x.shape(0) == 1 ? x.shape(1) : x.stride(0);
}

// f32, without bias. oneDNN allocates its packing buffers itself, a few MiB outside the ledger.
void sgemm(Context& ctx, const MatmulArgs& args);

// bf16 or f32 a and b by a cached primitive, with its scratch memory from the context; on `meta`
// takes the same memory and computes nothing. False, and nothing done, where oneDNN has no fast
// primitive.
bool primitive_matmul(Context& ctx, const MatmulArgs& args);

}  // namespace tessera
