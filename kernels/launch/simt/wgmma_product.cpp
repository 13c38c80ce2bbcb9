// What one wgmma operation computes.
#include <algorithm>
#include <cstring>

#include "kernels/launch/simt/clones.h"
#include "kernels/launch/simt/executor.h"
#include "kernels/launch/simt/matrix.h"
#include "kernels/launch/simt/wgmma.h"

namespace tessera::simt {
namespace {

constexpr int kRows = 64, kRowsOfWarp = 16;
constexpr uint32_t kChunk = 16;  // bytes that stay together in every layout

int bytes_of(MatrixType type) {
  return type == MatrixType::bf16 || type == MatrixType::f16 ? 2 : 1;
}

// The fields of a descriptor (PTX ISA, "Matrix Descriptor Format").
struct Descriptor {
  explicit Descriptor(uint64_t bits)
      : start(uint32_t(bits & 0x3fff) << 4),
        leading(uint32_t(bits >> 16 & 0x3fff) << 4),
        stride(uint32_t(bits >> 32 & 0x3fff) << 4),
        base_offset(uint32_t(bits >> 49 & 7)),
        swizzle_bits(int((4 - (bits >> 62)) % 4)) {}

  // The 16 bytes that begin with element (k, mn), by the canonical layouts. `per` elements fill 16
  // bytes.
  uint32_t k_major(int mn, int k, int per) const {
    const uint32_t row = uint32_t(mn), column = uint32_t(k / per);
    const uint32_t width = kChunk << swizzle_bits;
    return place(row % 8 * width + row / 8 * stride + column * (swizzle_bits ? kChunk : leading));
  }
  uint32_t mn_major(int mn, int k, int per) const {
    const uint32_t row = uint32_t(k), column = uint32_t(mn / per);
    if (swizzle_bits == 0) return place(column * stride + row % 8 * kChunk + row / 8 * leading);
    const uint32_t chunks = 1u << swizzle_bits;
    return place(column % chunks * kChunk + column / chunks * leading +
                 row % 8 * (kChunk << swizzle_bits) + row / 8 * stride);
  }

 private:
  uint32_t place(uint32_t offset) const {
    return swizzled((start + offset) % SharedMemory::kBytes, swizzle_bits, base_offset);
  }

  uint32_t start, leading, stride, base_offset;
  int swizzle_bits;
};

// Calls visit(mn, k, address) for every 16 bytes of an operand of `extent` rows of A (or columns of
// B); `per` elements fill them.
template <class Visit>
void for_each_chunk(uint64_t bits, bool mn_major, int extent, int depth, int per, Visit visit) {
  const Descriptor descriptor(bits);
  const int step_mn = mn_major ? per : 1, step_k = mn_major ? 1 : per;
  for (int mn = 0; mn < extent; mn += step_mn) {
    for (int k = 0; k < depth; k += step_k) {
      visit(mn, k, mn_major ? descriptor.mn_major(mn, k, per) : descriptor.k_major(mn, k, per));
    }
  }
}

// Reads an operand from shared memory: set(mn, k, value) for every element.
template <class Set>
void read_shared(const SharedMemory& shared, uint64_t bits, bool mn_major, int extent, int depth,
                 MatrixType type, Set set) {
  const int per = int(kChunk) / bytes_of(type);
  for_each_chunk(bits, mn_major, extent, depth, per, [&](int mn, int k, uint32_t address) {
    uint32_t words[kChunk / sizeof(uint32_t)];
    std::memcpy(words, shared.at(address), kChunk);
    for (int e = 0; e < per; ++e) {
      set(mn_major ? mn + e : mn, mn_major ? k : k + e, element(words, e, type));
    }
  });
}

// What every one of the clocks knows.
VectorClock common(const std::array<VectorClock, kGroupWarps>& clocks) {
  VectorClock least = clocks[0];
  for (const VectorClock& clock : clocks) {
    for (size_t i = 0; i < least.size(); ++i) least[i] = std::min(least[i], clock[i]);
  }
  return least;
}

// A from registers: as for mma.sync, 16 rows a warp.
template <class Set>
void read_registers(const WgmmaOperation& operation, Set set) {
  const MatrixType type = operation.arguments.a_type;
  const int per = int(sizeof(uint32_t)) / bytes_of(type);
  for (int thread = 0; thread < kGroupThreads; ++thread) {
    const auto& registers = operation.a[size_t(thread)];
    if (std::memcmp(registers.data(), operation.a_registers[size_t(thread)], sizeof(registers))) {
      fail_at(operation.site,
              "wgmma: the registers of A of thread {} of the warpgroup changed before wgmma_wait",
              thread);
    }
    const int row = thread / kLanes * kRowsOfWarp + thread % kLanes / 4;
    for (int i = 0; i < 4; ++i) {
      for (int e = 0; e < per; ++e) {
        const int k = per * (thread % 4) + e + 4 * per * (i / 2);
        set(row + 8 * (i % 2), k, element(&registers[size_t(i)], e, type));
      }
    }
  }
}

// d [64, n] += a [64, depth] b [depth, n].
TESSERA_SIMT_CLONES void accumulate(float* __restrict__ d, const float* __restrict__ a,
                                    const float* __restrict__ b, int n, int depth) {
  for (int row = 0; row < kRows; ++row) {
    for (int k = 0; k < depth; ++k) {
      const float x = a[row * depth + k];
      for (int j = 0; j < n; ++j) d[row * n + j] += x * b[k * n + j];
    }
  }
}

}  // namespace

void check_operands(Block& block, const Warpgroup& group, WgmmaOperation& operation) {
  const WgmmaArguments& x = operation.arguments;
  Agent agent{.id = block.race.wgmma_agent(group.index, operation.group[0]),
              .time = uint32_t(operation.group[0]) + 1};
  const auto touch = [&](uint32_t address, const char* name) {
    block.shared.check(address, kChunk, kChunk, name, operation.site);
    if (!block.race.on()) return;
    block.race.access(address, kChunk, Access::async_read, agent, operation.site);
  };
  const auto touch_a = [&](int row, int, uint32_t address) {
    agent.seen = &operation.seen[size_t(row / kRowsOfWarp)];
    agent.fenced = &operation.fenced[size_t(row / kRowsOfWarp)];
    touch(address, "wgmma A");
  };
  if (!x.a) {
    for_each_chunk(x.a_descriptor, x.a_mn_major, kRows, x.k, int(kChunk) / bytes_of(x.a_type),
                   touch_a);
  }
  const VectorClock seen = common(operation.seen), fenced = common(operation.fenced);
  agent.seen = &seen;
  agent.fenced = &fenced;
  for_each_chunk(x.b_descriptor, x.b_mn_major, x.n, x.k, int(kChunk) / bytes_of(x.b_type),
                 [&](int, int, uint32_t address) { touch(address, "wgmma B"); });
  operation.seen = operation.fenced = {};
}

void multiply(const Block& block, WgmmaOperation& operation) {
  const WgmmaArguments& x = operation.arguments;
  std::vector<float> a(size_t(kRows) * size_t(x.k)), b(size_t(x.k) * size_t(x.n));
  const auto set_a = [&](int row, int k, float value) { a[size_t(row * x.k + k)] = value; };
  const auto set_b = [&](int column, int k, float value) { b[size_t(k * x.n + column)] = value; };
  if (x.a) {
    read_registers(operation, set_a);
  } else {
    read_shared(block.shared, x.a_descriptor, x.a_mn_major, kRows, x.k, x.a_type, set_a);
  }
  read_shared(block.shared, x.b_descriptor, x.b_mn_major, x.n, x.k, x.b_type, set_b);
  std::vector<float>& d = operation.accumulator->values;
  if (!x.accumulate) std::ranges::fill(d, 0.0f);
  accumulate(d.data(), a.data(), b.data(), x.n, x.k);
  operation.done = true;
}

}  // namespace tessera::simt
