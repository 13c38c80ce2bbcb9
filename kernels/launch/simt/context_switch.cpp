#include "kernels/launch/simt/context_switch.h"

#include <pthread.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdint>

#include "core/check.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#if !defined(__x86_64__)
#error "the SIMT emulator's context switch is written for x86-64"
#endif

// Saves the registers that the System V ABI lets a callee keep, and swaps stacks.
extern "C" void tessera_simt_switch(void** save, void* load);
asm(R"(
.text
.globl tessera_simt_switch
.type tessera_simt_switch, @function
tessera_simt_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size tessera_simt_switch, .-tessera_simt_switch
)");

namespace tessera::simt {
namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kAddressSanitizer = true;
#else
constexpr bool kAddressSanitizer = false;
#endif
constexpr size_t kGuardBytes = 4096;
constexpr size_t kStackBytes = kAddressSanitizer ? 512 << 10 : 128 << 10;
constexpr size_t kMappedBytes = kGuardBytes + kStackBytes;
constexpr int kSavedRegisters = 6;

// AddressSanitizer marks what surrounds the variables of frames. Fibers that are never resumed
// leave their marks behind.
void forget_frames(std::byte* stack) {
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(stack, kStackBytes);
#else
  (void)stack;
#endif
}

}  // namespace

size_t StackPool::stack_bytes() {
  return kStackBytes;
}

StackPool::~StackPool() {
  for (std::byte* stack : all_) {
    forget_frames(stack);
    munmap(stack - kGuardBytes, kMappedBytes);
  }
}

std::byte* StackPool::take() {
  if (free_.empty()) {
    void* memory = mmap(nullptr, kMappedBytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    check(memory != MAP_FAILED && mprotect(memory, kGuardBytes, PROT_NONE) == 0,
          "simt: no memory for the stack of a thread; use fewer workers or resident blocks");
    std::byte* stack = static_cast<std::byte*>(memory) + kGuardBytes;
    all_.insert(std::ranges::upper_bound(all_, stack), stack);
    free_.push_back(stack);
  }
  std::byte* stack = free_.back();
  free_.pop_back();
  return stack;
}

bool StackPool::contain(const void* p) const {
  const auto* address = static_cast<const std::byte*>(p);
  const auto above = std::ranges::upper_bound(all_, address);
  return above != all_.begin() && address < above[-1] + kStackBytes;
}

void prepare(Coroutine& coroutine, std::byte* stack, void (*entry)()) {
  forget_frames(stack);
  // Stacks begin at different offsets in a page, or else their hot ends share the same cache sets.
  const uint32_t page = uint32_t(reinterpret_cast<uintptr_t>(stack) / kGuardBytes);
  const size_t color = size_t((page * 0x9e3779b1u) >> 26) * 64;
  void** top = reinterpret_cast<void**>(stack + kStackBytes - 64 - color);
  *--top = nullptr;  // entry's return address: none
  *--top = reinterpret_cast<void*>(entry);
  for (int i = 0; i < kSavedRegisters; ++i) *--top = nullptr;
  coroutine = {.stack_pointer = top, .stack_bottom = stack, .stack_size = kStackBytes};
}

#if defined(__SANITIZE_ADDRESS__)
void describe_own_stack(Coroutine& coroutine) {
  pthread_attr_t attributes;
  check(pthread_getattr_np(pthread_self(), &attributes) == 0, "simt: the stack is unknown");
  void* bottom = nullptr;
  pthread_attr_getstack(&attributes, &bottom, &coroutine.stack_size);
  pthread_attr_destroy(&attributes);
  coroutine.stack_bottom = bottom;
}

void enter() {
  __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
}

void switch_to(Coroutine& from, Coroutine& to, bool finished) {
  __sanitizer_start_switch_fiber(finished ? nullptr : &from.fake_stack, to.stack_bottom,
                                 to.stack_size);
  tessera_simt_switch(&from.stack_pointer, to.stack_pointer);
  __sanitizer_finish_switch_fiber(from.fake_stack, nullptr, nullptr);
}
#else
void describe_own_stack(Coroutine&) {}

void enter() {}

void switch_to(Coroutine& from, Coroutine& to, bool) {
  tessera_simt_switch(&from.stack_pointer, to.stack_pointer);
}
#endif

}  // namespace tessera::simt
