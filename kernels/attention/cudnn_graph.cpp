#include "kernels/attention/cudnn_graph.h"

#include <algorithm>

#include "core/check.h"

namespace tessera {

CudnnDescriptor::CudnnDescriptor(const CudnnApi& api, CudnnType type) : api_(&api) {
  api.checked(api.create_descriptor(int(type), &raw_), "making a descriptor");
}

CudnnDescriptor::CudnnDescriptor(CudnnDescriptor&& other) noexcept
    : api_(other.api_), raw_(std::exchange(other.raw_, nullptr)) {}

CudnnDescriptor& CudnnDescriptor::operator=(CudnnDescriptor&& other) noexcept {
  std::swap(api_, other.api_);
  std::swap(raw_, other.raw_);
  return *this;
}

CudnnDescriptor::~CudnnDescriptor() {
  if (raw_) api_->destroy_descriptor(raw_);
}

void CudnnDescriptor::set(CudnnAttribute name, const std::vector<CudnnDescriptor>& values) {
  std::vector<void*> raw;
  for (const CudnnDescriptor& value : values) raw.push_back(value.raw());
  set_raw(name, CudnnAttributeType::backend_descriptor, int64_t(raw.size()), raw.data());
}

void CudnnDescriptor::finalize(const char* what) {
  api_->checked(try_finalize(), what);
}

void CudnnDescriptor::set_raw(CudnnAttribute name, CudnnAttributeType type, int64_t count,
                              const void* values) {
  const int status = api_->set_attribute(raw_, int(name), int(type), count, values);
  if (status != 0) api_->checked(status, fmt::format("setting attribute {}", int(name)).c_str());
}

CudnnDescriptor cudnn_device(const CudnnApi& api, std::string_view json) {
  CudnnDescriptor device(api, CudnnType::device_properties);
  device.set(CudnnAttribute::deviceprop_json_representation,
             std::span<const char>(json.data(), json.size()));
  device.finalize("reading the properties of a device");
  return device;
}

CudnnPlan::CudnnPlan(CudnnDescriptor plan, std::vector<int64_t> ids)
    : plan_(std::move(plan)), ids_(std::move(ids)) {}

size_t CudnnPlan::workspace_bytes() const {
  int64_t bytes = 0, count = 0;
  plan_.api().checked(
      plan_.api().get_attribute(plan_.raw(), int(CudnnAttribute::execution_plan_workspace_size),
                                int(CudnnAttributeType::int64), 1, &count, &bytes),
      "asking for the size of a workspace");
  return size_t(bytes);
}

void CudnnPlan::run(void* handle, std::span<const std::pair<int64_t, void*>> pointers,
                    void* workspace) const {
  std::vector<void*> in_order;
  for (const int64_t id : ids_) {
    const auto found =
        std::find_if(pointers.begin(), pointers.end(), [&](auto& p) { return p.first == id; });
    check(found != pointers.end(), "cudnn: no pointer is given for tensor {}", id);
    in_order.push_back(found->second);
  }
  CudnnDescriptor pack(plan_.api(), CudnnType::variant_pack);
  pack.set(CudnnAttribute::variant_pack_unique_ids, std::span<const int64_t>(ids_));
  pack.set(CudnnAttribute::variant_pack_data_pointers, std::span<void* const>(in_order));
  pack.set(CudnnAttribute::variant_pack_workspace, workspace);
  pack.finalize("naming the tensors of a call");
  plan_.api().checked(plan_.api().execute(handle, plan_.raw(), pack.raw()), "running attention");
}

CudnnTensor CudnnGraph::finish(CudnnDescriptor descriptor, CudnnData type, const CudnnDims& dims,
                               const CudnnDims& strides, int64_t id) {
  constexpr int64_t kAlignment = 16;
  descriptor.set(CudnnAttribute::tensor_unique_id, id);
  descriptor.set(CudnnAttribute::tensor_data_type, type);
  descriptor.set(CudnnAttribute::tensor_byte_alignment, kAlignment);
  descriptor.set(CudnnAttribute::tensor_dimensions, std::span<const int64_t>(dims));
  descriptor.set(CudnnAttribute::tensor_strides, std::span<const int64_t>(strides));
  descriptor.finalize("describing a tensor");
  tensors_.push_back({std::make_shared<const CudnnDescriptor>(std::move(descriptor)), dims});
  return tensors_.back();
}

CudnnTensor CudnnGraph::tensor(int64_t id, CudnnData type, const CudnnDims& dims,
                               const CudnnDims& strides) {
  ids_.push_back(id);
  return finish(CudnnDescriptor(*api_, CudnnType::tensor), type, dims, strides, id);
}

CudnnTensor CudnnGraph::scalar(int64_t id, CudnnData type) {
  ids_.push_back(id);
  CudnnDescriptor descriptor(*api_, CudnnType::tensor);
  descriptor.set(CudnnAttribute::tensor_is_by_value, true);
  return finish(std::move(descriptor), type, {1, 1, 1, 1}, {1, 1, 1, 1}, id);
}

CudnnTensor CudnnGraph::virtual_tensor(CudnnData type, const CudnnDims& dims,
                                       const std::optional<CudnnDims>& strides) {
  CudnnDescriptor descriptor(*api_, CudnnType::tensor);
  descriptor.set(CudnnAttribute::tensor_is_virtual, true);
  const CudnnDims packed{dims[1] * dims[2] * dims[3], dims[2] * dims[3], dims[3], 1};
  return finish(std::move(descriptor), type, dims, strides.value_or(packed), next_virtual_id_++);
}

CudnnTensor CudnnGraph::matmul(const CudnnTensor& a, const CudnnTensor& b, const CudnnTensor& out) {
  CudnnDescriptor product(*api_, CudnnType::matmul);
  product.set(CudnnAttribute::matmul_comp_type, CudnnData::float_);
  product.finalize("describing a product");
  CudnnDescriptor operation(*api_, CudnnType::operation_matmul);
  operation.set(CudnnAttribute::operation_matmul_adesc, *a.descriptor);
  operation.set(CudnnAttribute::operation_matmul_bdesc, *b.descriptor);
  operation.set(CudnnAttribute::operation_matmul_cdesc, *out.descriptor);
  operation.set(CudnnAttribute::operation_matmul_desc, product);
  operation.finalize("describing a product's operands");
  details_.push_back(std::move(product));
  operations_.push_back(std::move(operation));
  return out;
}

CudnnDescriptor CudnnGraph::pointwise_operation(CudnnPointwise mode, const CudnnTensor& x,
                                                const CudnnTensor& out, CudnnData math,
                                                std::optional<int64_t> axis) {
  CudnnDescriptor function(*api_, CudnnType::pointwise);
  function.set(CudnnAttribute::pointwise_mode, mode);
  function.set(CudnnAttribute::pointwise_math_prec, math);
  if (axis) function.set(CudnnAttribute::pointwise_axis, *axis);
  function.finalize("describing a function");
  CudnnDescriptor operation(*api_, CudnnType::operation_pointwise);
  operation.set(CudnnAttribute::operation_pointwise_pw_descriptor, function);
  operation.set(CudnnAttribute::operation_pointwise_xdesc, *x.descriptor);
  operation.set(CudnnAttribute::operation_pointwise_ydesc, *out.descriptor);
  details_.push_back(std::move(function));
  return operation;
}

CudnnTensor CudnnGraph::pointwise(CudnnPointwise mode, const CudnnTensor& x,
                                  const CudnnTensor* other, const CudnnTensor& out, CudnnData math,
                                  std::optional<int64_t> axis) {
  CudnnDescriptor operation = pointwise_operation(mode, x, out, math, axis);
  if (other) operation.set(CudnnAttribute::operation_pointwise_bdesc, *other->descriptor);
  operation.finalize("describing a function's operands");
  operations_.push_back(std::move(operation));
  return out;
}

CudnnTensor CudnnGraph::select(const CudnnTensor& condition, const CudnnTensor& x,
                               const CudnnTensor& otherwise, const CudnnTensor& out) {
  CudnnDescriptor operation =
      pointwise_operation(CudnnPointwise::binary_select, x, out, CudnnData::float_, {});
  operation.set(CudnnAttribute::operation_pointwise_bdesc, *otherwise.descriptor);
  operation.set(CudnnAttribute::operation_pointwise_tdesc, *condition.descriptor);
  operation.finalize("describing a choice");
  operations_.push_back(std::move(operation));
  return out;
}

CudnnTensor CudnnGraph::reduce(CudnnReduce mode, const CudnnTensor& x, const CudnnTensor& out) {
  CudnnDescriptor reduction(*api_, CudnnType::reduction);
  reduction.set(CudnnAttribute::reduction_operator, mode);
  reduction.set(CudnnAttribute::reduction_comp_type, CudnnData::float_);
  reduction.finalize("describing a reduction");
  CudnnDescriptor operation(*api_, CudnnType::operation_reduction);
  operation.set(CudnnAttribute::operation_reduction_xdesc, *x.descriptor);
  operation.set(CudnnAttribute::operation_reduction_ydesc, *out.descriptor);
  operation.set(CudnnAttribute::operation_reduction_desc, reduction);
  operation.finalize("describing a reduction's operands");
  details_.push_back(std::move(reduction));
  operations_.push_back(std::move(operation));
  return out;
}

CudnnTensor CudnnGraph::reshape(const CudnnTensor& x, const CudnnTensor& out) {
  CudnnDescriptor operation(*api_, CudnnType::operation_reshape);
  operation.set(CudnnAttribute::operation_reshape_xdesc, *x.descriptor);
  operation.set(CudnnAttribute::operation_reshape_ydesc, *out.descriptor);
  operation.finalize("describing a reshape");
  operations_.push_back(std::move(operation));
  return out;
}

std::vector<CudnnDescriptor> CudnnGraph::engines(const CudnnTarget& target, CudnnHeuristic mode,
                                                 const CudnnDescriptor& graph) {
  CudnnDescriptor heuristic(*api_, CudnnType::engine_heuristic);
  heuristic.set(CudnnAttribute::engineheur_operation_graph, graph);
  heuristic.set(CudnnAttribute::engineheur_mode, mode);
  if (target.device) heuristic.set(CudnnAttribute::engineheur_deviceprop, *target.device);
  if (heuristic.try_finalize() != 0) return {};
  const auto results = [&](int64_t room, void** raw) {
    int64_t count = 0;
    api_->checked(
        api_->get_attribute(heuristic.raw(), int(CudnnAttribute::engineheur_results),
                            int(CudnnAttributeType::backend_descriptor), room, &count, raw),
        "asking for engines");
    return count;
  };
  std::vector<CudnnDescriptor> found;
  std::vector<void*> raw;
  for (int64_t i = results(0, nullptr); i > 0; --i) {
    found.emplace_back(*api_, CudnnType::engine_config);
    raw.push_back(found.back().raw());
  }
  const int64_t count = results(int64_t(raw.size()), raw.data());
  found.erase(found.begin() + count, found.end());
  return found;
}

std::vector<CudnnDescriptor> CudnnGraph::engines(const CudnnTarget& target) {
  CudnnDescriptor graph(*api_, CudnnType::operation_graph);
  if (target.handle) graph.set_handle(CudnnAttribute::operationgraph_handle, target.handle);
  graph.set(CudnnAttribute::operationgraph_ops, operations_);
  graph.finalize("joining the operations of attention");
  std::vector<CudnnDescriptor> found = engines(target, CudnnHeuristic::a, graph);
  for (CudnnDescriptor& engine : engines(target, CudnnHeuristic::fallback, graph))
    found.push_back(std::move(engine));
  details_.push_back(std::move(graph));
  return found;
}

CudnnPlan CudnnGraph::plan(const CudnnTarget& target, const std::string& what) {
  int status = 0;
  for (const CudnnDescriptor& engine : engines(target)) {
    CudnnDescriptor plan(*api_, CudnnType::execution_plan);
    plan.set_handle(CudnnAttribute::execution_plan_handle, target.handle);
    plan.set(CudnnAttribute::execution_plan_engine_config, engine);
    status = plan.try_finalize();
    if (status == 0) return CudnnPlan(std::move(plan), ids_);
  }
  api_->checked(status, what.c_str());  // what the last engine said
  fail(
      "attention: cuDNN {} has no engine for {}; use another head size, or attention.backend flash",
      cudnn_version_text(api_->version()), what);
}

}  // namespace tessera
