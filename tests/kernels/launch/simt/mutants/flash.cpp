// Flash attention forward with mma.sync and cp.async: 4 warps of 16 rows, key blocks of 64 in two
// buffers.
#include <cmath>

#include "kernels/launch/gpu/device.h"
#include "tests/kernels/launch/simt/mutants/mutants.h"
#include "tests/kernels/launch/simt/mutants/problems.h"
#include "tests/kernels/launch/simt/run_kernel.h"

namespace tessera::simt_test {
namespace {

using namespace gpu;  // NOLINT
using Bug = FlashBug;

constexpr int kRows = 64, kKeys = 64, kHead = 64, kThreads = 128;
constexpr uint32_t kRowBytes = kHead * 2, kTileBytes = kKeys * kRowBytes;
constexpr float kLog2E = 1.44269504f, kLn2 = 0.69314718f;

struct Arguments {
  const bf16 *q, *k, *v;
  bf16* o;
  float* lse;
  int sequence, heads;
  bool causal;
  Bug bug;

  __device__ int stride() const { return heads * kHead; }
};

// The offset of 16-byte chunk `chunk` of a row: chunks are permuted so that 8 rows at one chunk
// use all banks.
__device__ uint32_t swizzle(int row, int chunk) {
  return uint32_t(row) * kRowBytes + uint32_t((chunk ^ (row & 7)) << 4);
}

__device__ void load_tile(const Arguments& a, uint32_t to, const bf16* from, int first) {
  for (int i = 0; i < 4; ++i) {
    const int c = int(thread_index().x) + i * kThreads, row = c / 8, chunk = c % 8;
    const bool inside = first + row < a.sequence;
    const bf16* source = from + int64_t(inside ? first + row : 0) * a.stride() + chunk * 8;
    const uint32_t offset = a.bug == Bug::misaligned_rows ? 8 : 0;
    cp_async_16(to + swizzle(row, chunk) + offset, source, inside ? 16 : 0);
  }
}

struct Tiles {
  uint32_t q, k, v;
};

// s [16, 64] = the warp's q k^T.
__device__ void scores(const Arguments& a, float (&s)[8][4], const uint32_t (&q)[4][4],
                       uint32_t keys) {
  const int matrix = lane() / 8;
  for (int n = 0; n < 8; ++n) {
    for (float& x : s[n]) x = 0;
  }
  for (int n = 0; n < 8; n += 2) {
    for (int k = 0; k < 4; ++k) {
      const int row = n * 8 + matrix / 2 * 8 + lane() % 8, chunk = k * 2 + matrix % 2;
      uint32_t f[4];
      ldmatrix_x4(f, keys + (a.bug == Bug::wrong_swizzle
                                 ? uint32_t(row) * kRowBytes + uint32_t((chunk ^ (row & 3)) << 4)
                                 : swizzle(row, chunk)));
      const uint32_t low[2] = {f[0], f[1]}, high[2] = {f[2], f[3]};
      mma_m16n8k16<bf16>(s[n], q[k], low);
      mma_m16n8k16<bf16>(s[n + 1], q[k], high);
    }
  }
}

__device__ void mask(const Arguments& a, float (&s)[8][4], int first_row, int first_column) {
  for (int n = 0; n < 8; ++n) {
    for (int i = 0; i < 4; ++i) {
      const int column = first_column + n * 8 + lane() % 4 * 2 + i % 2;
      const int row = first_row + lane() / 4 + i / 2 * 8;
      const bool outside = column >= a.sequence && a.bug != Bug::no_column_mask;
      const bool later = a.causal && column > row + (a.bug == Bug::causal_off_by_one);
      if (outside || later) s[n][i] = -INFINITY;
    }
  }
}

__device__ float row_max(const Arguments& a, float m) {
  if (a.bug != Bug::odd_lanes_shuffle || lane() % 2) m = max(m, shuffle_xor(m, 1));
  return max(m, shuffle_xor(m, 2));
}

// Online softmax of two rows a thread; s becomes P, the accumulator is rescaled.
__device__ void softmax(const Arguments& a, float (&s)[8][4], float (&acc)[8][4], float (&most)[2],
                        float (&sum)[2]) {
  const float scale = AttentionProblem::kScale * kLog2E;
  for (int e = 0; e < 2; ++e) {
    float m = most[e];
    for (int n = 0; n < 8; ++n) m = max(m, max(s[n][e * 2], s[n][e * 2 + 1]));
    m = row_max(a, m);
    const float base = m == -INFINITY ? 0.0f : m * scale;
    const float decay = exp2_approx(most[e] * scale - base);
    float total = 0;
    for (int n = 0; n < 8; ++n) {
      for (int i = e * 2; i < e * 2 + 2; ++i) {
        s[n][i] = exp2_approx(s[n][i] * scale - base);
        total += s[n][i];
        acc[n][i] *= decay;
      }
    }
    most[e] = m;
    sum[e] = sum[e] * decay + total;
  }
}

__device__ void add_values(const Arguments& a, float (&acc)[8][4], const float (&p)[8][4],
                           uint32_t values) {
  for (int k = 0; k < 4; ++k) {
    uint32_t f[4] = {pack<bf16>(p[2 * k][0], p[2 * k][1]), pack<bf16>(p[2 * k][2], p[2 * k][3]),
                     pack<bf16>(p[2 * k + 1][0], p[2 * k + 1][1]),
                     pack<bf16>(p[2 * k + 1][2], p[2 * k + 1][3])};
    if (a.bug == Bug::fragments_swapped) std::swap(f[1], f[2]);
    for (int n = 0; n < 8; n += 2) {
      const int matrix = lane() / 8;
      uint32_t b[4];
      ldmatrix_x4_trans(b, values + swizzle(k * 16 + matrix % 2 * 8 + lane() % 8, n + matrix / 2));
      const uint32_t low[2] = {b[0], b[1]}, high[2] = {b[2], b[3]};
      mma_m16n8k16<bf16>(acc[n], f, low);
      mma_m16n8k16<bf16>(acc[n + 1], f, high);
    }
  }
}

__device__ void write_rows(const Arguments& a, const float (&acc)[8][4], const float (&most)[2],
                           const float (&sum)[2], int first_row, int head) {
  for (int e = 0; e < 2; ++e) {
    float total = sum[e] + shuffle_xor(sum[e], 1);
    total += shuffle_xor(total, 2);
    const int row = first_row + lane() / 4 + e * 8;
    if (row >= a.sequence && a.bug != Bug::no_row_guard) continue;
    bf16* o = a.o + int64_t(row) * a.stride() + head * kHead;
    for (int n = 0; n < 8; ++n) {
      for (int i = 0; i < 2; ++i) {
        o[n * 8 + lane() % 4 * 2 + i] = from_float<bf16>(acc[n][e * 2 + i] / total);
      }
    }
    if (lane() % 4 == 0) {
      a.lse[int64_t(head) * a.sequence + row] =
          most[e] * AttentionProblem::kScale + kLn2 * log2_approx(total);
    }
  }
}

__global__ void flash_kernel(Arguments a) {
  const uint32_t shared = shared_address(dynamic_shared<1024>());
  const Tiles tiles{shared, shared + kTileBytes, shared + 3 * kTileBytes};
  const int first = int(block_index().x) * kRows, head = int(block_index().y);
  const int end = a.causal ? min(first + kRows, a.sequence) : a.sequence;
  const int blocks = (end + kKeys - 1) / kKeys;
  const bf16 *q = a.q + head * kHead, *k = a.k + head * kHead, *v = a.v + head * kHead;
  load_tile(a, tiles.q, q, first);
  load_tile(a, tiles.k, k, 0);
  load_tile(a, tiles.v, v, 0);
  if (a.bug != Bug::never_committed) cp_async_commit();
  float acc[8][4] = {}, most[2] = {-INFINITY, -INFINITY}, sum[2] = {};
  uint32_t queries[4][4];
  for (int j = 0; j < blocks; ++j) {
    if (j + 1 < blocks) {
      load_tile(a, tiles.k + uint32_t(j + 1) % 2 * kTileBytes, k, (j + 1) * kKeys);
      load_tile(a, tiles.v + uint32_t(j + 1) % 2 * kTileBytes, v, (j + 1) * kKeys);
    }
    if (a.bug != Bug::never_committed) cp_async_commit();
    if (a.bug == Bug::waits_for_too_few_copies) {
      cp_async_wait<2>();
    } else {
      cp_async_wait<1>();
    }
    if (a.bug != Bug::no_barrier_after_copies) sync_block();
    for (int c = 0; j == 0 && c < 4; ++c) {
      ldmatrix_x4(queries[c], tiles.q + swizzle(warp() * 16 + lane() % 16, c * 2 + lane() / 16));
    }
    float s[8][4];
    scores(a, s, queries, tiles.k + uint32_t(j) % 2 * kTileBytes);
    mask(a, s, first + warp() * 16, j * kKeys);
    softmax(a, s, acc, most, sum);
    add_values(a, acc, s, tiles.v + uint32_t(j) % 2 * kTileBytes);
    if (a.bug != Bug::no_barrier_before_reuse) sync_block();
  }
  write_rows(a, acc, most, sum, first + warp() * 16, head);
}

std::string run(const simt::Options& options, AttentionProblem p, Bug bug) {
  const Arguments a{p.q.data(), p.k.data(), p.v.data(), p.o.data(), p.lse.data(),
                    p.sequence, p.heads,    p.causal,   bug};
  const int tiles = bug == Bug::too_little_shared_memory ? 4 : 5;
  const gpu::Grid grid{.x = unsigned((p.sequence + kRows - 1) / kRows),
                       .y = unsigned(p.heads),
                       .threads = kThreads,
                       .shared_bytes = tiles * int(kTileBytes)};
  const std::string error = error_of(options, flash_kernel, grid, a);
  return error.empty() ? p.verdict() : error;
}

}  // namespace

std::string run_flash(const simt::Options& options, FlashBug bug) {
  const std::string causal = run(options, AttentionProblem(193, 1, true, options.seed), bug);
  return causal.empty() ? run(options, AttentionProblem(100, 2, false, options.seed), bug) : causal;
}

}  // namespace tessera::simt_test
