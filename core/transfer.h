// Data between host memory and tensors of any device, in the order of the kernels around
// it. Nothing happens on `meta`.
#pragma once

#include <span>
#include <vector>

#include "core/context.h"

namespace tessera {

// The tensor is contiguous. Copies tensor.bytes() bytes; `host` may change as soon as upload
// returns.
void upload(const Tensor& tensor, const void* host);
// The tensor is contiguous. Returns when the bytes are there.
void download(const Tensor& tensor, void* host);
// Sets every byte of a contiguous tensor to 0.
void zero(const Tensor& tensor);

// i32 [values.size()] on the context's device.
Tensor int_tensor(Context& ctx, std::span<const int32_t> values,
                  MemoryTag tag = MemoryTag::activations);

// A tensor of the same strides that the host can read: itself where it already is one, else a view
// of a copy of its storage.
Tensor to_host(const Tensor& tensor);

// The elements; T must be the dtype's storage type.
template <class T>
std::vector<T> to_vector(const Tensor& tensor) {
  check(dtype_of<T> == tensor.dtype(), "tensor: a {} tensor was read as {}", tensor.dtype(),
        dtype_of<T>);
  std::vector<T> values(size_t(tensor.elements()));
  download(tensor, values.data());
  return values;
}

}  // namespace tessera
