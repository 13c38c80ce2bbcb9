// Work in shares that stay with their threads.
#pragma once

#include "kernels/attention/cpu_layout.h"
#include "kernels/launch/cpu/parallel.h"

namespace tessera {
namespace {

// The tasks of a worker that nobody has taken yet.
struct alignas(64) Share {
  uint64_t tasks;  // the first, and in the upper half their end

  int64_t take_first() { return take(1, 0, 0); }
  int64_t take_last() { return take(0, uint64_t{1} << 32, 1); }

 private:
  // Moves a bound; the task that this takes, or -1 if none is left.
  int64_t take(uint64_t add, uint64_t subtract, int from_end) {
    uint64_t old = __atomic_load_n(&tasks, __ATOMIC_RELAXED);
    while (uint32_t(old) < old >> 32) {
      if (__atomic_compare_exchange_n(&tasks, &old, old + add - subtract, true, __ATOMIC_RELAXED,
                                      __ATOMIC_RELAXED)) {
        return from_end ? int64_t(old >> 32) - 1 : int64_t(uint32_t(old));
      }
    }
    return -1;
  }
};

// Calls body(task, worker) for every task in [0, n). Workers begin with contiguous shares, the same
// in every call, so that they meet in their caches what they left there (caches of two cores may be
// further apart than memory); who is done takes tasks from the end of another's share.
template <class Body>
void parallel_shares(int threads, int64_t n, const Body& body) {
  constexpr int kMaxShares = 64;
  const int count = int(smaller(threads, kMaxShares));
  Share shares[kMaxShares];
  for (int i = 0; i < count; ++i) {
    shares[i].tasks = uint64_t(n * i / count) | uint64_t(n * (i + 1) / count) << 32;
  }
  parallel_workers(threads, [&](int worker, int) {
    for (int i = 0; i < count; ++i) {
      Share& share = shares[(worker + i) % count];
      for (int64_t task; (task = i == 0 ? share.take_first() : share.take_last()) >= 0;) {
        body(task, worker);
      }
    }
  });
}

}  // namespace
}  // namespace tessera
