#include "core/transfer.h"

namespace tessera {
namespace {

SegmentAllocator& memory_of(const Tensor& tensor) {
  check(tensor.is_contiguous(), "tensor: a view of shape {} is not contiguous and cannot be copied",
        tensor.shape());
  return tensor.storage()->pool().segments();
}

}  // namespace

void upload(const Tensor& tensor, const void* host) {
  SegmentAllocator& memory = memory_of(tensor);
  if (tensor.bytes() == 0) return;
  memory.copy_in(tensor.raw(), static_cast<const std::byte*>(host), tensor.bytes());
}

void download(const Tensor& tensor, void* host) {
  SegmentAllocator& memory = memory_of(tensor);
  if (tensor.bytes() == 0) return;
  memory.copy_out(static_cast<std::byte*>(host), tensor.raw(), tensor.bytes());
}

void zero(const Tensor& tensor) {
  SegmentAllocator& memory = memory_of(tensor);
  if (tensor.bytes() == 0) return;
  memory.fill(tensor.raw(), std::byte{0}, tensor.bytes());
}

Tensor int_tensor(Context& ctx, std::span<const int32_t> values, MemoryTag tag) {
  Tensor tensor = ctx.empty({int64_t(values.size())}, DType::i32, tag);
  upload(tensor, values.data());
  return tensor;
}

Tensor to_host(const Tensor& tensor) {
  if (!is_gpu(tensor.device())) return tensor;
  const Storage& from = *tensor.storage();
  const auto pool = std::make_shared<MemoryPool>(make_host_allocator());
  auto copy = std::make_shared<Storage>(pool, from.bytes(), from.tag());
  if (from.bytes() > 0) from.pool().segments().copy_out(copy->data(), from.data(), from.bytes());
  return tensor.on(std::move(copy));
}

}  // namespace tessera
