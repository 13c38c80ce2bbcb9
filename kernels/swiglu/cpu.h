// The SwiGLU loops of one instruction-set level.
#pragma once

#include "core/dtype.h"
#include "core/isa.h"

namespace tessera {

template <class S>
struct SwigluCpu {
  // gate_up [rows, 2 width] -> y [rows, width].
  void (*forward)(int threads, const S* gate_up, S* y, int64_t rows, int64_t width);
  // dgate_up [rows, 2 width] may be gate_up; y [rows, width], forward's output again, may be dy.
  void (*backward)(int threads, const S* gate_up, const S* dy, S* dgate_up, S* y, int64_t rows,
                   int64_t width);
};
template <Isa isa, class S>
SwigluCpu<S> swiglu_cpu();

}  // namespace tessera
