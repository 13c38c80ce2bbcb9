#include "tests/kernels/cudnn_interpreter.h"

#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <vector>

#include "core/check.h"
#include "core/dtype.h"
#include "kernels/attention/cudnn_graph.h"

namespace tessera::test {
namespace {

using Attribute = CudnnAttribute;

// What a descriptor points to; descriptors among the attributes are shared.
struct Object {
  int type = 0;
  std::map<Attribute, std::vector<std::byte>> values;
  std::map<Attribute, std::vector<std::shared_ptr<Object>>> objects;

  template <class T>
  T get(Attribute name, T otherwise = {}) const {
    const auto found = values.find(name);
    if (found == values.end()) return otherwise;
    T value;
    std::memcpy(&value, found->second.data(), sizeof value);
    return value;
  }
  template <class T>
  std::vector<T> all(Attribute name) const {
    const std::vector<std::byte>& bytes = values.at(name);
    std::vector<T> result(bytes.size() / sizeof(T));
    std::memcpy(result.data(), bytes.data(), bytes.size());
    return result;
  }
  const Object& object(Attribute name) const { return *objects.at(name).front(); }
};
using Pointer = std::shared_ptr<Object>;

Pointer& object_of(void* descriptor) {
  return *static_cast<Pointer*>(descriptor);
}

size_t size_of_type(int type) {
  switch (CudnnAttributeType(type)) {
    case CudnnAttributeType::boolean:
    case CudnnAttributeType::char_:
      return 1;
    case CudnnAttributeType::handle:
    case CudnnAttributeType::int64:
    case CudnnAttributeType::void_ptr:
      return 8;
    default:
      return 4;
  }
}

int create_descriptor(int type, void** descriptor) {
  *descriptor = new Pointer(std::make_shared<Object>(Object{.type = type}));
  return 0;
}

int destroy_descriptor(void* descriptor) {
  delete static_cast<Pointer*>(descriptor);
  return 0;
}

int set_attribute(void* descriptor, int name, int type, int64_t count, const void* elements) {
  Object& object = *object_of(descriptor);
  if (type == int(CudnnAttributeType::backend_descriptor)) {
    std::vector<Pointer>& objects = object.objects[Attribute(name)];
    objects.clear();
    for (int64_t i = 0; i < count; ++i)
      objects.push_back(object_of(static_cast<void* const*>(elements)[i]));
    return 0;
  }
  const auto* begin = static_cast<const std::byte*>(elements);
  object.values[Attribute(name)].assign(begin, begin + size_t(count) * size_of_type(type));
  return 0;
}

// A heuristic has one engine, which keeps the graph; a plan needs no scratch.
int get_attribute(void* descriptor, int name, int, int64_t requested, int64_t* count,
                  void* elements) {
  *count = 1;
  if (Attribute(name) == Attribute::execution_plan_workspace_size) {
    std::memset(elements, 0, sizeof(int64_t));
  } else if (requested > 0) {
    object_of(*static_cast<void**>(elements))->objects = object_of(descriptor)->objects;
  }
  return 0;
}

struct Layout {
  CudnnDims dims, strides;

  explicit Layout(const Object& tensor) {
    const auto d = tensor.all<int64_t>(Attribute::tensor_dimensions),
               s = tensor.all<int64_t>(Attribute::tensor_strides);
    std::copy(d.begin(), d.end(), dims.begin());
    std::copy(s.begin(), s.end(), strides.begin());
  }
  // With what is shared where a dimension is smaller than that of another tensor's index.
  int64_t offset(const CudnnDims& index, const CudnnDims& of) const {
    int64_t sum = 0;
    for (size_t i = 0; i < 4; ++i) sum += index[i] / (of[i] / dims[i]) * strides[i];
    return sum;
  }
  template <class Body>
  void each(const Body& body) const {
    CudnnDims i{};
    for (i[0] = 0; i[0] < dims[0]; ++i[0])
      for (i[1] = 0; i[1] < dims[1]; ++i[1])
        for (i[2] = 0; i[2] < dims[2]; ++i[2])
          for (i[3] = 0; i[3] < dims[3]; ++i[3]) body(i);
  }
};

class Run {
 public:
  explicit Run(const Object& pack) {
    const auto ids = pack.all<int64_t>(Attribute::variant_pack_unique_ids);
    const auto pointers = pack.all<void*>(Attribute::variant_pack_data_pointers);
    for (size_t i = 0; i < ids.size(); ++i) pointers_[ids[i]] = pointers[i];
  }

  void operation(const Object& op) {
    switch (CudnnType(op.type)) {
      case CudnnType::operation_matmul:
        return matmul(op);
      case CudnnType::operation_pointwise:
        return pointwise(op);
      case CudnnType::operation_reduction:
        return reduce(op);
      default:
        return transpose(op);
    }
  }

 private:
  double read(const Object& tensor, const CudnnDims& index, const CudnnDims& of) {
    const int64_t offset = Layout(tensor).offset(index, of),
                  id = tensor.get<int64_t>(Attribute::tensor_unique_id);
    if (tensor.get<bool>(Attribute::tensor_is_virtual)) return virtual_.at({id, offset});
    const void* data = pointers_.at(id);
    switch (tensor.get<CudnnData>(Attribute::tensor_data_type)) {
      case CudnnData::bfloat16:
        return to_float(static_cast<const bf16*>(data)[offset]);
      case CudnnData::int32:
        return static_cast<const int32_t*>(data)[offset];
      default:
        return static_cast<const float*>(data)[offset];
    }
  }
  void write(const Object& tensor, const CudnnDims& index, double value) {
    const int64_t offset = Layout(tensor).offset(index, Layout(tensor).dims),
                  id = tensor.get<int64_t>(Attribute::tensor_unique_id);
    if (tensor.get<bool>(Attribute::tensor_is_virtual)) {
      virtual_[{id, offset}] = value;
    } else if (tensor.get<CudnnData>(Attribute::tensor_data_type) == CudnnData::bfloat16) {
      static_cast<bf16*>(pointers_.at(id))[offset] = from_float<bf16>(float(value));
    } else {
      static_cast<float*>(pointers_.at(id))[offset] = float(value);
    }
  }

  void matmul(const Object& op) {
    const Object &a = op.object(Attribute::operation_matmul_adesc),
                 &b = op.object(Attribute::operation_matmul_bdesc),
                 &c = op.object(Attribute::operation_matmul_cdesc);
    const CudnnDims dims = Layout(c).dims;
    const int64_t inner = Layout(a).dims[3];
    check(Layout(b).dims[2] == inner, "interpreted cudnn: a product of {} with {} columns and rows",
          inner, Layout(b).dims[2]);
    Layout(c).each([&](const CudnnDims& i) {
      double sum = 0;
      for (int64_t k = 0; k < inner; ++k) {
        sum += read(a, {i[0], i[1], i[2], k}, {dims[0], dims[1], dims[2], inner}) *
               read(b, {i[0], i[1], k, i[3]}, {dims[0], dims[1], inner, dims[3]});
      }
      write(c, i, sum);
    });
  }

  void pointwise(const Object& op) {
    const Object &function = op.object(Attribute::operation_pointwise_pw_descriptor),
                 &x = op.object(Attribute::operation_pointwise_xdesc),
                 &y = op.object(Attribute::operation_pointwise_ydesc);
    const CudnnDims dims = Layout(y).dims;
    const auto mode = function.get<CudnnPointwise>(Attribute::pointwise_mode);
    const auto axis = size_t(function.get<int64_t>(Attribute::pointwise_axis));
    Layout(y).each([&](const CudnnDims& i) {
      const auto other = [&](Attribute name) { return read(op.object(name), i, dims); };
      if (mode == CudnnPointwise::gen_index) return write(y, i, double(i[axis]));
      const double value = read(x, i, dims);
      if (mode == CudnnPointwise::binary_select) {
        return write(y, i,
                     other(Attribute::operation_pointwise_tdesc) != 0
                         ? value
                         : other(Attribute::operation_pointwise_bdesc));
      }
      const bool binary = op.objects.count(Attribute::operation_pointwise_bdesc) > 0;
      write(y, i, apply(mode, value, binary ? other(Attribute::operation_pointwise_bdesc) : 0));
    });
  }

  static double apply(CudnnPointwise mode, double x, double b) {
    switch (mode) {
      case CudnnPointwise::add:
        return x + b;
      case CudnnPointwise::sub:
        return x - b;
      case CudnnPointwise::mul:
        return x * b;
      case CudnnPointwise::div:
        return x / b;
      case CudnnPointwise::exp:
        return std::exp(x);
      case CudnnPointwise::log:
        return std::log(x);
      case CudnnPointwise::cmp_ge:
        return x >= b;
      default:
        return x;  // identity
    }
  }

  void reduce(const Object& op) {
    const Object &x = op.object(Attribute::operation_reduction_xdesc),
                 &y = op.object(Attribute::operation_reduction_ydesc);
    const bool largest = op.object(Attribute::operation_reduction_desc)
                             .get<CudnnReduce>(Attribute::reduction_operator) == CudnnReduce::max;
    const CudnnDims from = Layout(x).dims, to = Layout(y).dims;
    std::map<CudnnDims, double> results;
    Layout(x).each([&](const CudnnDims& i) {
      CudnnDims target;
      for (size_t d = 0; d < 4; ++d) target[d] = i[d] / (from[d] / to[d]);
      const double value = read(x, i, from);
      const auto [result, first] = results.emplace(target, value);
      if (!first)
        result->second = largest ? std::max(result->second, value) : result->second + value;
    });
    for (const auto& [index, value] : results) write(y, index, value);
  }

  // The only change of shape that attention asks for: rows become columns.
  void transpose(const Object& op) {
    const Object &x = op.object(Attribute::operation_reshape_xdesc),
                 &y = op.object(Attribute::operation_reshape_ydesc);
    const CudnnDims from = Layout(x).strides, to = Layout(y).strides;
    check(to == CudnnDims{from[0], from[1], from[3], from[2]},
          "interpreted cudnn: a reshape that is no transposition");
    Layout(y).each([&](const CudnnDims& i) {
      write(y, i, read(x, {i[0], i[1], i[3], i[2]}, Layout(x).dims));
    });
  }

  std::map<int64_t, void*> pointers_;
  std::map<std::pair<int64_t, int64_t>, double> virtual_;  // by id and offset
};

int execute(void*, void* plan, void* pack) {
  const Object& graph = object_of(plan)
                            ->object(Attribute::execution_plan_engine_config)
                            .object(Attribute::engineheur_operation_graph);
  Run run(*object_of(pack));
  for (const Pointer& op : graph.objects.at(Attribute::operationgraph_ops)) run.operation(*op);
  return 0;
}

}  // namespace

const CudnnApi& interpreted_cudnn() {
  static const CudnnApi api{.version = [] { return kOldestCudnn; },
                            .error_string = [](int) { return "error"; },
                            .last_error = [](char*, size_t) {},
                            .create =
                                [](void** handle) {
                                  *handle = nullptr;
                                  return 0;
                                },
                            .destroy = [](void*) { return 0; },
                            .set_stream = [](void*, void*) { return 0; },
                            .create_descriptor = create_descriptor,
                            .destroy_descriptor = destroy_descriptor,
                            .set_attribute = set_attribute,
                            .get_attribute = get_attribute,
                            .finalize = [](void*) { return 0; },
                            .execute = execute};
  return api;
}

}  // namespace tessera::test
