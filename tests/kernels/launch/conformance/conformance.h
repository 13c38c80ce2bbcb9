// What every wrapper of kernels/launch/gpu/device.h does with fixed inputs, as words that do not
// depend on the order of additions: the wrappers' CUDA side is checked by running it on a GPU,
// whose words are the golden data that the emulator is held to.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/context.h"

namespace tessera::test {

struct ConformanceCase {
  const char* name;
  int architecture;  // that brought the instruction: 75, 80 or 90; see GpuLimits
  // The words are f32 numbers within this of each other, relatively; 0: the same bits.
  float tolerance;
  std::vector<uint32_t> (*run)(Context&);
};

template <Device device>
std::span<const ConformanceCase> conformance_cases();
// Those of instructions that only sm_90a has.
template <Device device>
std::span<const ConformanceCase> hopper_cases();

}  // namespace tessera::test
