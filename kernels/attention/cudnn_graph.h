// Graphs of cuDNN operations: tensors, what is computed from them, and the plan that a device runs.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "kernels/attention/cudnn_api.h"

namespace tessera {

// Owns one object of the library.
class CudnnDescriptor {
 public:
  CudnnDescriptor(const CudnnApi& api, CudnnType type);
  CudnnDescriptor(CudnnDescriptor&& other) noexcept;
  CudnnDescriptor& operator=(CudnnDescriptor&& other) noexcept;
  ~CudnnDescriptor();

  void* raw() const { return raw_; }
  const CudnnApi& api() const { return *api_; }

  // T: bool, int64_t, void*, CudnnData, CudnnPointwise, CudnnReduce, CudnnHeuristic or char.
  template <class T>
  void set(CudnnAttribute name, std::span<const T> values) {
    set_raw(name, type_of(T()), int64_t(values.size()), values.data());
  }
  template <class T>
  void set(CudnnAttribute name, T value) {
    set(name, std::span<const T>(&value, 1));
  }
  void set(CudnnAttribute name, const CudnnDescriptor& value) {
    void* const raw = value.raw();
    set_raw(name, CudnnAttributeType::backend_descriptor, 1, &raw);
  }
  void set_handle(CudnnAttribute name, void* handle) {
    set_raw(name, CudnnAttributeType::handle, 1, &handle);
  }
  void set(CudnnAttribute name, const std::vector<CudnnDescriptor>& values);

  // Throws Error, with `what` in it, where cuDNN refuses.
  void finalize(const char* what);
  // The status instead.
  int try_finalize() { return api_->finalize(raw_); }

 private:
  static CudnnAttributeType type_of(bool) { return CudnnAttributeType::boolean; }
  static CudnnAttributeType type_of(char) { return CudnnAttributeType::char_; }
  static CudnnAttributeType type_of(int64_t) { return CudnnAttributeType::int64; }
  static CudnnAttributeType type_of(void*) { return CudnnAttributeType::void_ptr; }
  static CudnnAttributeType type_of(CudnnData) { return CudnnAttributeType::data_type; }
  static CudnnAttributeType type_of(CudnnPointwise) { return CudnnAttributeType::pointwise_mode; }
  static CudnnAttributeType type_of(CudnnHeuristic) { return CudnnAttributeType::heur_mode; }
  static CudnnAttributeType type_of(CudnnReduce) {
    return CudnnAttributeType::reduction_operator_type;
  }
  void set_raw(CudnnAttribute name, CudnnAttributeType type, int64_t count, const void* values);

  const CudnnApi* api_;
  void* raw_ = nullptr;
};

// Where a plan is to run: on the device of a handle, or, to ask for engines on a machine without
// it, on one with these properties (see cudnn_device()).
struct CudnnTarget {
  void* handle = nullptr;
  const CudnnDescriptor* device = nullptr;
};

// Properties of a device from their JSON text, as cuDNN writes it.
CudnnDescriptor cudnn_device(const CudnnApi& api, std::string_view json);

using CudnnDims = std::array<int64_t, 4>;  // batch, head, row, column; strides likewise

struct CudnnTensor {
  std::shared_ptr<const CudnnDescriptor> descriptor;
  CudnnDims dims;
};

class CudnnPlan {
 public:
  // `ids` as the graph's tensors in memory have them.
  CudnnPlan(CudnnDescriptor plan, std::vector<int64_t> ids);

  size_t workspace_bytes() const;
  // Starts the plan on the handle's stream. Pointers by id: of the device for tensors, of the host,
  // read before this returns, for scalars.
  void run(void* handle, std::span<const std::pair<int64_t, void*>> pointers,
           void* workspace) const;

 private:
  CudnnDescriptor plan_;
  std::vector<int64_t> ids_;
};

class CudnnGraph {
 public:
  explicit CudnnGraph(const CudnnApi& api) : api_(&api) {}

  // In memory, addresses multiples of 16 bytes.
  CudnnTensor tensor(int64_t id, CudnnData type, const CudnnDims& dims, const CudnnDims& strides);
  // One number, in host memory.
  CudnnTensor scalar(int64_t id, CudnnData type);
  // A result on the way, which cuDNN keeps wherever it likes; strides as if packed unless given.
  CudnnTensor virtual_tensor(CudnnData type, const CudnnDims& dims,
                             const std::optional<CudnnDims>& strides = {});

  // out = a b, of their last two dimensions; heads of b are shared where it has fewer.
  CudnnTensor matmul(const CudnnTensor& a, const CudnnTensor& b, const CudnnTensor& out);
  // out = mode(x, other), computed in f32 unless `math` says otherwise; gen_index takes an axis.
  CudnnTensor pointwise(CudnnPointwise mode, const CudnnTensor& x, const CudnnTensor* other,
                        const CudnnTensor& out, CudnnData math = CudnnData::float_,
                        std::optional<int64_t> axis = {});
  // out = condition ? x : otherwise
  CudnnTensor select(const CudnnTensor& condition, const CudnnTensor& x,
                     const CudnnTensor& otherwise, const CudnnTensor& out);
  // Over the dimensions in which out is 1 or has fewer.
  CudnnTensor reduce(CudnnReduce operation, const CudnnTensor& x, const CudnnTensor& out);
  // The same elements under other dimensions and strides.
  CudnnTensor reshape(const CudnnTensor& x, const CudnnTensor& out);

  // Engines that say they can run the graph, the best first; none where cuDNN has none.
  std::vector<CudnnDescriptor> engines(const CudnnTarget& target);
  // Of the first engine that can. Throws Error, with `what` in it, where none can.
  CudnnPlan plan(const CudnnTarget& target, const std::string& what);

 private:
  CudnnTensor finish(CudnnDescriptor descriptor, CudnnData type, const CudnnDims& dims,
                     const CudnnDims& strides, int64_t id);
  CudnnDescriptor pointwise_operation(CudnnPointwise mode, const CudnnTensor& x,
                                      const CudnnTensor& out, CudnnData math,
                                      std::optional<int64_t> axis);
  std::vector<CudnnDescriptor> engines(const CudnnTarget& target, CudnnHeuristic mode,
                                       const CudnnDescriptor& graph);

  const CudnnApi* api_;
  int64_t next_virtual_id_ = 1000;
  std::vector<int64_t> ids_;
  std::vector<CudnnTensor> tensors_;  // kept alive: operations refer to them
  std::vector<CudnnDescriptor> details_, operations_;
};

}  // namespace tessera
