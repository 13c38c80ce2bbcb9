// C = A B^T with TMA and wgmma, persistent blocks: a warpgroup that loads, two that multiply 64
// rows each. Writes bf16 by TMA, or adds split-K parts to f32 by TMA reductions.
#include "kernels/launch/gpu/device.h"
#include "tests/kernels/launch/simt/mutants/mutants.h"
#include "tests/kernels/launch/simt/mutants/problems.h"
#include "tests/kernels/launch/simt/run_kernel.h"

namespace tessera::simt_test {
namespace {

using namespace gpu;  // NOLINT
using Bug = GemmBug;

constexpr int kM = 128, kN = 128, kK = 64, kStages = 3, kThreads = 384;
constexpr uint32_t kRowBytes = kK * 2, kTileA = kM * kRowBytes, kTileB = kN * kRowBytes;
constexpr uint32_t kStageBytes = kTileA + kTileB, kBox = 64 * kRowBytes;  // 64 rows of 128 bytes

struct Arguments {
  TensorMap a, b, c;
  int m, n, k, splits;
  Bug bug;
};

// The tiles of one block: number `tile` of all (split, n, m).
struct Tile {
  int m, n, first, end;  // end: of the steps of k

  __device__ Tile(const Arguments& x, int tile) {
    const int rows = (x.m + kM - 1) / kM, columns = (x.n + kN - 1) / kN;
    const int steps = (x.k + kK - 1) / kK, per_split = (steps + x.splits - 1) / x.splits;
    m = tile % rows * kM;
    n = tile / rows % columns * kN;
    first = tile / (rows * columns) * per_split;
    end = min(steps, first + per_split);
  }
  __device__ static int count(const Arguments& x) {
    return (x.m + kM - 1) / kM * ((x.n + kN - 1) / kN) * x.splits;
  }
};

struct Stage {
  int index = 0;
  uint32_t parity = 0;

  __device__ void next() {
    if (++index == kStages) {
      index = 0;
      parity ^= 1;
    }
  }
};

struct Shared {
  std::byte *a, *b, *c;
  uint64_t *full, *empty;
};

__device__ void produce(const Arguments& x, const Shared& s) {
  Stage stage;
  for (int t = int(block_index().x); t < Tile::count(x); t += int(grid_size().x)) {
    const Tile tile(x, t);
    for (int k = tile.first; k < tile.end; ++k) {
      uint64_t* full = &s.full[stage.index];
      mbarrier_wait(&s.empty[stage.index], stage.parity ^ (x.bug != Bug::producer_parity));
      if (x.bug == Bug::no_expected_bytes) {
        mbarrier_arrive(full);
      } else {
        mbarrier_arrive_expect_tx(
            full, x.bug == Bug::too_few_expected_bytes ? kStageBytes / 2 : kStageBytes);
      }
      const bool swap = x.bug == Bug::transposed_coordinates;
      tma_load_2d(s.a + stage.index * kTileA, x.a, full, swap ? tile.m : k * kK,
                  swap ? k * kK : tile.m);
      tma_load_2d(s.b + stage.index * kTileB, x.b, full, k * kK, tile.n);
      stage.next();
    }
  }
}

__device__ void multiply_stage(const Arguments& x, const Shared& s, const Stage& stage, int part,
                               float (&acc)[64]) {
  const uint32_t a = shared_address(s.a + stage.index * kTileA) + uint32_t(part) * kBox;
  const uint32_t b = shared_address(s.b + stage.index * kTileB);
  const Swizzle mode = x.bug == Bug::wrong_swizzle_mode ? Swizzle::bytes64 : Swizzle::bytes128;
  const uint32_t stride = x.bug == Bug::wrong_stride ? 512 : 1024;
  const bool leads = thread_index().x % 128 == 0;
  if (x.bug != Bug::no_wgmma_fence) wgmma_fence();
  for (uint32_t k = 0; k < 4; ++k) {
    wgmma_ss<kN>(acc, matrix_descriptor(a + k * 32, 16, stride, mode),
                 matrix_descriptor(b + k * 32, 16, 1024, Swizzle::bytes128), true);
  }
  wgmma_commit();
  if (x.bug == Bug::early_release && leads) mbarrier_arrive(&s.empty[stage.index]);
  if (x.bug == Bug::released_one_stage_early) {
    wgmma_wait<1>();
  } else {
    wgmma_wait<0>();
  }
  if (x.bug != Bug::early_release && leads) mbarrier_arrive(&s.empty[stage.index]);
  if (x.bug == Bug::too_many_arrivals && leads) mbarrier_arrive(&s.empty[stage.index]);
}

// Accumulators of 64 rows to `c`, as bf16: two boxes of 64 columns, swizzled.
__device__ void write_bf16(const float (&acc)[64], uint32_t c) {
  const int matrix = lane() / 8, row = warp() % 4 * 16 + matrix % 2 * 8 + lane() % 8;
  for (int p = 0; p < 8; ++p) {
    uint32_t r[4];
    for (int i = 0; i < 4; ++i) r[i] = pack<bf16>(acc[p * 8 + 2 * i], acc[p * 8 + 2 * i + 1]);
    const int chunk = p % 4 * 2 + matrix / 2;
    stmatrix_x4(
        c + uint32_t(p / 4) * kBox + uint32_t(row) * 128 + uint32_t((chunk ^ (row & 7)) << 4), r);
  }
}

// The same as f32: four boxes of 32 columns.
__device__ void write_f32(const float (&acc)[64], std::byte* c) {
  for (int i = 0; i < 64; i += 2) {
    const int row = warp() % 4 * 16 + lane() / 4 + i / 2 % 2 * 8;
    const int column = i / 4 * 8 + lane() % 4 * 2, byte = column % 32 * 4;
    std::byte* to =
        c + column / 32 * int(kBox) + row * 128 + (((byte >> 4) ^ (row & 7)) << 4) + byte % 16;
    store_vector(reinterpret_cast<float*>(to), Vector<float, 2>{{acc[i], acc[i + 1]}});
  }
}

template <bool kReduce>
__device__ void write_tile(const Arguments& x, const Shared& s, const Tile& tile, int part,
                           const float (&acc)[64]) {
  constexpr int kBoxes = kReduce ? 4 : 2;
  std::byte* c = s.c + part * kBoxes * int(kBox);
  const bool leads = thread_index().x % 128 == 0;
  if (leads && x.bug != Bug::no_wait_for_store) tma_wait_read<0>();
  if (x.bug != Bug::no_barrier_before_epilogue) barrier_sync(1 + part, 128);
  if constexpr (kReduce) {
    write_f32(acc, c);
  } else {
    write_bf16(acc, shared_address(c));
  }
  if (x.bug != Bug::no_proxy_fence) fence_proxy_async();
  barrier_sync(1 + part, 128);
  if (!leads) return;
  for (int box = 0; box < kBoxes; ++box) {
    const int column = tile.n + box * (kReduce ? 32 : 64), row = tile.m + part * 64;
    if constexpr (kReduce) {
      tma_reduce_add_2d(x.c, c + box * int(kBox), column, row);
    } else {
      tma_store_2d(x.c, c + box * int(kBox), column, row);
    }
  }
  tma_commit();
}

template <bool kReduce>
__device__ void consume(const Arguments& x, const Shared& s, int part) {
  const bool leads = thread_index().x % 128 == 0;
  Stage stage;
  for (int t = int(block_index().x); t < Tile::count(x); t += int(grid_size().x)) {
    const Tile tile(x, t);
    float acc[64] = {};
    for (int k = tile.first; k < tile.end; ++k) {
      if (leads || x.bug != Bug::one_thread_waits_for_tiles) {
        mbarrier_wait(&s.full[stage.index], stage.parity ^ (x.bug == Bug::consumer_parity));
      }
      multiply_stage(x, s, stage, part, acc);
      stage.next();
    }
    write_tile<kReduce>(x, s, tile, part, acc);
  }
  if (leads && x.bug != Bug::no_wait_at_exit) tma_wait<0>();
}

template <bool kReduce>
__global__ void gemm_kernel(const __grid_constant__ Arguments x) {
  std::byte* shared = dynamic_shared<1024>();
  uint64_t* barriers = shared_array<uint64_t, 2 * kStages>();
  const Shared s{.a = shared,
                 .b = shared + kStages * kTileA,
                 .c = shared + kStages * kStageBytes,
                 .full = barriers,
                 .empty = barriers + kStages};
  if (thread_index().x == 0) {
    for (int i = 0; i < kStages; ++i) {
      mbarrier_init(&s.full[i], 1);
      mbarrier_init(&s.empty[i], 2);
    }
    fence_mbarrier_init();
  }
  if (x.bug != Bug::no_barrier_after_init) sync_block();
  const int group = int(thread_index().x) / 128;
  if (group == 0) {
    set_max_registers_dec<24>();
    if (warp() == 0 && lane() == 0) produce(x, s);
  } else {
    set_max_registers_inc<240>();
    consume<kReduce>(x, s, group - 1);
  }
}

template <class T>
TensorMap map_of(const std::vector<T>& matrix, int columns, int rows, int box_columns,
                 int box_rows) {
  return encode_tensor_map(matrix.data(), {.rank = 2,
                                           .sizes = {uint64_t(columns), uint64_t(rows)},
                                           .strides = {uint64_t(columns) * sizeof(T)},
                                           .box = {uint32_t(box_columns), uint32_t(box_rows)},
                                           .swizzle = Swizzle::bytes128});
}

template <bool kReduce>
std::string run(const simt::Options& options, GemmProblem p, unsigned blocks, Bug bug) {
  const Arguments x{.a = map_of(p.a, p.k, p.m, kK, kM),
                    .b = map_of(p.b, p.k, p.n, kK, kN),
                    .c = kReduce ? map_of(p.sum, p.n, p.m, 32, 64) : map_of(p.c, p.n, p.m, 64, 64),
                    .m = p.m,
                    .n = p.n,
                    .k = p.k,
                    .splits = kReduce ? 2 : 1,
                    .bug = bug};
  const int boxes = 2 * (kReduce ? 4 : 2);
  const std::string error =
      error_of(options, gemm_kernel<kReduce>,
               {.x = blocks,
                .threads = kThreads,
                .shared_bytes = int(kStages * kStageBytes) + boxes * int(kBox)},
               x);
  return error.empty() ? p.verdict(kReduce) : error;
}

}  // namespace

std::string run_gemm(const simt::Options& options, GemmBug bug) {
  const std::string error = run<false>(options, GemmProblem(200, 264, 328, options.seed), 2, bug);
  return error.empty() ? run<true>(options, GemmProblem(136, 128, 256, options.seed), 3, bug)
                       : error;
}

}  // namespace tessera::simt_test
