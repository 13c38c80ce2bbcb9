#include "kernels/elementwise/sweep.h"
#include "kernels/launch/cpu/parallel.h"
#include "kernels/linear/cpu.h"

namespace tessera {
namespace {

constexpr int64_t kGrain = 65536;  // elements of b or x that are worth waking a thread for
constexpr int kColumns = 4;        // of c that are computed at a time

// Columns [column, column + kColumns) of all R rows of c, as far as c has them.
template <int R, class C>
void dot_block(const FewRows<C>& p, int64_t column) {
  using V = Vec<float>;
  const bf16* b[kColumns];
  for (int j = 0; j < kColumns; ++j)
    b[j] = p.b + (column + j < p.n ? column + j : p.n - 1) * p.b_stride;
  V sums[R][kColumns];
  for (auto& row_sums : sums)
    for (V& sum : row_sums) sum = V::zero();
  sweep<V>(p.k, [&](int64_t i, auto width) {
#pragma GCC unroll 4
    for (int j = 0; j < kColumns; ++j) {
      const V weights = load<V>(b[j] + i, width);
#pragma GCC unroll 2
      for (int r = 0; r < R; ++r)
        sums[r][j] = fma(load<V>(p.a + r * p.a_stride + i, width), weights, sums[r][j]);
    }
  });
  for (int r = 0; r < R; ++r) {
    for (int j = 0; j < kColumns && column + j < p.n; ++j) {
      const float bias = p.bias ? p.bias[column + j] : 0;
      V(reduce_add(sums[r][j]) + bias).store_first(p.c + r * p.c_stride + column + j, 1);
    }
  }
}

template <class C>
void few_rows(int threads, const FewRows<C>& p) {
  const int64_t blocks = (p.n + kColumns - 1) / kColumns;
  parallel_for(threads, blocks, kGrain / (p.k * kColumns) + 1, [&](int64_t begin, int64_t end) {
    for (int64_t column = begin * kColumns; column < end * kColumns; column += kColumns)
      p.m == 1 ? dot_block<1>(p, column) : dot_block<2>(p, column);
  });
}

// Sums over kRun rows are added up, so that rounding errors do not grow with the number of rows.
template <class S>
void sum_rows(int threads, const SumRows<S>& p) {
  using V = Vec<compute_t<S>>;
  constexpr int64_t kRun = 128;
  const int64_t blocks = (p.columns + V::kLanes - 1) / V::kLanes;
  parallel_for(threads, blocks, kGrain / (p.rows * V::kLanes) + 1, [&](int64_t begin, int64_t end) {
    for (int64_t column = begin * V::kLanes; column < end * V::kLanes; column += V::kLanes) {
      const int lanes = lanes_left<V>(p.columns - column);
      V total = p.accumulate ? V::load_first(p.sums + column, lanes) : V::zero();
      for (int64_t first = 0; first < p.rows; first += kRun) {
        const int64_t last = first + kRun < p.rows ? first + kRun : p.rows;
        V sum = V::zero();
        for (int64_t row = first; row < last; ++row)
          sum += V::load_first(p.x + row * p.stride + column, lanes);
        total += sum;
      }
      total.store_first(p.sums + column, lanes);
    }
  });
}

}  // namespace

template <>
void few_rows_cpu<TESSERA_ISA, float>(int threads, const FewRows<float>& args) {
  few_rows(threads, args);
}
template <>
void few_rows_cpu<TESSERA_ISA, bf16>(int threads, const FewRows<bf16>& args) {
  few_rows(threads, args);
}
template <>
void sum_rows_cpu<TESSERA_ISA, float>(int threads, const SumRows<float>& args) {
  sum_rows(threads, args);
}
template <>
void sum_rows_cpu<TESSERA_ISA, bf16>(int threads, const SumRows<bf16>& args) {
  sum_rows(threads, args);
}
template <>
void sum_rows_cpu<TESSERA_ISA, double>(int threads, const SumRows<double>& args) {
  sum_rows(threads, args);
}

}  // namespace tessera
