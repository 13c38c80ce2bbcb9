// Running one kernel of a conformance case. For its .cu files.
#pragma once

#include "core/transfer.h"
#include "kernels/launch/gpu/device.h"
#include "kernels/launch/gpu/launch.h"
#include "tests/kernels/launch/conformance/conformance.h"

namespace tessera::test {
namespace {

constexpr int kWordsPerThread = 4;

using Words = gpu::Vector<uint32_t, kWordsPerThread>;

// A thread's results.
struct Results {
  uint32_t* words;

  __device__ void put(uint32_t a, uint32_t b = 0, uint32_t c = 0, uint32_t d = 0) const {
    const gpu::Index3 block = gpu::block_index(), size = gpu::block_size();
    const unsigned thread = block.x * size.x + gpu::thread_index().x;
    gpu::store_vector(words + int64_t{kWordsPerThread} * thread, Words{{a, b, c, d}});
  }
};

// FNV-1a over words: for threads with more results than kWordsPerThread.
struct Digest {
  uint32_t value = 2166136261u;

  __device__ void add(uint32_t word) { value = (value ^ word) * 16777619u; }
  __device__ void add(float x) { add(gpu::bits(x)); }
};

// The words of kernel(results).
template <void (*kernel)(Results), int kThreads = 32, int kShared = 0, int kBlocks = 1>
std::vector<uint32_t> run_case(Context& ctx) {
  const Tensor words = ctx.zeros({kBlocks * kThreads * kWordsPerThread}, DType::i32);
  auto* data = reinterpret_cast<uint32_t*>(words.raw());
  gpu::launch(ctx, kernel, {.x = kBlocks, .threads = kThreads, .shared_bytes = kShared},
              Results{data});
  const std::vector<int32_t> values = to_vector<int32_t>(words);
  return {values.begin(), values.end()};
}

}  // namespace
}  // namespace tessera::test
