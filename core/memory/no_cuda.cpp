// Takes the place of cuda_memory.cpp in a build without CUDA.
#include "core/check.h"
#include "core/memory/allocator.h"

namespace tessera {

std::unique_ptr<SegmentAllocator> make_cuda_allocator() {
  fail("cuda: this build has no CUDA; configure with -DTESSERA_CUDA=ON, or use another device");
}

int cuda_device_count() {
  return 0;
}

}  // namespace tessera
