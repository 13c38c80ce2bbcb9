// The SwiGLU kernels of one GPU device. Device pointers; rows and width above 0.
#pragma once

#include "core/context.h"

namespace tessera {

template <class S>
struct SwigluGpu {
  // gate_up [rows, 2 width] -> y [rows, width].
  void (*forward)(Context&, const S* gate_up, S* y, int64_t rows, int64_t width);
  // dgate_up [rows, 2 width] may be gate_up; y [rows, width], forward's output again, may be dy.
  void (*backward)(Context&, const S* gate_up, const S* dy, S* dgate_up, S* y, int64_t rows,
                   int64_t width);
};
template <Device device, class S>
SwigluGpu<S> swiglu_gpu();

}  // namespace tessera
