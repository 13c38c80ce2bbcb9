// Tiles of rows in shared memory, sums in registers, and the products of the two.
//
// A warp's sums are a [16 R, N] matrix in the accumulator layout of mma.m16n8k16 (PTX
// ISA 9.7.15.5): with g = lane / 4 and c = lane % 4, v[r][n][i] is the element in row 16 r + g + 8
// (i / 2) and column 8 n + 2 c + i % 2. f32 and f64 use the same layout with plain multiply-adds,
// so that one kernel text serves all dtypes.
#pragma once

#include "kernels/attention/problem.h"
#include "kernels/launch/gpu/device.h"

namespace tessera::gpu {
namespace {

// Whether products of S run on tensor cores.
template <class S>
inline constexpr bool kTensorCores = sizeof(S) == 2;

// Rows of D = kD elements in chunks of 16 bytes. Chunk c of row r stands in place c ^ (r % 8), so
// that the same chunk of 8 consecutive rows lies in different banks.
template <class S, int kD>
struct Tile {
  static constexpr int kChunk = 16 / int(sizeof(S));  // elements
  static constexpr int kChunks = kD / kChunk;
  static constexpr int kRowBytes = kD * int(sizeof(S));
  static constexpr int bytes(int rows) { return rows * kRowBytes; }

  std::byte* data;

  __device__ static int offset(int row, int chunk) {
    return row * kRowBytes + ((chunk ^ (row & 7)) << 4);
  }
  __device__ uint32_t address(int row, int chunk) const {
    return shared_address(data) + uint32_t(offset(row, chunk));
  }
  __device__ S* at(int row, int column) const {
    return reinterpret_cast<S*>(data + offset(row, column / kChunk)) + column % kChunk;
  }
};

// In which order ldmatrix_x4 loads the four 8 x 8 matrices of 16 x 16 elements: both of the left
// half and then of the right, or both of the upper half and then of the lower. mma takes registers
// that follow each other: a whole left operand, or two matrices for a right one. In the wrong order
// they would first have to be moved, which costs as many instructions as the products.
enum class PatchOrder {
  by_columns,  // a left operand; with ldmatrix_x4_trans, two right operands
  by_rows,     // two right operands; with ldmatrix_x4_trans, a left operand
};

// Addresses for ldmatrix_x4 of the 16 x 16 elements from row `row`, a multiple of 8, and column
// 16 i on. Rows are multiples of 128 bytes, so all addresses of a lane follow from four numbers;
// left to the compiler, every one of them would stay in a register.
template <class S, int kD, PatchOrder kOrder>
struct Patches {
  uint32_t base, lane_offset;
  __device__ Patches(Tile<S, kD> tile, int first_row)
      : base(shared_address(tile.data) + uint32_t(first_row * Tile<S, kD>::kRowBytes)),
        lane_offset(uint32_t(Tile<S, kD>::offset(lane_row(), lane_chunk()))) {}
  __device__ uint32_t at(int row, int i) const {
    return (lane_offset ^ uint32_t((i & 3) << 5)) + base +
           uint32_t(row * Tile<S, kD>::kRowBytes + (i >> 2) * 128);
  }

 private:
  __device__ static int lane_row() {
    return kOrder == PatchOrder::by_columns ? lane() % 16 : lane() / 16 * 8 + lane() % 8;
  }
  __device__ static int lane_chunk() {
    return kOrder == PatchOrder::by_columns ? lane() / 16 : lane() / 8 % 2;
  }
};

// Rows of a [tokens, heads, D] array, from some token on.
template <class S>
struct Rows {
  S* data;
  int64_t stride;  // elements
  int count;       // rows that exist
};

template <class S>
__device__ inline Rows<S> rows_of(const AttentionArray& array, int token, int64_t head, int count) {
  return {static_cast<S*>(array.data) + token * array.token_stride + head * array.head_stride,
          array.token_stride, count};
}

// Fills kRows rows of the tile; rows from source.count on and columns from head_dim on become 0.
// Done once the thread's copies have been waited for and the block has met at a barrier.
template <int kRows, int kThreads, class S, int kD>
__device__ inline void load_tile(Tile<S, kD> tile, Rows<const S> source, int head_dim) {
  const int thread = int(thread_index().x);
  if constexpr (kTensorCores<S>) {
    constexpr int kChunks = Tile<S, kD>::kChunks, kRowsAtOnce = kThreads / kChunks;
    static_assert(kThreads % kChunks == 0 && kRows % kRowsAtOnce == 0);
    const int chunk = thread % kChunks, column = chunk * Tile<S, kD>::kChunk;
    int row = thread / kChunks;
    const S* from = source.data + row * source.stride + column;
#pragma unroll 2
    for (int i = 0; i < kRows / kRowsAtOnce; ++i) {
      const bool inside = row < source.count && column < head_dim;
      cp_async_16(tile.address(row, chunk), from, inside ? 16 : 0);
      row += kRowsAtOnce;
      from += kRowsAtOnce * source.stride;
    }
  } else {  // any D
    for (int i = thread; i < kRows * kD; i += kThreads) {
      const int row = i / kD, column = i % kD;
      const bool inside = row < source.count && column < head_dim;
      *tile.at(row, column) = inside ? source.data[row * source.stride + column] : S(0);
    }
  }
}

template <class T, int R, int N>
struct Sums {
  T v[R][N / 8][4] = {};

  // f(value, r, half, row, column): half is i / 2, row and column are the element's.
  template <class F>
  __device__ void each(const F& f) {
    const int g = lane() / 4, c = lane() % 4;
#pragma unroll
    for (int r = 0; r < R; ++r) {
#pragma unroll
      for (int n = 0; n < N / 8; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          f(v[r][n][i], r, i / 2, 16 * r + g + 8 * (i / 2), 8 * n + 2 * c + i % 2);
        }
      }
    }
  }
  // f(value, column - 2 c) for this lane's columns of row 16 r + 8 half + g.
  template <class F>
  __device__ void each_in_row(int r, int half, const F& f) {
#pragma unroll
    for (int n = 0; n < N / 8; ++n) {
      f(v[r][n][2 * half], 8 * n);
      f(v[r][n][2 * half + 1], 8 * n + 1);
    }
  }
  // f(value, other's value, r, half, row, column)
  template <class F>
  __device__ void each_with(Sums& other, const F& f) {
    const int g = lane() / 4, c = lane() % 4;
#pragma unroll
    for (int r = 0; r < R; ++r) {
#pragma unroll
      for (int n = 0; n < N / 8; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          f(v[r][n][i], other.v[r][n][i], r, i / 2, 16 * r + g + 8 * (i / 2),
            8 * n + 2 * c + i % 2);
        }
      }
    }
  }
};

// left += a {b0, b1}, right += a {b2, b3}
template <class S>
__device__ inline void mma_pair(float (&left)[4], float (&right)[4], const uint32_t (&a)[4],
                                const uint32_t (&b)[4]) {
  mma_m16n8k16<S>(left, a, {b[0], b[1]});
  mma_m16n8k16<S>(right, a, {b[2], b[3]});
}

// sums[16 R, N] += A B^T: A is rows first_row .. of tile a, B rows 0 .. N of tile b.
template <class S, int kD, int R, int N>
__device__ inline void multiply_nt(Sums<Wide<S>, R, N>& sums, Tile<S, kD> a, int first_row,
                                   Tile<S, kD> b, int head_dim) {
  if constexpr (kTensorCores<S>) {
    // With many sums there are no registers left for operands of all steps at once; addresses
    // repeat after four.
    [[maybe_unused]] constexpr int kUnroll = R > 1 ? 4 : kD / 16;
    const Patches<S, kD, PatchOrder::by_columns> a_patches(a, first_row);
    const Patches<S, kD, PatchOrder::by_rows> b_patches(b, 0);
#pragma unroll kUnroll
    for (int k = 0; k < kD / 16; ++k) {
      uint32_t left[R][4];
#pragma unroll
      for (int r = 0; r < R; ++r) ldmatrix_x4(left[r], a_patches.at(16 * r, k));
#pragma unroll
      for (int n = 0; n < N / 8; n += 2) {
        uint32_t right[4];
        ldmatrix_x4(right, b_patches.at(8 * n, k));
#pragma unroll
        for (int r = 0; r < R; ++r) {
          mma_pair<S>(sums.v[r][n], sums.v[r][n + 1], left[r], right);
        }
      }
    }
  } else {
#pragma unroll 1
    for (int k = 0; k < head_dim; ++k) {
      sums.each([&](Wide<S>& sum, int, int, int row, int column) {
        sum = fma(*a.at(first_row + row, k), *b.at(column, k), sum);
      });
    }
  }
}

// A left operand from 16 columns of sums: their accumulator layout is that of the operand's halves.
template <class S>
__device__ inline void pack_operand(uint32_t (&a)[4], const float (&left)[4],
                                    const float (&right)[4]) {
  a[0] = pack<S>(left[0], left[1]);
  a[1] = pack<S>(left[2], left[3]);
  a[2] = pack<S>(right[0], right[1]);
  a[3] = pack<S>(right[2], right[3]);
}

// sums[16 R, M] += A B, 16 deep: B is rows first_row .. of a tile, its columns first_column ...
template <class S, int kD, int R, int M>
__device__ inline void multiply_step(Sums<float, R, M>& sums, const uint32_t (&a)[R][4],
                                     const Patches<S, kD, PatchOrder::by_columns>& b, int first_row,
                                     int first_column) {
#pragma unroll
  for (int n = 0; n < M / 8; n += 2) {
    uint32_t right[4];
    ldmatrix_x4_trans(right, b.at(first_row, first_column / 16 + n / 2));
#pragma unroll
    for (int r = 0; r < R; ++r) {
      mma_pair<S>(sums.v[r][n], sums.v[r][n + 1], a[r], right);
    }
  }
}

// sums[16 R, M] += P B: P are sums of N columns, B the columns first_column .. of rows 0 .. N of
// tile b.
template <class S, int kD, int R, int N, int M>
__device__ inline void multiply_nn(Sums<Wide<S>, R, M>& sums, const Sums<Wide<S>, R, N>& p,
                                   Tile<S, kD> b, int first_column, int head_dim) {
  if constexpr (kTensorCores<S>) {
    const Patches<S, kD, PatchOrder::by_columns> patches(b, 0);
#pragma unroll
    for (int k = 0; k < N / 16; ++k) {
      uint32_t left[R][4];
#pragma unroll
      for (int r = 0; r < R; ++r) pack_operand<S>(left[r], p.v[r][2 * k], p.v[r][2 * k + 1]);
      multiply_step<S>(sums, left, patches, 16 * k, first_column);
    }
  } else {
    const int c = lane() % 4, columns = head_dim - first_column;
#pragma unroll
    for (int k = 0; k < N; ++k) {
      // Column k of P is in lane k / 2 % 4 of each group of four.
      Wide<S> left[R][2];
#pragma unroll
      for (int i = 0; i < 2 * R; ++i) {
        left[i / 2][i % 2] =
            shuffle(p.v[i / 2][k / 8][i % 2 * 2 + k % 2], lane() / 4 * 4 + k / 2 % 4);
      }
#pragma unroll
      for (int n = 0; n < M / 8; ++n) {
        if (8 * n < columns) {
#pragma unroll
          for (int i = 0; i < 4 * R; ++i) {
            const Wide<S> right = *b.at(k, first_column + 8 * n + 2 * c + i % 2);
            Wide<S>& sum = sums.v[i / 4][n][i % 4];
            sum = fma(left[i / 4][i / 2 % 2], right, sum);
          }
        }
      }
    }
  }
}

// Writes sums, rounded, to 16-bit elements of a tile.
template <class S, int kD, int R, int N>
__device__ inline void store_sums(Tile<S, kD> tile, const Sums<float, R, N>& sums, int first_row,
                                  int first_column) {
  const int g = lane() / 4, c = lane() % 4;
#pragma unroll
  for (int i = 0; i < 2 * R; ++i) {
#pragma unroll
    for (int n = 0; n < N / 8; ++n) {
      const float(&v)[4] = sums.v[i / 2][n];
      *reinterpret_cast<uint32_t*>(tile.at(first_row + 8 * i + g, first_column + 8 * n + 2 * c)) =
          i % 2 ? pack<S>(v[2], v[3]) : pack<S>(v[0], v[1]);
    }
  }
}

// Writes the block's rows of `out`, times factor(r, half), to `target`. 16-bit values pass through
// `tile`, which nobody may be reading, so that they leave in accesses of 16 bytes.
template <class C, class Factor>
__device__ inline void store_rows(typename C::Out& out, Tile<typename C::S, C::kD> tile,
                                  Rows<typename C::S> target, int head_dim, const Factor& factor) {
  using S = typename C::S;
  const int first_row = C::warp_row(), first_column = C::warp_column();
  if constexpr (kTensorCores<S>) {
    out.each([&](float& value, int r, int half, int, int) { value *= factor(r, half); });
    store_sums(tile, out, first_row, first_column);
    sync_warp();
    constexpr int kChunks = C::kOutColumns / 8;
    for (int i = lane(); i < C::kWarpRows * kChunks; i += kWarpSize) {
      const int row = first_row + i / kChunks, column = first_column + i % kChunks * 8;
      if (row < target.count && column < head_dim) {
        store_global(target.data + row * target.stride + column,
                     *reinterpret_cast<const Vector<S, 8>*>(tile.at(row, column)));
      }
    }
  } else {
    out.each([&](S& value, int r, int half, int row, int column) {
      if (first_row + row < target.count && first_column + column < head_dim) {
        target.data[(first_row + row) * target.stride + first_column + column] =
            value * factor(r, half);
      }
    });
  }
}

}  // namespace
}  // namespace tessera::gpu
