// What g++ -fsanitize=thread calls before every load and store of the kernels: our own race
// detector in place of ThreadSanitizer's library.
#include <cstddef>
#include <cstdint>

#include "kernels/launch/simt/memory_hook.h"

using tessera::simt::on_memory_access;

// NOLINTBEGIN: the names are the compiler's.
extern "C" {
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_read(void**) {}
void __tsan_vptr_update(void**, void*) {}

#define TESSERA_ACCESS(name, bytes, align, writes)                          \
  void __tsan_##name(void* p) {                                             \
    on_memory_access(p, bytes, align, writes, __builtin_return_address(0)); \
  }
#define TESSERA_ACCESSES(bytes)                             \
  TESSERA_ACCESS(read##bytes, bytes, bytes, false)          \
  TESSERA_ACCESS(write##bytes, bytes, bytes, true)          \
  TESSERA_ACCESS(unaligned_read##bytes, bytes, 1, false)    \
  TESSERA_ACCESS(unaligned_write##bytes, bytes, 1, true)    \
  TESSERA_ACCESS(volatile_read##bytes, bytes, bytes, false) \
  TESSERA_ACCESS(volatile_write##bytes, bytes, bytes, true)
TESSERA_ACCESSES(1)
TESSERA_ACCESSES(2)
TESSERA_ACCESSES(4)
TESSERA_ACCESSES(8)
TESSERA_ACCESSES(16)

void __tsan_read_range(void* p, size_t bytes) {
  on_memory_access(p, bytes, 1, false, __builtin_return_address(0));
}
void __tsan_write_range(void* p, size_t bytes) {
  on_memory_access(p, bytes, 1, true, __builtin_return_address(0));
}

// Atomics are those of the host's code in the instrumented files: kernels have gpu::atomic_add.
#define TESSERA_ATOMICS(width, T)                                                           \
  T __tsan_atomic##width##_load(const volatile T* p, int) {                                 \
    return __atomic_load_n(p, __ATOMIC_SEQ_CST);                                            \
  }                                                                                         \
  void __tsan_atomic##width##_store(volatile T* p, T v, int) {                              \
    __atomic_store_n(p, v, __ATOMIC_SEQ_CST);                                               \
  }                                                                                         \
  T __tsan_atomic##width##_exchange(volatile T* p, T v, int) {                              \
    return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST);                                     \
  }                                                                                         \
  T __tsan_atomic##width##_fetch_add(volatile T* p, T v, int) {                             \
    return __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST);                                      \
  }                                                                                         \
  T __tsan_atomic##width##_fetch_sub(volatile T* p, T v, int) {                             \
    return __atomic_fetch_sub(p, v, __ATOMIC_SEQ_CST);                                      \
  }                                                                                         \
  int __tsan_atomic##width##_compare_exchange_strong(volatile T* p, T* e, T v, int, int) {  \
    return __atomic_compare_exchange_n(p, e, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
  }                                                                                         \
  int __tsan_atomic##width##_compare_exchange_weak(volatile T* p, T* e, T v, int, int) {    \
    return __atomic_compare_exchange_n(p, e, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
  }
TESSERA_ATOMICS(8, uint8_t)
TESSERA_ATOMICS(16, uint16_t)
TESSERA_ATOMICS(32, uint32_t)
TESSERA_ATOMICS(64, uint64_t)
}
// NOLINTEND
