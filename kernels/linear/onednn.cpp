#include "kernels/linear/onednn.h"

#include <omp.h>

#include <map>
#include <oneapi/dnnl/dnnl.hpp>
#include <optional>
#include <string_view>
#include <tuple>
#include <unordered_map>

namespace tessera {
namespace {

using DataType = dnnl::memory::data_type;

// Everything that a primitive depends on.
struct PlanKey {
  int64_t m, n, k, lda, ldb, ldc;
  bool transpose_a, transpose_b, accumulate, bias, f32_input, f32_output;
  int threads;

  auto fields() const {
    return std::tie(m, n, k, lda, ldb, ldc, transpose_a, transpose_b, accumulate, bias, f32_input,
                    f32_output, threads);
  }
  bool operator<(const PlanKey& other) const { return fields() < other.fields(); }
};

PlanKey key_of(const MatmulArgs& args, int threads) {
  const auto [m, n, k] = sizes_of(args);
  return {.m = m,
          .n = n,
          .k = k,
          .lda = row_stride(args.a),
          .ldb = row_stride(args.b),
          .ldc = row_stride(args.c),
          .transpose_a = args.transpose_a,
          .transpose_b = args.transpose_b,
          .accumulate = args.accumulate,
          .bias = args.bias.defined(),
          .f32_input = args.a.dtype() == DType::f32,
          .f32_output = args.c.dtype() == DType::f32,
          .threads = threads};
}

dnnl::memory::desc matrix(int64_t rows, int64_t columns, DataType type, int64_t stride,
                          bool transposed = false) {
  return {{rows, columns},
          type,
          transposed ? dnnl::memory::dims{1, stride} : dnnl::memory::dims{stride, 1}};
}

// Whether b is laid out anew before an f32 product. It costs a pass over b, which many rows of a
// pay back (Zen 4: 5-25% faster, and 3% slower for more columns).
bool packs(const PlanKey& key) {
  constexpr int64_t kManyRows = 512, kFewColumns = 1024;
  return key.f32_input && key.m >= kManyRows && key.n <= kFewColumns;
}

// oneDNN 3.7 multiplies bf16 columns as if their elements were adjacent.
bool has_bf16_column(const PlanKey& key) {
  return !key.f32_input && (key.n == 1 || (key.transpose_a && key.m == 1));
}

struct Product {
  dnnl::memory::desc a, b, bias, c;
};

Product describe(const PlanKey& key) {
  const DataType input = key.f32_input ? DataType::f32 : DataType::bf16;
  return {.a = matrix(key.m, key.k, input, key.lda, key.transpose_a),
          .b = packs(key) ? dnnl::memory::desc({key.k, key.n}, input, dnnl::memory::format_tag::any)
                          : matrix(key.k, key.n, input, key.ldb, key.transpose_b),
          .bias = matrix(1, key.n, DataType::f32, key.n),
          .c = matrix(key.m, key.n, key.f32_output ? DataType::f32 : DataType::bf16, key.ldc)};
}

// oneDNN has two fast implementations. "gemm" takes any strides and accumulates in the output, if
// that is f32, without scratch memory; "brg" (batch-reduce GEMM) rounds to bf16 on the way. Each is
// the faster one at what it does in place (Zen 4: 2-8%). For f32 inputs "gemm" is what sgemm()
// runs, so only "brg" is of interest.
std::optional<dnnl::matmul::primitive_desc> choose(const PlanKey& key, const dnnl::engine& engine) {
  using Implementation = dnnl::matmul::primitive_desc;
  if (has_bf16_column(key)) return std::nullopt;
  const Product p = describe(key);
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (key.accumulate) {
    dnnl::post_ops sum;
    sum.append_sum(1.0f);
    attr.set_post_ops(sum);
  }
#if DNNL_VERSION_MAJOR >= 3
  const auto first = [&] {
    return key.bias ? Implementation(engine, p.a, p.b, p.bias, p.c, attr, /*allow_empty=*/true)
                    : Implementation(engine, p.a, p.b, p.c, attr, /*allow_empty=*/true);
  };
#else
  using Description = dnnl::matmul::desc;  // outlives the search: oneDNN 2 keeps a pointer to it
  const Description desc =
      key.bias ? Description(p.a, p.b, p.bias, p.c) : Description(p.a, p.b, p.c);
  const auto first = [&] { return Implementation(desc, attr, engine, /*allow_empty=*/true); };
#endif
  const bool gemm_first = key.f32_output && !key.f32_input;
  for (const bool want_gemm : {gemm_first, !gemm_first}) {
    if (want_gemm && key.f32_input) continue;
    Implementation found = first();
    if (!found) return std::nullopt;
    do {
      const std::string_view name = found.impl_info_str();
      if (name.starts_with(want_gemm ? "gemm:jit" : "brg")) return found;
    } while (found.next_impl());
  }
  return std::nullopt;
}

// A primitive with the memory objects it is run on; without a primitive where oneDNN has none. With
// `pack`, b is first laid out anew, in `packed`.
struct Plan {
  size_t scratch_bytes = 0, packed_bytes = 0;
  std::optional<dnnl::matmul> primitive;
  std::optional<dnnl::reorder> pack;
  dnnl::memory a, b, c, bias, scratch, packed;
};

class OneDnn {
 public:
  const Plan& plan_for(const PlanKey& key) {
    const auto found = plans_.find(key);
    if (found != plans_.end()) return found->second;
    if (plans_.size() == kMaxPlans) plans_.clear();
    return plans_.emplace(key, make_plan(key)).first->second;
  }

  void run(const Plan& plan, const MatmulArgs& args, const Tensor& scratch, const Tensor& packed) {
    const auto bind = [](dnnl::memory memory, const Tensor& x) {
      memory.set_data_handle(x.defined() ? x.raw() : nullptr);
      return memory;
    };
    dnnl::memory b = bind(plan.b, args.b);
    if (plan.pack) {
      dnnl::memory to = bind(plan.packed, packed);
      dnnl::reorder(*plan.pack).execute(stream_, b, to);
      b = to;
    }
    std::unordered_map<int, dnnl::memory> operands{
        {DNNL_ARG_SRC, bind(plan.a, args.a)},
        {DNNL_ARG_WEIGHTS, b},
        {DNNL_ARG_DST, bind(plan.c, args.c)},
        {DNNL_ARG_SCRATCHPAD, bind(plan.scratch, scratch)}};
    if (plan.bias) operands.emplace(DNNL_ARG_BIAS, bind(plan.bias, args.bias));
    plan.primitive->execute(stream_, operands);
  }

 private:
  static constexpr size_t kMaxPlans = 4096;  // far above what a model needs: a guard

  Plan make_plan(const PlanKey& key) const {
    Plan plan;
    const auto desc = choose(key, engine_);
    if (!desc) return plan;
    const auto unbound = [&](const dnnl::memory::desc& d) {
      return dnnl::memory(d, engine_, DNNL_MEMORY_NONE);
    };
    plan.primitive.emplace(*desc);
    plan.a = unbound(desc->src_desc());
    plan.b = unbound(desc->weights_desc());
    if (packs(key)) {
      plan.packed = plan.b;
      plan.packed_bytes = desc->weights_desc().get_size();
      plan.b = unbound(matrix(key.k, key.n, DataType::f32, key.ldb, key.transpose_b));
      plan.pack.emplace(dnnl::reorder::primitive_desc(plan.b, plan.packed));
    }
    plan.c = unbound(desc->dst_desc());
    plan.scratch = unbound(desc->scratchpad_desc());
    plan.scratch_bytes = desc->scratchpad_desc().get_size();
    if (key.bias) plan.bias = unbound(desc->bias_desc());
    return plan;
  }

  dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream_{engine_};
  std::map<PlanKey, Plan> plans_;
};

}  // namespace

void sgemm(Context& ctx, const MatmulArgs& args) {
  const auto [m, n, k] = sizes_of(args);
  omp_set_num_threads(ctx.threads());
  const dnnl_status_t status =
      dnnl_sgemm(args.transpose_a ? 'T' : 'N', args.transpose_b ? 'T' : 'N', m, n, k, 1.0f,
                 args.a.data<float>(), row_stride(args.a), args.b.data<float>(), row_stride(args.b),
                 args.accumulate ? 1.0f : 0.0f, args.c.data<float>(), row_stride(args.c));
  check(status == dnnl_success, "matmul: dnnl_sgemm gave status {} for sizes [{}, {}] [{}, {}]",
        int(status), m, k, k, n);
}

bool primitive_matmul(Context& ctx, const MatmulArgs& args) {
  omp_set_num_threads(ctx.threads());  // the scratch memory depends on it
  OneDnn& onednn = ctx.state<OneDnn>();
  const Plan& plan = onednn.plan_for(key_of(args, ctx.threads()));
  if (!plan.primitive) return false;
  const Tensor scratch = ctx.workspace(plan.scratch_bytes);
  const Tensor packed = ctx.workspace(plan.packed_bytes);
  if (!ctx.is_meta()) onednn.run(plan, args, scratch, packed);
  return true;
}

}  // namespace tessera
