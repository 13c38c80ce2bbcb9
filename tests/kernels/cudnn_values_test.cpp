// The constants of kernels/attention/cudnn_api.h are those of the header, where it is installed.
#include <cudnn.h>
#include <gtest/gtest.h>

#include "kernels/attention/cudnn_api.h"

namespace tessera {
namespace {

template <class Ours, class Theirs>
constexpr bool same(Ours ours, Theirs theirs) {
  return int(ours) == int(theirs);
}

static_assert(same(CudnnType::pointwise, CUDNN_BACKEND_POINTWISE_DESCRIPTOR));
static_assert(same(CudnnType::engine_config, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR));
static_assert(same(CudnnType::engine_heuristic, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR));
static_assert(same(CudnnType::execution_plan, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR));
static_assert(same(CudnnType::operation_pointwise, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR));
static_assert(same(CudnnType::operation_graph, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR));
static_assert(same(CudnnType::variant_pack, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR));
static_assert(same(CudnnType::tensor, CUDNN_BACKEND_TENSOR_DESCRIPTOR));
static_assert(same(CudnnType::matmul, CUDNN_BACKEND_MATMUL_DESCRIPTOR));
static_assert(same(CudnnType::operation_matmul, CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR));
static_assert(same(CudnnType::reduction, CUDNN_BACKEND_REDUCTION_DESCRIPTOR));
static_assert(same(CudnnType::operation_reduction, CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR));
static_assert(same(CudnnType::operation_reshape, CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR));
static_assert(same(CudnnType::device_properties, CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR));

static_assert(same(CudnnAttribute::pointwise_mode, CUDNN_ATTR_POINTWISE_MODE));
static_assert(same(CudnnAttribute::pointwise_math_prec, CUDNN_ATTR_POINTWISE_MATH_PREC));
static_assert(same(CudnnAttribute::pointwise_axis, CUDNN_ATTR_POINTWISE_AXIS));
static_assert(same(CudnnAttribute::engineheur_mode, CUDNN_ATTR_ENGINEHEUR_MODE));
static_assert(same(CudnnAttribute::engineheur_operation_graph,
                   CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH));
static_assert(same(CudnnAttribute::engineheur_results, CUDNN_ATTR_ENGINEHEUR_RESULTS));
static_assert(same(CudnnAttribute::engineheur_deviceprop, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP));
static_assert(same(CudnnAttribute::execution_plan_handle, CUDNN_ATTR_EXECUTION_PLAN_HANDLE));
static_assert(same(CudnnAttribute::execution_plan_engine_config,
                   CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG));
static_assert(same(CudnnAttribute::execution_plan_workspace_size,
                   CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE));
static_assert(same(CudnnAttribute::operation_pointwise_pw_descriptor,
                   CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR));
static_assert(same(CudnnAttribute::operation_pointwise_xdesc,
                   CUDNN_ATTR_OPERATION_POINTWISE_XDESC));
static_assert(same(CudnnAttribute::operation_pointwise_bdesc,
                   CUDNN_ATTR_OPERATION_POINTWISE_BDESC));
static_assert(same(CudnnAttribute::operation_pointwise_ydesc,
                   CUDNN_ATTR_OPERATION_POINTWISE_YDESC));
static_assert(same(CudnnAttribute::operation_pointwise_tdesc,
                   CUDNN_ATTR_OPERATION_POINTWISE_TDESC));
static_assert(same(CudnnAttribute::operationgraph_handle, CUDNN_ATTR_OPERATIONGRAPH_HANDLE));
static_assert(same(CudnnAttribute::operationgraph_ops, CUDNN_ATTR_OPERATIONGRAPH_OPS));
static_assert(same(CudnnAttribute::tensor_byte_alignment, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT));
static_assert(same(CudnnAttribute::tensor_data_type, CUDNN_ATTR_TENSOR_DATA_TYPE));
static_assert(same(CudnnAttribute::tensor_dimensions, CUDNN_ATTR_TENSOR_DIMENSIONS));
static_assert(same(CudnnAttribute::tensor_strides, CUDNN_ATTR_TENSOR_STRIDES));
static_assert(same(CudnnAttribute::tensor_unique_id, CUDNN_ATTR_TENSOR_UNIQUE_ID));
static_assert(same(CudnnAttribute::tensor_is_virtual, CUDNN_ATTR_TENSOR_IS_VIRTUAL));
static_assert(same(CudnnAttribute::tensor_is_by_value, CUDNN_ATTR_TENSOR_IS_BY_VALUE));
static_assert(same(CudnnAttribute::variant_pack_unique_ids, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS));
static_assert(same(CudnnAttribute::variant_pack_data_pointers,
                   CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS));
static_assert(same(CudnnAttribute::variant_pack_workspace, CUDNN_ATTR_VARIANT_PACK_WORKSPACE));
static_assert(same(CudnnAttribute::matmul_comp_type, CUDNN_ATTR_MATMUL_COMP_TYPE));
static_assert(same(CudnnAttribute::operation_matmul_adesc, CUDNN_ATTR_OPERATION_MATMUL_ADESC));
static_assert(same(CudnnAttribute::operation_matmul_bdesc, CUDNN_ATTR_OPERATION_MATMUL_BDESC));
static_assert(same(CudnnAttribute::operation_matmul_cdesc, CUDNN_ATTR_OPERATION_MATMUL_CDESC));
static_assert(same(CudnnAttribute::operation_matmul_desc, CUDNN_ATTR_OPERATION_MATMUL_DESC));
static_assert(same(CudnnAttribute::reduction_operator, CUDNN_ATTR_REDUCTION_OPERATOR));
static_assert(same(CudnnAttribute::reduction_comp_type, CUDNN_ATTR_REDUCTION_COMP_TYPE));
static_assert(same(CudnnAttribute::operation_reduction_xdesc,
                   CUDNN_ATTR_OPERATION_REDUCTION_XDESC));
static_assert(same(CudnnAttribute::operation_reduction_ydesc,
                   CUDNN_ATTR_OPERATION_REDUCTION_YDESC));
static_assert(same(CudnnAttribute::operation_reduction_desc, CUDNN_ATTR_OPERATION_REDUCTION_DESC));
static_assert(same(CudnnAttribute::operation_reshape_xdesc, CUDNN_ATTR_OPERATION_RESHAPE_XDESC));
static_assert(same(CudnnAttribute::operation_reshape_ydesc, CUDNN_ATTR_OPERATION_RESHAPE_YDESC));
static_assert(same(CudnnAttribute::deviceprop_json_representation,
                   CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION));

static_assert(same(CudnnAttributeType::handle, CUDNN_TYPE_HANDLE));
static_assert(same(CudnnAttributeType::data_type, CUDNN_TYPE_DATA_TYPE));
static_assert(same(CudnnAttributeType::boolean, CUDNN_TYPE_BOOLEAN));
static_assert(same(CudnnAttributeType::int64, CUDNN_TYPE_INT64));
static_assert(same(CudnnAttributeType::void_ptr, CUDNN_TYPE_VOID_PTR));
static_assert(same(CudnnAttributeType::heur_mode, CUDNN_TYPE_HEUR_MODE));
static_assert(same(CudnnAttributeType::pointwise_mode, CUDNN_TYPE_POINTWISE_MODE));
static_assert(same(CudnnAttributeType::backend_descriptor, CUDNN_TYPE_BACKEND_DESCRIPTOR));
static_assert(same(CudnnAttributeType::reduction_operator_type,
                   CUDNN_TYPE_REDUCTION_OPERATOR_TYPE));
static_assert(same(CudnnAttributeType::char_, CUDNN_TYPE_CHAR));

static_assert(same(CudnnData::float_, CUDNN_DATA_FLOAT));
static_assert(same(CudnnData::half, CUDNN_DATA_HALF));
static_assert(same(CudnnData::int32, CUDNN_DATA_INT32));
static_assert(same(CudnnData::bfloat16, CUDNN_DATA_BFLOAT16));
static_assert(same(CudnnData::boolean, CUDNN_DATA_BOOLEAN));

static_assert(same(CudnnPointwise::add, CUDNN_POINTWISE_ADD));
static_assert(same(CudnnPointwise::mul, CUDNN_POINTWISE_MUL));
static_assert(same(CudnnPointwise::div, CUDNN_POINTWISE_DIV));
static_assert(same(CudnnPointwise::sub, CUDNN_POINTWISE_SUB));
static_assert(same(CudnnPointwise::exp, CUDNN_POINTWISE_EXP));
static_assert(same(CudnnPointwise::log, CUDNN_POINTWISE_LOG));
static_assert(same(CudnnPointwise::identity, CUDNN_POINTWISE_IDENTITY));
static_assert(same(CudnnPointwise::cmp_ge, CUDNN_POINTWISE_CMP_GE));
static_assert(same(CudnnPointwise::gen_index, CUDNN_POINTWISE_GEN_INDEX));
static_assert(same(CudnnPointwise::binary_select, CUDNN_POINTWISE_BINARY_SELECT));

static_assert(same(CudnnReduce::add, CUDNN_REDUCE_TENSOR_ADD));
static_assert(same(CudnnReduce::max, CUDNN_REDUCE_TENSOR_MAX));

static_assert(same(CudnnHeuristic::fallback, CUDNN_HEUR_MODE_FALLBACK));
static_assert(same(CudnnHeuristic::a, CUDNN_HEUR_MODE_A));

TEST(CudnnValues, AreThoseOfTheHeader) {
  EXPECT_EQ(int(CUDNN_STATUS_SUCCESS), 0);
}

}  // namespace
}  // namespace tessera
