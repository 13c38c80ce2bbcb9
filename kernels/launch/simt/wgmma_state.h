// wgmma operations in flight.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "kernels/launch/simt/race.h"
#include "kernels/launch/simt/site.h"

namespace tessera::simt {

constexpr int kGroupWarps = 4, kGroupThreads = 128;

enum class MatrixType : uint8_t { bf16, f16, e4m3, e5m2 };

// The operands of one thread.
struct WgmmaArguments {
  float* d;           // [n / 2]
  const uint32_t* a;  // [4] registers, or nullptr: `a_descriptor` counts
  uint64_t a_descriptor, b_descriptor;
  int n, k;
  MatrixType a_type, b_type;
  bool accumulate;
  bool a_mn_major, b_mn_major;
};

// The accumulator of a warpgroup while operations on it are in flight: D [64, n].
struct Accumulator {
  int n = 0;
  std::vector<float> values;
  std::array<float*, kGroupThreads> registers{};
  std::array<bool, kGroupWarps> taken{};      // the warp's registers are in `values`
  std::array<bool, kGroupWarps> delivered{};  // and have been written back
};

// One operation, issued warp by warp.
struct WgmmaOperation {
  WgmmaArguments arguments{};  // of the first thread that issued it
  std::array<std::array<uint32_t, 4>, kGroupThreads> a{};
  std::array<const uint32_t*, kGroupThreads> a_registers{};
  std::array<bool, kGroupWarps> issued{};
  std::array<uint64_t, kGroupWarps> group{};
  std::shared_ptr<Accumulator> accumulator;
  bool done = false;
  Site site{};
  // What each warp is ordered after when it issues, and what its proxy fences cover.
  std::array<VectorClock, kGroupWarps> seen, fenced;

  bool is_complete() const { return issued[0] && issued[1] && issued[2] && issued[3]; }
};

struct Warpgroup {
  int index = 0;
  std::deque<WgmmaOperation> operations;
  uint64_t first = 0;     // the number of operations[0]
  uint64_t executed = 0;  // the number of operations carried out
  std::vector<std::shared_ptr<Accumulator>> accumulators;

  WgmmaOperation& operation(uint64_t number) { return operations[number - first]; }
  uint64_t end() const { return first + operations.size(); }
};

// Throws if results were never waited for.
void check_end(const Warpgroup& group);

struct WarpWgmma {
  uint64_t issued = 0;  // operations
  uint64_t waited = 0;  // operations whose results the warp may use
  uint64_t group = 0;   // commit groups
  bool fenced = false;
};

}  // namespace tessera::simt
