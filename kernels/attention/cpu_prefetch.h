// Rows of one head lie far apart in memory, so that hardware does not foresee that they are needed;
// asked for early, they arrive in the second-level cache while the thread computes.
#pragma once

#include "kernels/attention/cpu_rows.h"

namespace tessera {
namespace {

// `count` rows that follow each other, `stride` bytes apart.
struct FarRows {
  const std::byte* data = nullptr;
  int64_t stride = 0, bytes = 0, count = 0;

  // Asks for the next `rows` rows.
  void fetch(int64_t rows) {
    for (rows = smaller(rows, count), count -= rows; rows > 0; --rows, data += stride) {
      for (int64_t byte = 0; byte < bytes; byte += 64) _mm_prefetch(data + byte, _MM_HINT_T1);
    }
  }
};

template <class S>
FarRows far_rows(const AttentionArray& array, int64_t token, int64_t head, int64_t rows,
                 int64_t columns) {
  constexpr int64_t kBytes = sizeof(S);
  return {reinterpret_cast<const std::byte*>(row_of<const S>(array, token, head)),
          array.token_stride * kBytes, columns * kBytes, rows};
}

// Rows of several arrays that are needed at about the same time.
template <int kArrays>
struct Upcoming {
  FarRows arrays[kArrays];

  void fetch(int64_t rows) {
    for (FarRows& array : arrays) array.fetch(rows);
  }
};

}  // namespace
}  // namespace tessera
