// Every instantiation of the attention kernels, and how each cuts its work.
#pragma once

#include <type_traits>

#include "kernels/attention/gpu.h"
#include "kernels/attention/mma_tile.cuh"
#include "kernels/launch/gpu/limits.h"

namespace tessera::gpu {
namespace {

// How a block cuts its work. Its row_warps warps own 16 * row_tiles rows each, once for each of
// column_warps equal parts of the head dimension; it walks over `columns` columns at a time.
struct BlockShape {
  int row_tiles, row_warps, column_warps, columns;
  int stages = 1;  // tiles of columns in shared memory: 2 let the next ones arrive during the work
};

template <class Storage, int kHeadDim, BlockShape kShape, bool kExtraTerms>
struct BlockConfig {
  using S = Storage;
  using T = Wide<S>;
  static constexpr int kD = kHeadDim, R = kShape.row_tiles, kColumns = kShape.columns;
  static constexpr int kStages = kShape.stages;
  static constexpr int kWarpRows = 16 * R, kRows = kWarpRows * kShape.row_warps;
  static constexpr int kThreads = kWarpSize * kShape.row_warps * kShape.column_warps;
  static constexpr int kOutColumns = kD / kShape.column_warps;  // of a warp
  static constexpr bool kExtras = kExtraTerms;
  using Scores = Sums<T, R, kColumns>;
  using Out = Sums<T, R, kOutColumns>;

  __device__ static int warp_row() { return warp() % kShape.row_warps * kWarpRows; }
  __device__ static int warp_column() { return warp() / kShape.row_warps * kOutColumns; }
};

// Block shapes by dtype and head-dimension bucket. 16-bit: at most 255 registers and 163 KiB of
// shared memory (sm_80). More rows a warp mean fewer reads of the columns' tiles from shared
// memory, which the products would otherwise wait for. f32 and f64 are for checks, not for speed.
struct ForwardShapes {
  template <class S, int kD, bool kExtras>
  static constexpr BlockShape of() {
    if (sizeof(S) == 8) return {1, 1, 4, 16};
    if (sizeof(S) == 4) return {1, 2, 2, 16};
    if (kD > 128) return {1, 8, 1, 32};
    if (kExtras) return {1, 8, 1, 64};
    return {2, 4, 1, 64};
  }
};
// Rows are queries, columns keys: for dq.
struct QueryGradientShapes {
  template <class S, int kD, bool>
  static constexpr BlockShape of() {
    if (sizeof(S) == 8) return {1, 1, 4, 8, 2};
    if (sizeof(S) == 4) return {1, 2, 2, 16, 2};
    if (kD > 128) return {1, 4, 1, 32, 2};
    return kD <= 64 ? BlockShape{2, 4, 1, 32, 2} : BlockShape{1, 8, 1, 64, 2};
  }
};
// Rows are keys, columns queries: for dk and dv, twice the sums. At D = 256 two warps share the
// columns of these and both compute the scores.
struct KeyGradientShapes {
  template <class S, int kD, bool kExtras>
  static constexpr BlockShape of() {
    if (sizeof(S) == 8) return {1, 1, 8, 8, 2};
    if (sizeof(S) == 4) return {1, 2, 2, 16, 2};
    if (kD > 128) return {1, 4, 2, 32, 2};
    if (kExtras) return {1, 8, 1, 32, 2};
    return kD <= 64 ? BlockShape{2, 4, 1, 32, 2} : BlockShape{1, 8, 1, 64, 2};
  }
};

// Rows are keys, columns queries: for dk, dv and dq in one pass; bf16 without extra terms only.
struct AllGradientShapes {
  template <class S, int kD, bool>
  static constexpr BlockShape of() {
    return {1, 8, 1, 64, 2};
  }
};

// For GPUs with less: at most 64 KiB, and 255 registers on sm_75, where a second stage would be of
// no use: nothing arrives meanwhile.
struct SmallForwardShapes {
  static constexpr bool kHasBf16 = false;  // the usual shapes fit into the 99 KiB of sm_86
  template <class S, int kD, bool>
  static constexpr BlockShape of() {
    if (sizeof(S) == 4) return {1, 2, 2, 16};
    if (kD > 128) return {1, 4, 1, 16};
    return {1, kD <= 64 ? 4 : 8, 1, 64};
  }
};
struct SmallQueryGradientShapes {
  static constexpr bool kHasBf16 = true;
  template <class S, int kD, bool>
  static constexpr BlockShape of() {
    if (sizeof(S) == 4) return {1, 2, 2, 8};
    if (kD > 128) return {1, 2, 2, 16};
    return {1, 4, 1, 32};
  }
};
struct SmallKeyGradientShapes {
  static constexpr bool kHasBf16 = true;
  template <class S, int kD, bool>
  static constexpr BlockShape of() {
    if (sizeof(S) == 4) return {1, 2, 2, 8};
    if (kD > 128) return {1, 2, 2, 16};
    return kD <= 64 ? BlockShape{1, 8, 1, 32} : BlockShape{1, 4, 1, 16};
  }
};

template <class Shapes, class S, int kD, bool kExtras>
using ConfigOf = BlockConfig<S, kD, Shapes::template of<S, kD, kExtras>(), kExtras>;

// Calls f.template operator()<C>() with the instantiation for the problem, or small() where the GPU
// has no shared memory for its Tiles<C>. Softcap, dropout, ALiBi and sinks run in kernels of their
// own, so that attention without them pays nothing; only bf16 up to D = 128 has kernels without.
// Head dimensions between the buckets are padded with zeros.
template <class Shapes, template <class> class Tiles, class S, class F, class Small>
void dispatch_config(Context& ctx, const AttentionProblem& p, const AttentionExtras& extras,
                     const F& f, const Small& small) {
  const GpuLimits limits = gpu_limits<TESSERA_GPU_DEVICE>(ctx);
  const auto call = [&]<int kD, bool kExtras>() {
    using C = ConfigOf<Shapes, S, kD, kExtras>;
    if (Tiles<C>::kBytes > limits.shared_bytes) return small();
    f.template operator()<C>();
  };
  if (limits.architecture < 80) return small();
  const bool plain = p.softcap == 0 && p.dropout == 0 && !extras.alibi_slopes && !extras.sink;
  if constexpr (std::is_same_v<S, bf16>) {
    if (plain && p.head_dim <= 64) return call.template operator()<64, false>();
    if (plain && p.head_dim <= 128) return call.template operator()<128, false>();
  }
  if constexpr (kTensorCores<S>) {
    if (p.head_dim <= 64) return call.template operator()<64, true>();
  }
  if constexpr (!std::is_same_v<S, double>) {
    if (p.head_dim <= 128) return call.template operator()<128, true>();
  }
  call.template operator()<256, true>();
}

// The same for the kernels of small GPUs: f16, bf16 where sm_80 and newer need it, and f32 up to
// D = 128. Throws Error for others.
template <class Shapes, template <class> class Tiles, class F>
void dispatch_small_config(Context& ctx, const AttentionProblem& p, const F& f) {
  const GpuLimits limits = gpu_limits<TESSERA_GPU_DEVICE>(ctx);
  const auto call = [&]<class S, int kD>() {
    using C = ConfigOf<Shapes, S, kD, true>;
    static_assert(Tiles<C>::kBytes <= 64 << 10);
    f.template operator()<C>();
  };
  check(p.dtype != DType::bf16 || limits.architecture >= 80,
        "attention: bf16 is not supported on {}, whose tensor cores lack it; use f16 or f32",
        describe_gpu<TESSERA_GPU_DEVICE>(ctx));
  const bool is_wide = p.head_dim > 128;
  if (p.dtype == DType::f16) {
    if (p.head_dim <= 64) return call.template operator()<f16, 64>();
    return is_wide ? call.template operator()<f16, 256>() : call.template operator()<f16, 128>();
  }
  if constexpr (Shapes::kHasBf16) {
    if (p.dtype == DType::bf16)
      return is_wide ? call.template operator()<bf16, 256>()
                     : call.template operator()<bf16, 128>();
  }
  if (p.dtype == DType::f32 && !is_wide) return call.template operator()<float, 128>();
  fail(
      "attention: {} with head size {} needs more shared memory a block than the {} bytes of {}; "
      "use f16, or f32 with head sizes up to 128",
      p.dtype, p.head_dim, limits.shared_bytes, describe_gpu<TESSERA_GPU_DEVICE>(ctx));
}

// Calls f.template operator()<S>() with the storage type of a dtype that the kernels compute with.
template <class F>
void dispatch_storage(DType dtype, const F& f) {
  switch (dtype) {
    case DType::bf16:
      return f.template operator()<bf16>();
    case DType::f16:
      return f.template operator()<f16>();
    case DType::f64:
      return f.template operator()<double>();
    default:
      return f.template operator()<float>();
  }
}

}  // namespace
}  // namespace tessera::gpu
