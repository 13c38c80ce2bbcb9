// The embedding kernels of one GPU device. Device pointers; rows and width above 0.
#pragma once

#include "core/context.h"
#include "kernels/embedding/cpu.h"

namespace tessera {

// y's row n = the table's row tokens[n]; NaN where the token is outside the vocabulary, since the
// host cannot look.
struct EmbeddingGather {
  const int32_t* tokens;   // [rows]
  const std::byte* table;  // [vocabulary, row_bytes]
  std::byte* y;            // [rows, row_bytes]
  int64_t rows, row_bytes, vocabulary;
  int64_t element_bytes;
};

// What the gradient sums: the rows of dy by token, in the order of the rows. Where the arrays hold
// counts, they are 0 before.
struct EmbeddingGroups {
  int32_t* count;   // [vocabulary] rows of each token; 0 before
  int32_t* begin;   // [vocabulary] where the token's rows begin in `sorted`
  int32_t* taken;   // [1]: how much of `sorted` is given away; 0 before
  int32_t* slot;    // [rows] the row's place among its token's, in no order
  int32_t* bucket;  // [rows] the rows by token, in no order
  int32_t* sorted;  // [rows] the rows by token, ascending
};

template <class S>
struct EmbeddingScatterGpu : EmbeddingScatter<S> {
  EmbeddingGroups groups;
  int64_t vocabulary;
  bool accumulate;
};

template <Device device>
void embedding_gather_gpu(Context& ctx, const EmbeddingGather& args);
// Every element sums in the order of the tokens; tokens outside the vocabulary are left out.
template <Device device, class S>
void embedding_scatter_gpu(Context& ctx, const EmbeddingScatterGpu<S>& args);

}  // namespace tessera
