// The products of device `cuda`, by cuBLASLt. Arguments are checked already.
#pragma once

#include "kernels/linear/kernel.h"

namespace tessera {

// ctx.state<CublasLtOptions>(): may be changed between products.
struct CublasLtOptions {
  bool tf32 =
      false;  // f32 products round their factors to 10 bits of mantissa: several times faster
};

// Scratch memory of a product: what NVIDIA advises for Hopper, and room to align it.
inline constexpr size_t kCublasLtAlignment = 256;
inline constexpr size_t kCublasLtWorkspaceBytes = (size_t{32} << 20) + kCublasLtAlignment;

// Whether this build has cuBLASLt, without which `cuda` has no products.
bool has_cublaslt();

// f32, bf16 (accumulated in f32) and f64, which has no bias. The bias has the dtype of c and is
// added in the product's epilogue. The algorithm is chosen once for a shape, its strides,
// alignments and dtypes. Throws Error for what cuBLASLt has no algorithm for, and in a build
// without cuBLASLt.
void cublaslt_matmul(Context& ctx, const MatmulArgs& args, const Tensor& workspace);

}  // namespace tessera
