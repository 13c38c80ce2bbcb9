// Tensors: strided views into reference-counted storage.
#pragma once

#include <memory>
#include <utility>

#include "core/device.h"
#include "core/dtype.h"
#include "core/memory/pool.h"
#include "core/shape.h"

namespace tessera {

// One block of a pool; returned to it when the last tensor that views it is gone.
class Storage {
 public:
  Storage(std::shared_ptr<MemoryPool> pool, size_t bytes, MemoryTag tag)
      : pool_(std::move(pool)), data_(pool_->allocate(bytes, tag)), bytes_(bytes), tag_(tag) {}
  ~Storage() { pool_->release(data_, bytes_, tag_); }
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  MemoryTag tag() const { return tag_; }
  Device device() const { return pool_->device(); }
  MemoryPool& pool() const { return *pool_; }
  // Books the block under another tag from now on.
  void retag(MemoryTag tag) {
    pool_->retag(data_, bytes_, tag_, tag);
    tag_ = tag;
  }
  // Counts in-place changes, so that autograd can tell when a saved tensor has been overwritten.
  uint32_t version() const { return version_; }
  void bump_version() { ++version_; }

 private:
  std::shared_ptr<MemoryPool> pool_;
  std::byte* data_;
  size_t bytes_;
  MemoryTag tag_;
  uint32_t version_ = 0;
};

// A value type: copies share storage. Strides are in elements. A default-constructed tensor is
// undefined.
class Tensor {
 public:
  Tensor() = default;
  // A contiguous tensor at the start of `storage`.
  Tensor(std::shared_ptr<Storage> storage, const Shape& shape, DType dtype)
      : storage_(std::move(storage)),
        shape_(shape),
        strides_(shape.contiguous_strides()),
        dtype_(dtype) {}

  bool defined() const { return storage_ != nullptr; }
  const Shape& shape() const { return shape_; }
  int64_t shape(int i) const { return shape_[i]; }
  int rank() const { return shape_.rank(); }
  const Shape& strides() const { return strides_; }
  int64_t stride(int i) const { return strides_[i]; }
  DType dtype() const { return dtype_; }
  Device device() const { return storage_->device(); }
  int64_t elements() const { return shape_.elements(); }
  size_t bytes() const { return size_t(elements()) * size_of(dtype_); }
  bool is_contiguous() const;
  // True when no other tensor shares the storage, so that it may be overwritten.
  bool is_exclusive() const { return storage_.use_count() == 1; }
  const std::shared_ptr<Storage>& storage() const { return storage_; }

  // The first element; T must be the dtype's storage type. Never dereference it on `meta`.
  template <class T>
  T* data() const {
    check(dtype_of<T> == dtype_, "tensor: a {} tensor was read as {}", dtype_, dtype_of<T>);
    return reinterpret_cast<T*>(raw());
  }
  std::byte* raw() const { return storage_->data() + size_t(offset_) * size_of(dtype_); }

  // Views. `view` needs a contiguous tensor and an equal element count.
  Tensor view(const Shape& shape) const;
  Tensor slice(int dim, int64_t begin, int64_t end) const;  // [begin, end) along dim
  Tensor transpose(int dim0, int dim1) const;
  // The same view of another storage of the same size.
  Tensor on(std::shared_ptr<Storage> storage) const {
    Tensor copy(*this);
    copy.storage_ = std::move(storage);
    return copy;
  }
  // Splits dimension `dim` into the two extents outer x inner; needs no contiguity.
  Tensor unflatten(int dim, int64_t outer, int64_t inner) const;

 private:
  std::shared_ptr<Storage> storage_;
  Shape shape_, strides_;
  int64_t offset_ = 0;
  DType dtype_ = DType::f32;
};

}  // namespace tessera
