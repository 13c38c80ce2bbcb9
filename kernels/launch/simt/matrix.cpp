#include "kernels/launch/simt/matrix.h"

#include <array>
#include <cstring>

#include "core/dtype.h"
#include "kernels/launch/simt/architecture.h"
#include "kernels/launch/simt/collective.h"
#include "kernels/launch/simt/executor.h"

namespace tessera::simt {
namespace {

constexpr int kSize = 8;  // rows and columns of a matrix of ldmatrix
constexpr uint32_t kRowBytes = 16;

using Matrix = std::array<std::array<uint16_t, kSize>, kSize>;

// Lane 4 r + c holds elements (r, 2 c) and (r, 2 c + 1).
uint32_t& pick_pair(Matrix& m, int lane, bool transposed, uint32_t& pair) {
  const size_t i = size_t(lane / 4), j = size_t(lane % 4) * 2;
  const uint16_t low = transposed ? m[j][i] : m[i][j];
  const uint16_t high = transposed ? m[j + 1][i] : m[i][j + 1];
  return pair = low | uint32_t(high) << 16;
}

void put_pair(Matrix& m, int lane, bool transposed, uint32_t pair) {
  const size_t i = size_t(lane / 4), j = size_t(lane % 4) * 2;
  (transposed ? m[j][i] : m[i][j]) = uint16_t(pair);
  (transposed ? m[j + 1][i] : m[i][j + 1]) = uint16_t(pair >> 16);
}

struct MatrixAccess {
  uint32_t* load;
  const uint32_t* store;
  uint32_t address;
};

using Rows = std::array<uint32_t, kSize>;

// The row addresses of matrix `index`, checked, recorded with the lanes that gave them.
template <class Table>
Rows rows_of(const Table& table, int index, const char* name, Access kind, Site site) {
  Fiber& fiber = *static_cast<Fiber*>(current_thread);
  Block& block = *fiber.block;
  Rows rows;
  for (int r = 0; r < kSize; ++r) {
    const int lane = index * kSize + r;
    const uint32_t address = rows[size_t(r)] = table(lane)->address;
    block.shared.check(address, kRowBytes, kRowBytes, name, site);
    block.race.thread_access(block.fibers[size_t(fiber.warp_index * kLanes + lane)], address,
                             kRowBytes, kind, site);
  }
  Executor& executor = *block.executor;
  if (executor.options().bank) executor.bank_conflicts().add_phase(site, rows, kRowBytes);
  return rows;
}

void count_access(Site site) {
  Executor& executor = *static_cast<Fiber*>(current_thread)->block->executor;
  if (executor.options().bank) executor.bank_conflicts().add_access(site);
}

}  // namespace

void ldmatrix(uint32_t* registers, uint32_t address, int matrices, bool transposed, Site site) {
  const char* name = transposed ? "ldmatrix.trans" : "ldmatrix";
  MatrixAccess mine{.load = registers, .store = nullptr, .address = address};
  collective({.name = name}, mine, site, [&](auto table) {
    const SharedMemory& shared = static_cast<Fiber*>(current_thread)->block->shared;
    count_access(site);
    for (int i = 0; i < matrices; ++i) {
      const Rows rows = rows_of(table, i, name, Access::read, site);
      Matrix m;
      for (size_t r = 0; r < kSize; ++r) std::memcpy(&m[r], shared.at(rows[r]), kRowBytes);
      for (int lane = 0; lane < kLanes; ++lane) {
        pick_pair(m, lane, transposed, table(lane)->load[i]);
      }
    }
  });
}

void stmatrix(uint32_t address, const uint32_t* registers, int matrices, bool transposed,
              Site site) {
  const char* name = transposed ? "stmatrix.trans" : "stmatrix";
  require_architecture(90, name, site);
  MatrixAccess mine{.load = nullptr, .store = registers, .address = address};
  collective({.name = name}, mine, site, [&](auto table) {
    const SharedMemory& shared = static_cast<Fiber*>(current_thread)->block->shared;
    count_access(site);
    for (int i = 0; i < matrices; ++i) {
      const Rows rows = rows_of(table, i, name, Access::write, site);
      Matrix m;
      for (int lane = 0; lane < kLanes; ++lane) {
        put_pair(m, lane, transposed, table(lane)->store[i]);
      }
      for (size_t r = 0; r < kSize; ++r) std::memcpy(shared.at(rows[r]), &m[r], kRowBytes);
    }
  });
}

}  // namespace tessera::simt
