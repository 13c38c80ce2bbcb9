// The shape of a kernel launch.
#pragma once

#include <cstdint>

namespace tessera::gpu {

// A grid of x * y * z blocks (y and z at most 65535), each a row of `threads` (at most 1024)
// threads with `shared_bytes` of dynamic shared memory.
struct Grid {
  unsigned x = 1, y = 1, z = 1;
  int threads = 1;
  int shared_bytes = 0;
};

// Blocks for `items` of which each takes up to `per_block`.
constexpr unsigned blocks_for(int64_t items, int64_t per_block) {
  return unsigned((items + per_block - 1) / per_block);
}

}  // namespace tessera::gpu
