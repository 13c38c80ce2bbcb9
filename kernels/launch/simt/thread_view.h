// What a kernel's thread sees of itself; the head of a Fiber.
#pragma once

#include <cstddef>

namespace tessera::simt {

struct Index3 {
  unsigned x, y, z;
};

struct ThreadView {
  Index3 thread_index, block_index, block_size, grid_size;
  int lane, warp_index;
  int architecture;   // Options::architecture
  std::byte* shared;  // the block's shared memory, address 0
};

// The thread of the kernel that runs on this OS thread, nullptr outside of kernels.
extern constinit thread_local ThreadView* current_thread;

}  // namespace tessera::simt
