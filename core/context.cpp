#include "core/context.h"

#include "core/transfer.h"

namespace tessera {

Context::Context(const ContextOptions& options)
    : options_(options), pool_(std::make_shared<MemoryPool>(make_allocator(options.device))) {
  check(options.threads >= 1, "context: threads must be at least 1, not {}", options.threads);
  pool_->set_poison(options.poison);
}

Tensor Context::empty(const Shape& shape, DType dtype, MemoryTag tag) {
  int64_t bytes = 0;
  check(!__builtin_mul_overflow(shape.elements(), size_of(dtype), &bytes),
        "context: a {} tensor of shape {} is too large: 2^63 bytes or more", dtype, shape);
  try {
    return Tensor(std::make_shared<Storage>(pool_, size_t(bytes), tag), shape, dtype);
  } catch (const OutOfMemory& error) {
    throw OutOfMemory(fmt::format("{} (a {} tensor of shape {} in {})", error.what(), dtype, shape,
                                  scope_.empty() ? "no named part of the model" : scope_));
  }
}

Tensor Context::zeros(const Shape& shape, DType dtype, MemoryTag tag) {
  Tensor tensor = empty(shape, dtype, tag);
  zero(tensor);
  return tensor;
}

Tensor Context::scalar(float value) {
  Tensor tensor = empty({}, DType::f32);
  upload(tensor, &value);
  return tensor;
}

}  // namespace tessera
