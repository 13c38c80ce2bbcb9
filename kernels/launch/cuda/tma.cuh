// mbarriers and TMA. Included by hopper.h.
#pragma once

namespace tessera::gpu {
inline namespace on_cuda {

// PTX 9.7.13.15. A barrier is 8 bytes of shared memory; a phase ends when `arrivals` threads have
// arrived and the expected bytes have come.
__device__ inline void mbarrier_init(uint64_t* barrier, uint32_t arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)),
               "r"(arrivals)
               : "memory");
}
__device__ inline void mbarrier_arrive(uint64_t* barrier) {
  asm volatile("mbarrier.arrive.release.cta.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier))
               : "memory");
}
__device__ inline void mbarrier_arrive_expect_tx(uint64_t* barrier, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.release.cta.shared::cta.b64 _, [%0], %1;" ::"r"(
                   shared_address(barrier)),
               "r"(bytes)
               : "memory");
}
// True when the phase of that parity has ended; may first sleep for a moment.
__device__ inline bool mbarrier_try_wait(uint64_t* barrier, uint32_t parity) {
  uint32_t ended;
  asm volatile(
      "{\n.reg .pred p;\n"
      "mbarrier.try_wait.parity.acquire.cta.shared::cta.b64 p, [%1], %2;\n"
      "selp.b32 %0, 1, 0, p;\n}"
      : "=r"(ended)
      : "r"(shared_address(barrier)), "r"(parity)
      : "memory");
  return ended;
}
__device__ inline void mbarrier_wait(uint64_t* barrier, uint32_t parity) {
  while (!mbarrier_try_wait(barrier, parity)) {
  }
}
// Makes initialised barriers visible to TMA.
__device__ inline void fence_mbarrier_init() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
// Orders this thread's accesses to shared memory before those of TMA and wgmma that follow.
__device__ inline void fence_proxy_async() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// PTX 9.7.9.27. Between the box of the tensor at (x, y, ...), innermost first, and shared memory,
// 128-byte aligned. Elements outside of the tensor are read as zeros and not written. Loads
// complete box bytes on the mbarrier. One thread issues.
__device__ inline void tma_load_2d(void* dst, const TensorMap& map, uint64_t* barrier, int x,
                                   int y) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%3, %4}], [%2];" ::"r"(shared_address(dst)),
      "l"(&map), "r"(shared_address(barrier)), "r"(x), "r"(y)
      : "memory");
}
__device__ inline void tma_load_3d(void* dst, const TensorMap& map, uint64_t* barrier, int x, int y,
                                   int z) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%3, %4, %5}], [%2];" ::"r"(shared_address(dst)),
      "l"(&map), "r"(shared_address(barrier)), "r"(x), "r"(y), "r"(z)
      : "memory");
}
__device__ inline void tma_load_4d(void* dst, const TensorMap& map, uint64_t* barrier, int x, int y,
                                   int z, int w) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%3, %4, %5, %6}], [%2];" ::"r"(shared_address(dst)),
      "l"(&map), "r"(shared_address(barrier)), "r"(x), "r"(y), "r"(z), "r"(w)
      : "memory");
}

__device__ inline void tma_store_2d(const TensorMap& map, const void* src, int x, int y) {
  asm volatile(
      "cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%0, {%2, %3}], [%1];" ::"l"(
          &map),
      "r"(shared_address(src)), "r"(x), "r"(y)
      : "memory");
}
__device__ inline void tma_store_3d(const TensorMap& map, const void* src, int x, int y, int z) {
  asm volatile(
      "cp.async.bulk.tensor.3d.global.shared::cta.tile.bulk_group "
      "[%0, {%2, %3, %4}], [%1];" ::"l"(&map),
      "r"(shared_address(src)), "r"(x), "r"(y), "r"(z)
      : "memory");
}
__device__ inline void tma_store_4d(const TensorMap& map, const void* src, int x, int y, int z,
                                    int w) {
  asm volatile(
      "cp.async.bulk.tensor.4d.global.shared::cta.tile.bulk_group "
      "[%0, {%2, %3, %4, %5}], [%1];" ::"l"(&map),
      "r"(shared_address(src)), "r"(x), "r"(y), "r"(z), "r"(w)
      : "memory");
}
// Adds the box to the tensor, each element atomically. PTX 9.7.9.28.
__device__ inline void tma_reduce_add_2d(const TensorMap& map, const void* src, int x, int y) {
  asm volatile(
      "cp.reduce.async.bulk.tensor.2d.global.shared::cta.add.tile.bulk_group "
      "[%0, {%2, %3}], [%1];" ::"l"(&map),
      "r"(shared_address(src)), "r"(x), "r"(y)
      : "memory");
}
__device__ inline void tma_reduce_add_3d(const TensorMap& map, const void* src, int x, int y,
                                         int z) {
  asm volatile(
      "cp.reduce.async.bulk.tensor.3d.global.shared::cta.add.tile.bulk_group "
      "[%0, {%2, %3, %4}], [%1];" ::"l"(&map),
      "r"(shared_address(src)), "r"(x), "r"(y), "r"(z)
      : "memory");
}
__device__ inline void tma_reduce_add_4d(const TensorMap& map, const void* src, int x, int y, int z,
                                         int w) {
  asm volatile(
      "cp.reduce.async.bulk.tensor.4d.global.shared::cta.add.tile.bulk_group "
      "[%0, {%2, %3, %4, %5}], [%1];" ::"l"(&map),
      "r"(shared_address(src)), "r"(x), "r"(y), "r"(z), "r"(w)
      : "memory");
}

__device__ inline void tma_prefetch(const TensorMap& map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
}
// Stores and reductions of a thread since its last commit make a group.
__device__ inline void tma_commit() {
  asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}
// Until at most the N latest groups of the thread are under way; _read: until the others have read
// shared memory.
template <int N>
__device__ inline void tma_wait() {
  asm volatile("cp.async.bulk.wait_group %0;" ::"n"(N) : "memory");
}
template <int N>
__device__ inline void tma_wait_read() {
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(N) : "memory");
}

}  // namespace on_cuda
}  // namespace tessera::gpu
