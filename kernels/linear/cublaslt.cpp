// The library is opened at the first product: loading it takes half a second and 200 MB, which
// programs that run on another device should not pay.
//
// cuBLASLt counts in columns: our row-major c = op(a) op(b) is its column-major c^T = op(b)^T
// op(a)^T, so b is its first matrix and a its second, and a row-major [R, C] matrix its C x R.
#include "kernels/linear/cublaslt.h"

#include <cublasLt.h>
#include <dlfcn.h>

#include <bit>
#include <map>
#include <memory>
#include <string>
#include <tuple>

#include "core/memory/pool.h"
#include "kernels/linear/onednn.h"

namespace tessera {
namespace {

struct CublasLtApi {
  decltype(&cublasLtGetStatusString) status_string;
  decltype(&cublasLtCreate) create;
  decltype(&cublasLtDestroy) destroy;
  decltype(&cublasLtMatmulDescCreate) operation_create;
  decltype(&cublasLtMatmulDescDestroy) operation_destroy;
  decltype(&cublasLtMatmulDescSetAttribute) operation_set;
  decltype(&cublasLtMatrixLayoutCreate) layout_create;
  decltype(&cublasLtMatrixLayoutDestroy) layout_destroy;
  decltype(&cublasLtMatmulPreferenceCreate) preference_create;
  decltype(&cublasLtMatmulPreferenceDestroy) preference_destroy;
  decltype(&cublasLtMatmulPreferenceSetAttribute) preference_set;
  decltype(&cublasLtMatmulAlgoGetHeuristic) find_algorithm;
  decltype(&cublasLtMatmul) matmul;
};

// Where the loader finds it, else in the toolkit of the build.
void* open_library() {
  const std::string name = fmt::format("libcublasLt.so.{}", CUBLAS_VER_MAJOR);
  void* library = dlopen(name.c_str(), RTLD_LAZY | RTLD_LOCAL);
  if (!library) library = dlopen(TESSERA_CUBLASLT, RTLD_LAZY | RTLD_LOCAL);
  check(library, "matmul: no {}: add its folder to LD_LIBRARY_PATH ({})", name, dlerror());
  return library;
}

CublasLtApi load_api() {
  void* const library = open_library();
  const auto load = [=](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
    check(function, "matmul: libcublasLt has no {}", name);
  };
  CublasLtApi api{};
  load(api.status_string, "cublasLtGetStatusString");
  load(api.create, "cublasLtCreate");
  load(api.destroy, "cublasLtDestroy");
  load(api.operation_create, "cublasLtMatmulDescCreate");
  load(api.operation_destroy, "cublasLtMatmulDescDestroy");
  load(api.operation_set, "cublasLtMatmulDescSetAttribute");
  load(api.layout_create, "cublasLtMatrixLayoutCreate");
  load(api.layout_destroy, "cublasLtMatrixLayoutDestroy");
  load(api.preference_create, "cublasLtMatmulPreferenceCreate");
  load(api.preference_destroy, "cublasLtMatmulPreferenceDestroy");
  load(api.preference_set, "cublasLtMatmulPreferenceSetAttribute");
  load(api.find_algorithm, "cublasLtMatmulAlgoGetHeuristic");
  load(api.matmul, "cublasLtMatmul");
  return api;
}

const CublasLtApi& api() {
  static const CublasLtApi loaded = load_api();
  return loaded;
}

void checked(cublasStatus_t status, const char* what) {
  check(status == CUBLAS_STATUS_SUCCESS, "cublaslt: {}: {}", what, api().status_string(status));
}

// Owns what the library makes.
template <class T, auto destroy>
struct Deleter {
  using pointer = T;
  void operator()(T object) const { (api().*destroy)(object); }
};
template <class T, auto destroy>
using Owned = std::unique_ptr<T, Deleter<T, destroy>>;
using Handle = Owned<cublasLtHandle_t, &CublasLtApi::destroy>;
using Operation = Owned<cublasLtMatmulDesc_t, &CublasLtApi::operation_destroy>;
using Layout = Owned<cublasLtMatrixLayout_t, &CublasLtApi::layout_destroy>;
using Preference = Owned<cublasLtMatmulPreference_t, &CublasLtApi::preference_destroy>;

// What an algorithm is chosen by.
struct Key {
  int64_t m, n, k, lda, ldb, ldc;
  DType in, out;
  bool transpose_a, transpose_b, accumulate, bias, tf32;
  uint32_t a_alignment, b_alignment, c_alignment;

  auto fields() const {
    return std::tie(m, n, k, lda, ldb, ldc, in, out, transpose_a, transpose_b, accumulate, bias,
                    tf32, a_alignment, b_alignment, c_alignment);
  }
  bool operator<(const Key& other) const { return fields() < other.fields(); }
};

struct Plan {
  Operation operation;
  Layout first, second, result;
  cublasLtMatmulAlgo_t algorithm;
};

cudaDataType_t cuda_type(DType dtype) {
  return dtype == DType::bf16 ? CUDA_R_16BF : dtype == DType::f64 ? CUDA_R_64F : CUDA_R_32F;
}

// The largest power of two that divides the address, up to what every block of a pool has: beyond
// that it is chance, which should not choose the algorithm.
uint32_t alignment_of(const Tensor& x) {
  const auto address = reinterpret_cast<uintptr_t>(x.raw());
  return 1u << std::countr_zero(address | MemoryPool::kGranule);
}

Key key_of(const MatmulArgs& p, bool tf32) {
  const auto [m, n, k] = sizes_of(p);
  return {.m = m,
          .n = n,
          .k = k,
          .lda = row_stride(p.a),
          .ldb = row_stride(p.b),
          .ldc = row_stride(p.c),
          .in = p.a.dtype(),
          .out = p.c.dtype(),
          .transpose_a = p.transpose_a,
          .transpose_b = p.transpose_b,
          .accumulate = p.accumulate,
          .bias = p.bias.defined(),
          .tf32 = tf32 && p.a.dtype() == DType::f32,
          .a_alignment = alignment_of(p.a),
          .b_alignment = alignment_of(p.b),
          .c_alignment = alignment_of(p.c)};
}

template <class T>
void set(const Operation& operation, cublasLtMatmulDescAttributes_t attribute, T value) {
  checked(api().operation_set(operation.get(), attribute, &value, sizeof value),
          "describing a product");
}
template <class T>
void set(const Preference& preference, cublasLtMatmulPreferenceAttributes_t attribute, T value) {
  checked(api().preference_set(preference.get(), attribute, &value, sizeof value),
          "stating preferences");
}

Operation make_operation(const Key& key) {
  const bool wide = key.in == DType::f64;
  const cublasComputeType_t compute = wide       ? CUBLAS_COMPUTE_64F
                                      : key.tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32
                                                 : CUBLAS_COMPUTE_32F;
  cublasLtMatmulDesc_t raw = nullptr;
  checked(api().operation_create(&raw, compute, wide ? CUDA_R_64F : CUDA_R_32F),
          "describing a product");
  Operation operation(raw);
  set(operation, CUBLASLT_MATMUL_DESC_TRANSA, key.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
  set(operation, CUBLASLT_MATMUL_DESC_TRANSB, key.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
  if (key.bias) set(operation, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
  return operation;
}

// Of a row-major [rows, columns] matrix.
Layout make_layout(DType dtype, int64_t rows, int64_t columns, int64_t stride) {
  cublasLtMatrixLayout_t raw = nullptr;
  checked(api().layout_create(&raw, cuda_type(dtype), uint64_t(columns), uint64_t(rows), stride),
          "describing a matrix");
  return Layout(raw);
}

Preference make_preference(const Key& key) {
  cublasLtMatmulPreference_t raw = nullptr;
  checked(api().preference_create(&raw), "stating preferences");
  Preference preference(raw);
  set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
      uint64_t(kCublasLtWorkspaceBytes - kCublasLtAlignment));
  // Parts of a sum that is split are added in f32, not in the dtype of c.
  set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
      uint32_t(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, key.b_alignment);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, key.a_alignment);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, key.c_alignment);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, key.c_alignment);
  return preference;
}

// The products of one context: its handle and the plans made so far.
class CublasLt {
 public:
  CublasLt() {
    cublasLtHandle_t raw = nullptr;
    checked(api().create(&raw), "starting the library");
    handle_.reset(raw);
  }

  cublasLtHandle_t handle() const { return handle_.get(); }

  const Plan& plan_for(const Key& key) {
    const auto found = plans_.find(key);
    if (found != plans_.end()) return found->second;
    if (plans_.size() == kMaxPlans) plans_.clear();
    return plans_.emplace(key, make_plan(key)).first->second;
  }

 private:
  static constexpr size_t kMaxPlans = 4096;  // far above what a model needs: a guard

  Plan make_plan(const Key& key) const {
    Plan plan{.operation = make_operation(key),
              .first = key.transpose_b ? make_layout(key.in, key.n, key.k, key.ldb)
                                       : make_layout(key.in, key.k, key.n, key.ldb),
              .second = key.transpose_a ? make_layout(key.in, key.k, key.m, key.lda)
                                        : make_layout(key.in, key.m, key.k, key.lda),
              .result = make_layout(key.out, key.m, key.n, key.ldc),
              .algorithm = {}};
    cublasLtMatmulHeuristicResult_t best{};
    int found = 0;
    const cublasStatus_t status = api().find_algorithm(
        handle(), plan.operation.get(), plan.first.get(), plan.second.get(), plan.result.get(),
        plan.result.get(), make_preference(key).get(), 1, &best, &found);
    check(status == CUBLAS_STATUS_SUCCESS && found == 1,
          "matmul: cuBLASLt has no algorithm for {} to {}, {} x {} x {} with rows {}, {} and {} "
          "apart: {}",
          key.in, key.out, key.m, key.k, key.n, key.lda, key.ldb, key.ldc,
          api().status_string(status));
    plan.algorithm = best.algo;
    return plan;
  }

  Handle handle_;
  std::map<Key, Plan> plans_;
};

template <class Scale>
void run(Context& ctx, CublasLt& library, const Plan& plan, const MatmulArgs& p,
         const Tensor& workspace) {
  const Scale one = 1, beta = p.accumulate ? 1 : 0;
  void* scratch = workspace.raw();
  size_t bytes = workspace.bytes();
  std::align(kCublasLtAlignment, bytes - kCublasLtAlignment, scratch, bytes);
  checked(api().matmul(library.handle(), plan.operation.get(), &one, p.b.raw(), plan.first.get(),
                       p.a.raw(), plan.second.get(), &beta, p.c.raw(), plan.result.get(), p.c.raw(),
                       plan.result.get(), &plan.algorithm, scratch, bytes,
                       static_cast<cudaStream_t>(ctx.pool().stream())),
          "matmul");
}

}  // namespace

bool has_cublaslt() {
  return true;
}

void cublaslt_matmul(Context& ctx, const MatmulArgs& p, const Tensor& workspace) {
  CublasLt& library = ctx.state<CublasLt>();
  const Plan& plan = library.plan_for(key_of(p, ctx.state<CublasLtOptions>().tf32));
  if (p.bias.defined()) {
    set(plan.operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, static_cast<const void*>(p.bias.raw()));
  }
  p.a.dtype() == DType::f64 ? run<double>(ctx, library, plan, p, workspace)
                            : run<float>(ctx, library, plan, p, workspace);
}

}  // namespace tessera
