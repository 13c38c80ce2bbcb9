// What attention needs of cuDNN's C backend API, declared here: neither its headers nor those of
// its frontend are needed to build, and the library is opened at the first use.
//
// Every value is that of the constant of the same words in NVIDIA's cudnn_graph.h and cudnn_ops.h
// (kTensorStrides: CUDNN_ATTR_TENSOR_STRIDES), which are the same in 9.19 and 9.28;
// tests/kernels/cudnn_values_test.cpp compares them with the header where there is one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace tessera {

// cudnnBackendDescriptorType_t: CUDNN_BACKEND_..._DESCRIPTOR
enum class CudnnType : int {
  pointwise = 0,
  engine_config = 3,     // ENGINECFG
  engine_heuristic = 4,  // ENGINEHEUR
  execution_plan = 5,
  operation_pointwise = 13,
  operation_graph = 15,  // OPERATIONGRAPH
  variant_pack = 16,
  tensor = 17,
  matmul = 18,
  operation_matmul = 19,
  reduction = 21,
  operation_reduction = 22,
  operation_reshape = 31,
  device_properties = 38,  // DEVICEPROP
};

// cudnnBackendAttributeName_t: CUDNN_ATTR_...
enum class CudnnAttribute : int {
  pointwise_mode = 0,
  pointwise_math_prec = 1,
  pointwise_axis = 9,
  engineheur_mode = 200,
  engineheur_operation_graph = 201,
  engineheur_results = 202,
  engineheur_deviceprop = 204,
  execution_plan_handle = 400,
  execution_plan_engine_config = 401,
  execution_plan_workspace_size = 402,
  operation_pointwise_pw_descriptor = 750,
  operation_pointwise_xdesc = 751,
  operation_pointwise_bdesc = 752,
  operation_pointwise_ydesc = 753,
  operation_pointwise_tdesc = 758,
  operationgraph_handle = 800,
  operationgraph_ops = 801,
  tensor_byte_alignment = 900,
  tensor_data_type = 901,
  tensor_dimensions = 902,
  tensor_strides = 903,
  tensor_unique_id = 906,
  tensor_is_virtual = 907,
  tensor_is_by_value = 908,
  variant_pack_unique_ids = 1000,
  variant_pack_data_pointers = 1001,
  variant_pack_workspace = 1003,
  matmul_comp_type = 1500,
  operation_matmul_adesc = 1520,
  operation_matmul_bdesc = 1521,
  operation_matmul_cdesc = 1522,
  operation_matmul_desc = 1523,
  reduction_operator = 1600,
  reduction_comp_type = 1601,
  operation_reduction_xdesc = 1610,
  operation_reduction_ydesc = 1611,
  operation_reduction_desc = 1612,
  operation_reshape_xdesc = 2200,
  operation_reshape_ydesc = 2201,
  deviceprop_json_representation = 2702,
};

// cudnnBackendAttributeType_t: CUDNN_TYPE_...
enum class CudnnAttributeType : int {
  handle = 0,
  data_type = 1,
  boolean = 2,  // of one byte
  int64 = 3,
  void_ptr = 6,
  heur_mode = 8,
  pointwise_mode = 14,
  backend_descriptor = 15,
  reduction_operator_type = 18,
  char_ = 24,
};

// cudnnDataType_t: CUDNN_DATA_...
enum class CudnnData : int { float_ = 0, half = 2, int32 = 4, bfloat16 = 9, boolean = 11 };

// cudnnPointwiseMode_t: CUDNN_POINTWISE_...
enum class CudnnPointwise : int {
  add = 0,
  mul = 1,
  div = 6,
  sub = 9,
  exp = 13,
  log = 15,
  identity = 21,
  cmp_ge = 303,
  gen_index = 501,
  binary_select = 601,
};

// cudnnReduceTensorOp_t: CUDNN_REDUCE_TENSOR_...
enum class CudnnReduce : int { add = 0, max = 3 };

// cudnnBackendHeurMode_t: CUDNN_HEUR_MODE_...
enum class CudnnHeuristic : int { fallback = 2, a = 3 };

// The functions, by name cudnn... and cudnnBackend...; a status of 0 is success.
struct CudnnApi {
  size_t (*version)() = nullptr;  // 10000 major + 100 minor + patch
  const char* (*error_string)(int status) = nullptr;
  void (*last_error)(char* message, size_t size) = nullptr;
  int (*create)(void** handle) = nullptr;
  int (*destroy)(void* handle) = nullptr;
  int (*set_stream)(void* handle, void* stream) = nullptr;
  int (*create_descriptor)(int type, void** descriptor) = nullptr;
  int (*destroy_descriptor)(void* descriptor) = nullptr;
  int (*set_attribute)(void* descriptor, int name, int type, int64_t count,
                       const void* elements) = nullptr;
  int (*get_attribute)(void* descriptor, int name, int type, int64_t requested, int64_t* count,
                       void* elements) = nullptr;
  int (*finalize)(void* descriptor) = nullptr;
  int (*execute)(void* handle, void* plan, void* variant_pack) = nullptr;

  // Throws Error with cuDNN's account of it unless the status is success.
  void checked(int status, const char* what) const;
};

// The oldest cuDNN that is used: until 9.15.0 backward may read beyond keys whose number is no
// multiple of 128 (release notes of cudnn-frontend 1.16). That the graphs are accepted was seen
// with 9.19 and 9.28.
inline constexpr size_t kOldestCudnn = 91501;

// "9.19.0" for 91900.
std::string cudnn_version_text(size_t version);

// The functions of a library, by file name. Throws Error where it cannot be opened, and for a
// version older than kOldestCudnn.
CudnnApi load_cudnn(const std::string& library);
// libcudnn.so.9 where the loader finds it, else in the toolkit of the build.
const CudnnApi& cudnn_api();

}  // namespace tessera
