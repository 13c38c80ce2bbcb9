// Stacks and the switch between them. x86-64 System V only.
#pragma once

#include <cstddef>
#include <vector>

namespace tessera::simt {

// Fixed-size stacks, each above a page that must not be touched, kept for reuse.
class StackPool {
 public:
  StackPool() = default;
  ~StackPool();
  StackPool(const StackPool&) = delete;
  StackPool& operator=(const StackPool&) = delete;

  static size_t stack_bytes();
  std::byte* take();  // the lowest usable address
  bool contain(const void* p) const;
  void give_back(std::byte* stack) { free_.push_back(stack); }

 private:
  std::vector<std::byte*> all_;  // ascending
  std::vector<std::byte*> free_;
};

// One flow of control: saved when it is left, resumed by switch_to.
struct Coroutine {
  void* stack_pointer = nullptr;
  // For AddressSanitizer, which must know on which stack the program is.
  void* fake_stack = nullptr;
  const void* stack_bottom = nullptr;
  size_t stack_size = 0;
};

// Makes `coroutine` begin with entry() on `stack` when it is first switched to; entry must not
// return.
void prepare(Coroutine& coroutine, std::byte* stack, void (*entry)());
// Fills in the stack of the calling OS thread where AddressSanitizer needs it.
void describe_own_stack(Coroutine& coroutine);
// Must be the first call of an entry function.
void enter();
// Leaves `from`, for good if `finished`, and resumes `to`.
void switch_to(Coroutine& from, Coroutine& to, bool finished = false);

}  // namespace tessera::simt
