#include "kernels/elementwise/sweep.h"
#include "kernels/embedding/cpu.h"
#include "kernels/launch/cpu/parallel.h"

namespace tessera {
namespace {

constexpr int64_t kBlock = 16;     // columns: a cache line of f32
constexpr int64_t kGrain = 16384;  // elements that are worth waking a thread for

// A thread owns a range of columns and goes through all tokens, so that no two threads meet.
template <class S>
void scatter(int threads, const EmbeddingScatter<S>& a) {
  using V = Vec<compute_t<S>>;
  const int64_t blocks = (a.width + kBlock - 1) / kBlock, grain = 1 + kGrain / (kBlock * a.rows);
  parallel_for(threads, blocks, grain, [&](int64_t first, int64_t last) {
    const int64_t begin = first * kBlock, end = last == blocks ? a.width : last * kBlock;
    for (int64_t row = 0; row < a.rows; ++row) {
      const S* from = a.dy + row * a.width + begin;
      EmbeddingGrad<S>* to = a.dtable + a.tokens[row] * a.width + begin;
      sweep<V>(end - begin, [=](int64_t i, auto lanes) {
        store(load<V>(to + i, lanes) + load<V>(from + i, lanes), to + i, lanes);
      });
    }
  });
}

}  // namespace

template <>
EmbeddingLoop<float> embedding_cpu<TESSERA_ISA, float>() {
  return scatter<float>;
}
template <>
EmbeddingLoop<bf16> embedding_cpu<TESSERA_ISA, bf16>() {
  return scatter<bf16>;
}
template <>
EmbeddingLoop<double> embedding_cpu<TESSERA_ISA, double>() {
  return scatter<double>;
}

}  // namespace tessera
