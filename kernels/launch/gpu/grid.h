// The shape of a kernel launch.
#pragma once

namespace tessera::gpu {

// A grid of x * y * z blocks (y and z at most 65535), each a row of `threads` (at most 1024)
// threads with `shared_bytes` of dynamic shared memory.
struct Grid {
  unsigned x = 1, y = 1, z = 1;
  int threads = 1;
  int shared_bytes = 0;
};

}  // namespace tessera::gpu
