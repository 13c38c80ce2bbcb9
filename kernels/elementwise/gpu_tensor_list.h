// Lists of tensors that one launch works on, passed as a kernel argument: no copy to the device,
// and few launches for the hundreds of tensors of a model.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "kernels/launch/gpu/device.h"

namespace tessera {
namespace {

// T describes a tensor. Blocks first_block[i] .. first_block[i + 1] - 1 of the grid work on entry
// i. Kernel arguments are limited to 4 KiB in all.
template <class T, int kMax>
struct TensorList {
  T entries[kMax];
  unsigned first_block[kMax + 1];
  int count;
};

// The entry that block `block` works on.
template <class T, int kMax>
__device__ inline int entry_of(const TensorList<T, kMax>& list, unsigned block) {
  int low = 0, high = list.count - 1;
  while (low < high) {
    const int middle = (low + high + 1) / 2;
    if (list.first_block[middle] <= block) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low;
}

// Calls launch(list, blocks) with lists of up to kMax of the tensors; blocks_of(tensor) is at least
// 1.
template <int kMax, class T, class BlocksOf, class Launch>
void for_each_list(std::span<const T> tensors, const BlocksOf& blocks_of, const Launch& launch) {
  for (size_t begin = 0; begin < tensors.size(); begin += kMax) {
    const auto part = tensors.subspan(begin, std::min<size_t>(kMax, tensors.size() - begin));
    TensorList<T, kMax> list{};
    for (const T& tensor : part) {
      list.entries[list.count] = tensor;
      list.first_block[list.count + 1] = list.first_block[list.count] + unsigned(blocks_of(tensor));
      ++list.count;
    }
    launch(list, list.first_block[list.count]);
  }
}

}  // namespace
}  // namespace tessera
