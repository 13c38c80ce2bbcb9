#include "tests/kernels/launch/conformance/run_case.h"

namespace tessera::test {
namespace {

using namespace gpu;  // NOLINT

constexpr int kRows = 64, kWarpgroup = 128;

__device__ inline float small(int i) {
  return float((i * 7 + 3) % 13 - 6);
}

// Rows [64] of 128 bytes of small numbers of T in shared memory, their 16-byte chunks permuted as
// Swizzle::bytes128 does; `seed` tells matrices apart.
template <class T>
__device__ inline void fill_swizzled(std::byte* tile, int seed) {
  constexpr int kColumns = 128 / int(sizeof(T));
  for (int i = int(thread_index().x); i < kRows * kColumns; i += int(block_size().x)) {
    const int row = i / kColumns, byte = i % kColumns * int(sizeof(T));
    const int chunk = byte / 16 ^ row % 8;
    *reinterpret_cast<T*>(tile + row * 128 + chunk * 16 + byte % 16) =
        from_float<T>(small(i * 5 + row * 3 + seed));
  }
}

template <int N>
__device__ inline void put_digest(const Results& out, const float (&d)[N]) {
  Digest digest;
  for (const float x : d) digest.add(x);
  out.put(digest.value, bits(d[0]), bits(d[1]), bits(d[N - 1]));
}

// d[64, 64] = a[64, 64] b[64, 64] in `steps` of 32 bytes of k; either operand may be mn-major: then
// its rows are those of k. The second product adds to the first.
template <class T, Major kA, Major kB>
__global__ void __launch_bounds__(kWarpgroup) multiply_shared(Results out) {
  std::byte *a = dynamic_shared<1024>(), *b = a + kRows * 128;
  fill_swizzled<T>(a, 1);
  fill_swizzled<T>(b, 2);
  fence_proxy_async();
  sync_block();
  // 32 bytes along k: in k-major rows, or 16 whole rows.
  constexpr uint32_t kStepA = kA == Major::k ? 32 : 16 * 128,
                     kStepB = kB == Major::k ? 32 : 16 * 128;
  float d[32] = {};
  wgmma_fence();
#pragma unroll
  for (int step = 0; step < 4; ++step) {
    wgmma_ss<64, T, T, kA, kB>(
        d, matrix_descriptor(shared_address(a) + step * kStepA, 0, 1024, Swizzle::bytes128),
        matrix_descriptor(shared_address(b) + step * kStepB, 0, 1024, Swizzle::bytes128), step > 0);
  }
  wgmma_commit();
  wgmma_wait<0>();
  put_digest(out, d);
}

// A barrier of 128 arrivals: even phases are between writing and reading, odd ones before the next
// writing.
__global__ void __launch_bounds__(kWarpgroup) arrive_and_wait(Results out) {
  uint64_t* barrier = shared_array<uint64_t, 1>();
  uint32_t* counts = shared_array<uint32_t, kWarpgroup>();
  const int thread = int(thread_index().x);
  if (thread == 0) {
    mbarrier_init(barrier, kWarpgroup);
    fence_mbarrier_init();
  }
  sync_block();
  uint32_t seen[3] = {};
#pragma unroll
  for (int round = 0; round < 3; ++round) {
    counts[thread] = uint32_t(100 * round + thread);
    mbarrier_arrive(barrier);
    mbarrier_wait(barrier, 0);
    seen[round] = counts[kWarpgroup - 1 - thread];
    mbarrier_arrive(barrier);
    mbarrier_wait(barrier, 1);
  }
  out.put(seen[0], seen[1], seen[2]);
}

// Fills rows [rows, 128 bytes] of b, more than kRows of them.
template <class T>
__device__ inline void fill_rows(std::byte* b, int rows) {
  for (int row = 0; row < rows; row += kRows) fill_swizzled<T>(b + row * 128, row);
}

// One product of a [64, K], in shared memory, for all N of the wrappers.
template <class T, int N>
__global__ void __launch_bounds__(kWarpgroup) multiply_wide(Results out) {
  std::byte *a = dynamic_shared<1024>(), *b = a + kRows * 128;
  fill_swizzled<T>(a, 1);
  fill_rows<T>(b, N);
  fence_proxy_async();
  sync_block();
  float d[N / 2];
  for (int i = 0; i < N / 2; ++i) d[i] = small(i);
  wgmma_hold(d);
  wgmma_fence();
  wgmma_ss<N, T>(d, matrix_descriptor(shared_address(a), 0, 1024, Swizzle::bytes128),
                 matrix_descriptor(shared_address(b), 0, 1024, Swizzle::bytes128), true);
  wgmma_commit();
  wgmma_wait<0>();
  put_digest(out, d);
}

// The same with a in registers.
template <class T, int N>
__global__ void __launch_bounds__(kWarpgroup) multiply_registers(Results out) {
  std::byte* b = dynamic_shared<1024>();
  fill_rows<T>(b, N);
  fence_proxy_async();
  sync_block();
  uint32_t a[4];
  for (int i = 0; i < 4; ++i) {
    a[i] = 0;
    for (int j = 0; j < 4 / int(sizeof(T)); ++j) {
      const float x = small(int(thread_index().x) * 4 + i + 31 * j);
      a[i] |= uint32_t(from_float<T>(x).bits) << 8 * int(sizeof(T)) * j;
    }
  }
  float d[N / 2];
  for (int i = 0; i < N / 2; ++i) d[i] = small(i);
  wgmma_hold(d);
  wgmma_fence();
  wgmma_rs<N, T>(d, a, matrix_descriptor(shared_address(b), 0, 1024, Swizzle::bytes128), true);
  wgmma_commit();
  wgmma_wait<0>();
  put_digest(out, d);
}

// Gives up registers in one warpgroup for two others: 168 each at entry.
__global__ void __launch_bounds__(3 * kWarpgroup, 1) trade_registers(Results out) {
  if (warp() < 4) {
    set_max_registers_dec<40>();
  } else {
    set_max_registers_inc<232>();
  }
  out.put(uint32_t(warp()));
}

// Loads a box that hangs over the tensor's edges, shows it, and stores it and adds it elsewhere.
template <int kRank>
__global__ void __launch_bounds__(kWarpgroup)
    move_boxes(Results out, const __grid_constant__ TensorMap from,
               const __grid_constant__ TensorMap to, int bytes) {
  std::byte* tile = dynamic_shared<1024>();
  uint64_t* barrier = shared_array<uint64_t, 1>();
  if (thread_index().x == 0) {
    tma_prefetch(from);
    mbarrier_init(barrier, 1);
    fence_mbarrier_init();
  }
  sync_block();
  if (thread_index().x == 0) {
    mbarrier_arrive_expect_tx(barrier, uint32_t(bytes));
    if constexpr (kRank == 2) tma_load_2d(tile, from, barrier, -4, 3);
    if constexpr (kRank == 3) tma_load_3d(tile, from, barrier, 4, -1, 1);
    if constexpr (kRank == 4) tma_load_4d(tile, from, barrier, 0, 1, 1, 0);
  }
  mbarrier_wait(barrier, 0);
  Digest digest;
  const auto* words = reinterpret_cast<const uint32_t*>(tile);
  for (int i = int(thread_index().x); i < bytes / 4; i += kWarpgroup) digest.add(words[i]);
  out.put(digest.value, words[thread_index().x % (bytes / 4)]);
  sync_block();
  if (thread_index().x != 0) return;
  if constexpr (kRank == 2) tma_store_2d(to, tile, 2, 1);
  if constexpr (kRank == 3) tma_store_3d(to, tile, 0, 0, 1);
  if constexpr (kRank == 4) tma_store_4d(to, tile, 0, 0, 1, 1);
  tma_commit();
  tma_wait<0>();
  if constexpr (kRank == 2) tma_reduce_add_2d(to, tile, 0, 0);
  if constexpr (kRank == 3) tma_reduce_add_3d(to, tile, 4, 1, 0);
  if constexpr (kRank == 4) tma_reduce_add_4d(to, tile, 0, 1, 0, 0);
  tma_commit();
  tma_wait_read<0>();
  tma_wait<0>();
}

// f32 tensors of 16 x 6 x 4 x 3, innermost first, cut down to kRank dimensions.
template <int kRank, Swizzle kSwizzle>
std::vector<uint32_t> run_boxes(Context& ctx) {
  constexpr int kSizes[] = {16, 6, 4, 3}, kBox[] = {8, 4, 2, 2};
  TensorLayout layout{.rank = kRank, .sizes = {}, .strides = {}, .box = {}, .swizzle = kSwizzle};
  int64_t elements = 1;
  int bytes = 4;
  for (int r = 0; r < kRank; ++r) {
    layout.sizes[r] = uint64_t(kSizes[r]);
    layout.box[r] = uint32_t(kBox[r]);
    if (r > 0) layout.strides[r - 1] = uint64_t(elements) * 4;
    elements *= kSizes[r];
    bytes *= kBox[r];
  }
  std::vector<float> values(size_t(elements), 0.0f);
  for (int64_t i = 0; i < elements; ++i) values[size_t(i)] = float(i % 251);
  const Tensor from = ctx.empty({elements}, DType::f32), to = ctx.zeros({elements}, DType::f32);
  upload(from, values.data());
  const Tensor words = ctx.zeros({kWarpgroup * kWordsPerThread}, DType::i32);
  launch(ctx, move_boxes<kRank>, {.threads = kWarpgroup, .shared_bytes = 4096},
         Results{reinterpret_cast<uint32_t*>(words.raw())},
         encode_tensor_map(from.data<float>(), layout), encode_tensor_map(to.data<float>(), layout),
         bytes);
  const std::vector<int32_t> seen = to_vector<int32_t>(words);
  std::vector<uint32_t> all(seen.begin(), seen.end());
  for (const float x : to_vector<float>(to)) all.push_back(std::bit_cast<uint32_t>(x));
  return all;
}

constexpr auto kK = Major::k, kMn = Major::mn;

constexpr ConformanceCase kCases[] = {
    {"wgmma_ss_bf16", 90, 0, run_case<multiply_shared<bf16, kK, kK>, kWarpgroup, 16384>},
    {"wgmma_ss_f16", 90, 0, run_case<multiply_shared<f16, kK, kK>, kWarpgroup, 16384>},
    {"wgmma_ss_bf16_b_mn", 90, 0, run_case<multiply_shared<bf16, kK, kMn>, kWarpgroup, 16384>},
    {"wgmma_ss_bf16_a_mn", 90, 0, run_case<multiply_shared<bf16, kMn, kK>, kWarpgroup, 16384>},
    {"wgmma_ss_e4m3", 90, 0, run_case<multiply_shared<e4m3, kK, kK>, kWarpgroup, 16384>},
    {"wgmma_ss_n80", 90, 0, run_case<multiply_wide<bf16, 80>, kWarpgroup, 24576>},
    {"wgmma_ss_n96", 90, 0, run_case<multiply_wide<f16, 96>, kWarpgroup, 24576>},
    {"wgmma_ss_n128", 90, 0, run_case<multiply_wide<bf16, 128>, kWarpgroup, 24576>},
    {"wgmma_ss_n176", 90, 0, run_case<multiply_wide<e5m2, 176>, kWarpgroup, 32768>},
    {"wgmma_ss_n192", 90, 0, run_case<multiply_wide<bf16, 192>, kWarpgroup, 32768>},
    {"wgmma_ss_n256", 90, 0, run_case<multiply_wide<e4m3, 256>, kWarpgroup, 40960>},
    {"wgmma_rs_n64", 90, 0, run_case<multiply_registers<bf16, 64>, kWarpgroup, 32768>},
    {"wgmma_rs_n80", 90, 0, run_case<multiply_registers<f16, 80>, kWarpgroup, 32768>},
    {"wgmma_rs_n96", 90, 0, run_case<multiply_registers<bf16, 96>, kWarpgroup, 32768>},
    {"wgmma_rs_n128", 90, 0, run_case<multiply_registers<e4m3, 128>, kWarpgroup, 32768>},
    {"wgmma_rs_n176", 90, 0, run_case<multiply_registers<bf16, 176>, kWarpgroup, 32768>},
    {"wgmma_rs_n192", 90, 0, run_case<multiply_registers<e5m2, 192>, kWarpgroup, 32768>},
    {"wgmma_rs_n256", 90, 0, run_case<multiply_registers<bf16, 256>, kWarpgroup, 32768>},
    {"mbarrier", 90, 0, run_case<arrive_and_wait, kWarpgroup>},
    {"setmaxnreg", 90, 0, run_case<trade_registers, 3 * kWarpgroup>},
    {"tma_2d", 90, 0, run_boxes<2, Swizzle::none>},
    {"tma_2d_swizzle_32", 90, 0, run_boxes<2, Swizzle::bytes32>},
    {"tma_3d", 90, 0, run_boxes<3, Swizzle::none>},
    {"tma_4d", 90, 0, run_boxes<4, Swizzle::bytes32>},
};

}  // namespace

template <>
std::span<const ConformanceCase> hopper_cases<TESSERA_GPU_DEVICE>() {
  return kCases;
}

}  // namespace tessera::test
