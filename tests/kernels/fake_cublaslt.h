// A library that is called libcublasLt as NVIDIA's is, for kernels/linear/cublaslt.cpp on machines
// without a GPU. Its products are plain sums in double, rounded at the end, of matrices in host
// memory; it refuses what contradicts its arguments.
#pragma once

namespace tessera::test {

struct FakeCublasLtCounts {
  int algorithms = 0, products = 0;  // asked for so far
  int objects = 0;                   // alive
};
const FakeCublasLtCounts& fake_cublaslt_counts();

}  // namespace tessera::test
