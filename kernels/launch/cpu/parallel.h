// Loops over threads, on OpenMP (the runtime that oneDNN uses too, so there is one pool of
// threads). The bodies are lambdas: their instantiations are local to the file, which keeps files
// compiled for different instruction sets apart. They must not throw.
#pragma once

#include <omp.h>
#include <pmmintrin.h>

#include <cstdint>

namespace tessera {

// Treats denormals as zero within a scope, on the calling thread: they cost up to 150 cycles each.
class FlushDenormals {
 public:
  [[gnu::always_inline]] FlushDenormals() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ | 0x8040); }
  [[gnu::always_inline]] ~FlushDenormals() { _mm_setcsr(saved_); }
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
  unsigned saved_;
};

// Calls body(worker, workers) once on each of up to `threads` threads, worker in [0, workers).
template <class Body>
void parallel_workers(int threads, const Body& body) {
  if (threads <= 1 || omp_in_parallel()) {
    FlushDenormals flush;
    body(0, 1);
    return;
  }
#pragma omp parallel num_threads(threads)
  {
    FlushDenormals flush;
    body(omp_get_thread_num(), omp_get_num_threads());
  }
}

// Splits [0, n) in one contiguous range per thread and calls body(begin, end) for each: for uniform
// work. A thread gets at least `grain` items, so that small loops do not pay for waking threads.
template <class Body>
void parallel_for(int threads, int64_t n, int64_t grain, const Body& body) {
  if (n <= 0) return;
  const int64_t useful = grain > 1 ? (n + grain - 1) / grain : n;
  parallel_workers(useful < threads ? int(useful) : threads, [&](int worker, int workers) {
    const int64_t begin = n * worker / workers, end = n * (worker + 1) / workers;
    if (begin < end) body(begin, end);
  });
}

// Calls body(task, worker) for every task in [0, n), each on the next free thread, in increasing
// order: for tasks of unequal cost, the longest first.
template <class Body>
void parallel_tasks(int threads, int64_t n, const Body& body) {
  if (threads <= 1 || n <= 1 || omp_in_parallel()) {
    FlushDenormals flush;
    for (int64_t task = 0; task < n; ++task) body(task, 0);
    return;
  }
#pragma omp parallel num_threads(threads)
  {
    FlushDenormals flush;
#pragma omp for schedule(monotonic : dynamic, 1)
    for (int64_t task = 0; task < n; ++task) body(task, omp_get_thread_num());
  }
}

}  // namespace tessera
