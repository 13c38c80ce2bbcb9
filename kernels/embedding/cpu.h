// The loop of the embedding's gradient of one instruction-set level.
#pragma once

#include <type_traits>

#include "core/dtype.h"
#include "core/isa.h"

namespace tessera {

template <class S>
using EmbeddingGrad = std::conditional_t<std::is_same_v<S, double>, double, float>;

template <class S>
struct EmbeddingScatter {
  const int32_t* tokens;     // [rows]
  const S* dy;               // [rows, width]
  EmbeddingGrad<S>* dtable;  // [vocabulary, width]: row tokens[n] += row n of dy
  int64_t rows, width;
};

template <class S>
using EmbeddingLoop = void (*)(int threads, const EmbeddingScatter<S>&);
template <Isa isa, class S>
EmbeddingLoop<S> embedding_cpu();

}  // namespace tessera
