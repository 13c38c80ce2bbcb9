#include "tests/kernels/fake_cublaslt.h"

#include <cublasLt.h>

#include <cmath>
#include <cstring>

#include "core/dtype.h"

namespace tessera::test {
namespace {

FakeCublasLtCounts& counts() {
  static FakeCublasLtCounts all;
  return all;
}

struct Operation {
  cublasComputeType_t compute;
  cudaDataType_t scale;
  cublasOperation_t transpose_a = CUBLAS_OP_N, transpose_b = CUBLAS_OP_N;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  const void* bias = nullptr;  // [rows of the result]
};

// Column-major.
struct Matrix {
  cudaDataType_t type;
  uint64_t rows, columns;
  int64_t stride;

  double at(const void* data, uint64_t row, uint64_t column) const {
    const uint64_t i = row + column * uint64_t(stride);
    if (type == CUDA_R_64F) return static_cast<const double*>(data)[i];
    if (type == CUDA_R_32F) return static_cast<const float*>(data)[i];
    return to_float(static_cast<const bf16*>(data)[i]);
  }
  void set(void* data, uint64_t row, uint64_t column, double x) const {
    const uint64_t i = row + column * uint64_t(stride);
    if (type == CUDA_R_64F) {
      static_cast<double*>(data)[i] = x;
    } else if (type == CUDA_R_32F) {
      static_cast<float*>(data)[i] = float(x);
    } else {
      static_cast<bf16*>(data)[i] = from_float<bf16>(float(x));
    }
  }
};

struct Preference {
  uint64_t workspace = 0;
  uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_MASK;
  uint32_t a = 256, b = 256, c = 256, d = 256;  // alignments, in bytes
};

// What an algorithm was chosen for; in cublasLtMatmulAlgo_t.
struct Algorithm {
  uint32_t a, b, c, d;
};
static_assert(sizeof(Algorithm) <= sizeof(cublasLtMatmulAlgo_t));

template <class T, class Opaque>
T& as(Opaque* object) {
  return *reinterpret_cast<T*>(object);
}
template <class T, class Opaque>
cublasStatus_t make(Opaque** object, const T& value) {
  *object = reinterpret_cast<Opaque*>(new T(value));
  ++counts().objects;
  return CUBLAS_STATUS_SUCCESS;
}
template <class T, class Opaque>
cublasStatus_t destroy(Opaque* object) {
  delete &as<T>(object);
  --counts().objects;
  return CUBLAS_STATUS_SUCCESS;
}

template <class T>
cublasStatus_t assign(T& to, const void* from, size_t bytes) {
  if (bytes != sizeof(T)) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(&to, from, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

// Rounded to 10 bits of mantissa.
double tf32(double x) {
  int exponent = 0;
  const double mantissa = std::frexp(x, &exponent);
  return std::ldexp(std::nearbyint(mantissa * 2048) / 2048, exponent);
}

bool is_aligned(const void* p, uint32_t bytes) {
  return reinterpret_cast<uintptr_t>(p) % bytes == 0;
}

// Whether the operation and its matrices go together.
bool fits(const Operation& o, const Matrix& a, const Matrix& b, const Matrix& c) {
  const auto is_sound = [](const Matrix& x) { return x.stride >= int64_t(x.rows); };
  const bool ta = o.transpose_a == CUBLAS_OP_T, tb = o.transpose_b == CUBLAS_OP_T;
  const bool wide = a.type == CUDA_R_64F;
  return is_sound(a) && is_sound(b) && is_sound(c) && a.type == b.type &&
         (ta ? a.columns : a.rows) == c.rows && (tb ? b.rows : b.columns) == c.columns &&
         (ta ? a.rows : a.columns) == (tb ? b.columns : b.rows) &&
         (o.compute == CUBLAS_COMPUTE_64F) == wide && (o.scale == CUDA_R_64F) == wide &&
         (c.type == a.type || (a.type == CUDA_R_16BF && c.type == CUDA_R_32F));
}

struct Product {
  const Operation& operation;
  const Matrix &a, &b, &c;
  const void *a_data, *b_data;
  void* c_data;
  double alpha, beta;

  double term(uint64_t row, uint64_t column, uint64_t k) const {
    double x = operation.transpose_a == CUBLAS_OP_T ? a.at(a_data, k, row) : a.at(a_data, row, k);
    double y =
        operation.transpose_b == CUBLAS_OP_T ? b.at(b_data, column, k) : b.at(b_data, k, column);
    if (operation.compute == CUBLAS_COMPUTE_32F_FAST_TF32) x = tf32(x), y = tf32(y);
    return x * y;
  }
  void run() const {
    const uint64_t depth = operation.transpose_a == CUBLAS_OP_T ? a.rows : a.columns;
    for (uint64_t row = 0; row < c.rows; ++row) {
      for (uint64_t column = 0; column < c.columns; ++column) {
        double sum = 0;
        for (uint64_t k = 0; k < depth; ++k) sum += term(row, column, k);
        sum *= alpha;
        if (beta != 0) sum += beta * c.at(c_data, row, column);
        if (operation.epilogue == CUBLASLT_EPILOGUE_BIAS) sum += c.at(operation.bias, row, 0);
        c.set(c_data, row, column, sum);
      }
    }
  }
};

}  // namespace

const FakeCublasLtCounts& fake_cublaslt_counts() {
  return counts();
}

}  // namespace tessera::test

using namespace tessera::test;

const char* cublasLtGetStatusString(cublasStatus_t status) {
  return status == CUBLAS_STATUS_SUCCESS         ? "success"
         : status == CUBLAS_STATUS_NOT_SUPPORTED ? "not supported"
                                                 : "invalid value";
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  return make(handle, int());
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  return destroy<int>(handle);
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* operation,
                                        cublasComputeType_t compute, cudaDataType_t scale) {
  return make(operation, Operation{.compute = compute, .scale = scale});
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t operation) {
  return destroy<Operation>(operation);
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t operation,
                                              cublasLtMatmulDescAttributes_t attribute,
                                              const void* value, size_t bytes) {
  Operation& o = as<Operation>(operation);
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
      return assign(o.transpose_a, value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSB:
      return assign(o.transpose_b, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
      return assign(o.epilogue, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
      return assign(o.bias, value, bytes);
    default:
      return CUBLAS_STATUS_INVALID_VALUE;
  }
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType type,
                                          uint64_t rows, uint64_t columns, int64_t stride) {
  return make(layout, Matrix{type, rows, columns, stride});
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  return destroy<Matrix>(layout);
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  return make(preference, Preference());
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  return destroy<Preference>(preference);
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void* value, size_t bytes) {
  Preference& p = as<Preference>(preference);
  switch (attribute) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
      return assign(p.workspace, value, bytes);
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
      return assign(p.reductions, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
      return assign(p.a, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
      return assign(p.b, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
      return assign(p.c, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
      return assign(p.d, value, bytes);
    default:
      return CUBLAS_STATUS_INVALID_VALUE;
  }
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t operation,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int wanted,
                                              cublasLtMatmulHeuristicResult_t results[],
                                              int* found) {
  ++counts().algorithms;
  *found = 0;
  const Operation& o = as<Operation>(operation);
  const Preference& p = as<Preference>(preference);
  if (wanted < 1 || c != d || !fits(o, as<Matrix>(a), as<Matrix>(b), as<Matrix>(c)))
    return CUBLAS_STATUS_INVALID_VALUE;
  // The real one's rules for epilogues.
  if (o.epilogue != CUBLASLT_EPILOGUE_DEFAULT && o.scale == CUDA_R_64F)
    return CUBLAS_STATUS_NOT_SUPPORTED;
  results[0] = {};
  as<Algorithm>(&results[0].algo) = {p.a, p.b, p.c, p.d};
  results[0].workspaceSize = p.workspace;
  *found = 1;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t operation, const void* alpha,
                              const void* a, cublasLtMatrixLayout_t a_layout, const void* b,
                              cublasLtMatrixLayout_t b_layout, const void* beta, const void* c,
                              cublasLtMatrixLayout_t c_layout, void* d, cublasLtMatrixLayout_t,
                              const cublasLtMatmulAlgo_t* algorithm, void* workspace, size_t,
                              cudaStream_t) {
  ++counts().products;
  const Operation& o = as<Operation>(operation);
  const auto& chosen = as<const Algorithm>(algorithm);
  if (c != d || !is_aligned(a, chosen.a) || !is_aligned(b, chosen.b) || !is_aligned(d, chosen.d) ||
      !is_aligned(workspace, 256))
    return CUBLAS_STATUS_INVALID_VALUE;
  const auto scale = [&](const void* x) {
    return o.scale == CUDA_R_64F ? *static_cast<const double*>(x) : *static_cast<const float*>(x);
  };
  Product{.operation = o,
          .a = as<Matrix>(a_layout),
          .b = as<Matrix>(b_layout),
          .c = as<Matrix>(c_layout),
          .a_data = a,
          .b_data = b,
          .c_data = d,
          .alpha = scale(alpha),
          .beta = scale(beta)}
      .run();
  return CUBLAS_STATUS_SUCCESS;
}
