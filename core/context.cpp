#include "core/context.h"

#include <cstring>

namespace tessera {

Context::Context(const ContextOptions& options)
    : options_(options),
      pool_(std::make_shared<MemoryPool>(options.device == Device::meta ? make_meta_allocator()
                                                                        : make_host_allocator())) {
  check(options.threads >= 1, "context: threads must be at least 1, not {}", options.threads);
  pool_->set_poison(options.poison);
}

Tensor Context::empty(const Shape& shape, DType dtype, MemoryTag tag) {
  const size_t bytes = size_t(shape.elements()) * size_of(dtype);
  return Tensor(std::make_shared<Storage>(pool_, bytes, tag), shape, dtype);
}

Tensor Context::zeros(const Shape& shape, DType dtype, MemoryTag tag) {
  Tensor tensor = empty(shape, dtype, tag);
  if (!is_meta() && tensor.bytes() > 0) std::memset(tensor.raw(), 0, tensor.bytes());
  return tensor;
}

Tensor Context::scalar(float value) {
  Tensor tensor = empty({}, DType::f32);
  if (!is_meta()) *tensor.data<float>() = value;
  return tensor;
}

}  // namespace tessera
