// Instruction-set levels that the CPU kernels are compiled for, chosen once at run time.
#pragma once

#include <cstdint>

namespace tessera {

enum class Isa : uint8_t { avx2, avx512, avx512_bf16 };

}  // namespace tessera
