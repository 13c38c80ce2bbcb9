// The products of device `cuda`, by cuBLASLt. Arguments are checked already.
#pragma once

#include "kernels/linear/kernel.h"

namespace tessera {

// ctx.state<CublasLtOptions>(): may be changed between products.
struct CublasLtOptions {
  bool tf32 =
      false;  // f32 products round their factors to 10 bits of mantissa: several times faster
};

// f32, bf16 (accumulated in f32) and f64; the bias is added in the product's epilogue (for bf16 c
// rounded to bf16 first; f64 has none). The algorithm is chosen once for a shape, its strides,
// alignments and dtypes. Scratch memory comes from the context: 32 MiB at most.
// Throws Error for what cuBLASLt has no algorithm for, and in a build without cuBLASLt.
void cublaslt_matmul(Context& ctx, const MatmulArgs& args);

}  // namespace tessera
