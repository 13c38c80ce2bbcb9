#include "kernels/launch/gpu/philox.h"
#include "tests/kernels/launch/conformance/run_case.h"

namespace tessera::test {
namespace {

using namespace gpu;  // NOLINT

// Small integers, which every format represents and whose products add up exactly.
__device__ inline float small(int i) {
  return float((i * 7 + 3) % 13 - 6);
}
// 16-bit elements of shared memory that say where they are.
__device__ inline uint16_t place(int i) {
  return uint16_t(i * 257 + 11);
}
// Fragments of 16-bit types.
template <class T>
__device__ inline uint32_t small_pair(int i) {
  return pack<T>(small(2 * i), small(2 * i + 1));
}
// Fragments of 8-bit types.
template <class T>
__device__ inline uint32_t small_quad(int i) {
  uint32_t quad = 0;
  for (int j = 0; j < 4; ++j) quad |= uint32_t(from_float<T>(small(4 * i + j)).bits) << 8 * j;
  return quad;
}

__global__ void indices(Results out) {
  out.put(thread_index().x, block_index().x, uint32_t(lane()),
          uint32_t(warp()) + 256 * grid_size().x);
}

__global__ void shuffles(Results out) {
  const uint32_t v = 1000u + uint32_t(lane());
  out.put(shuffle(v, 5), shuffle_xor(v, 9), shuffle_down(v, 3), shuffle_up(v, 4));
}

__global__ void wide_shuffles(Results out) {
  const double v = 1.5 * lane();
  const int64_t w = int64_t{lane()} << 33;
  out.put(bits(float(shuffle(v, 7))), bits(float(shuffle_xor(v, 16))),
          uint32_t(shuffle_down(w, 2) >> 33), bits(shuffle_up(float(lane()), 1)));
}

__global__ void votes(Results out) {
  out.put(ballot(lane() % 3 == 0), any(lane() == 7), all(lane() >= 0), all(lane() < 31));
}

__global__ void one_elected(Results out) {
  const uint32_t elected = ballot(elect_one());
  out.put((elected & (elected - 1)) == 0 && elected != 0);
}

// Warp 0 produces, warp 1 consumes, by barriers 1 (full) and 2 (empty).
__global__ void named_barriers(Results out) {
  uint32_t* slot = shared_array<uint32_t, 32>();
  uint32_t seen[3] = {};
#pragma unroll
  for (int round = 0; round < 3; ++round) {
    if (warp() == 0) {
      if (round > 0) barrier_sync(2, 64);
      slot[lane()] = uint32_t(100 * round + lane());
      barrier_arrive(1, 64);
    } else {
      barrier_sync(1, 64);
      seen[round] = slot[31 - lane()];
      if (round < 2) barrier_arrive(2, 64);
    }
  }
  out.put(seen[0], seen[1], seen[2]);
}

__global__ void async_copies(Results out) {
  uint32_t* global = out.words + 4 * lane();
  store_global(global, Vector<uint32_t, 4>{{place(lane()), place(lane() + 100), 3, 4}});
  uint32_t* shared = shared_array<uint32_t, 256>();
  for (int i = lane(); i < 256; i += 32) shared[i] = 0xdeadbeefu;
  thread_fence();
  sync_warp();
  const int source_bytes = lane() % 5 ? 16 : 0;
  cp_async_16(shared_address(shared + 4 * lane()), global, source_bytes);
  cp_async_commit();
  cp_async_4(shared_address(shared + 128 + lane()), global + 1, lane() % 2 * 4);
  cp_async_commit();
  cp_async_wait<1>();
  const auto first = load_vector<uint32_t, 4>(shared + 4 * lane());
  cp_async_wait<0>();
  Digest rest;
  rest.add(first.v[2]);
  rest.add(first.v[3]);
  out.put(first.v[0], first.v[1], rest.value, shared[128 + lane()]);
}

// 32 rows of 8 places.
__device__ inline uint32_t place_rows() {
  uint16_t* rows = shared_array<uint16_t, 256>();
  for (int i = lane(); i < 256; i += 32) rows[i] = place(i);
  sync_warp();
  return shared_address(rows + 8 * lane());
}
__global__ void load_matrices(Results out) {
  uint32_t r[4];
  ldmatrix_x4(r, place_rows());
  out.put(r[0], r[1], r[2], r[3]);
}
__global__ void load_matrices_transposed(Results out) {
  uint32_t r[4];
  ldmatrix_x4_trans(r, place_rows());
  out.put(r[0], r[1], r[2], r[3]);
}
__global__ void load_two_matrices(Results out) {
  uint32_t r[2], t[2];
  const uint32_t row = place_rows();
  ldmatrix_x2(r, row);
  ldmatrix_x2_trans(t, row);
  out.put(r[0], r[1], t[0], t[1]);
}
template <bool kTransposed>
__global__ void store_matrices(Results out) {
  uint16_t* rows = shared_array<uint16_t, 256>();
  uint32_t r[4];
  for (int i = 0; i < 4; ++i) r[i] = uint32_t(lane() * 4 + i) * 0x10003u;
  if constexpr (kTransposed) {
    stmatrix_x4_trans(shared_address(rows + 8 * lane()), r);
  } else {
    stmatrix_x4(shared_address(rows + 8 * lane()), r);
  }
  sync_warp();
  const auto row = load_vector<uint32_t, 4>(reinterpret_cast<const uint32_t*>(rows + 8 * lane()));
  out.put(row.v[0], row.v[1], row.v[2], row.v[3]);
}

template <class T>
struct Fragments16 {
  uint32_t a[4], b[2];
  float d[4];
  __device__ Fragments16() {
    for (int i = 0; i < 4; ++i) a[i] = small_pair<T>(4 * lane() + i), d[i] = small(lane() + 9 * i);
    for (int i = 0; i < 2; ++i) b[i] = small_pair<T>(2 * lane() + i + 500);
  }
  __device__ void put(const Results& out) const {
    out.put(bits(d[0]), bits(d[1]), bits(d[2]), bits(d[3]));
  }
};
template <class T>
__global__ void multiply_16(Results out) {
  Fragments16<T> x;
  mma_m16n8k16<T>(x.d, x.a, x.b);
  x.put(out);
}
// What sm_75 runs instead, on any GPU.
__global__ void multiply_halves(Results out) {
  Fragments16<f16> x;
  mma_m16n8k8(x.d, {x.a[0], x.a[1]}, {x.b[0]});
  mma_m16n8k8(x.d, {x.a[2], x.a[3]}, {x.b[1]});
  x.put(out);
}
__global__ void multiply_8(Results out) {
  const uint32_t a[2] = {small_pair<f16>(2 * lane()), small_pair<f16>(2 * lane() + 1)};
  const uint32_t b[1] = {small_pair<f16>(lane() + 77)};
  float d[4] = {1, 2, 3, 4};
  mma_m16n8k8(d, a, b);
  out.put(bits(d[0]), bits(d[1]), bits(d[2]), bits(d[3]));
}
template <class A, class B>
__global__ void multiply_32(Results out) {
  uint32_t a[4], b[2];
  float d[4];
  for (int i = 0; i < 4; ++i) a[i] = small_quad<A>(4 * lane() + i), d[i] = small(lane() + 9 * i);
  for (int i = 0; i < 2; ++i) b[i] = small_quad<B>(2 * lane() + i + 500);
  mma_m16n8k32<A, B>(d, a, b);
  out.put(bits(d[0]), bits(d[1]), bits(d[2]), bits(d[3]));
}

__global__ void approximations(Results out) {
  const float x = 0.37f + 1.9f * float(lane());
  out.put(bits(exp2_approx(x - 30)), bits(log2_approx(x)), bits(rsqrt_approx(x)),
          bits(rcp_approx(x)));
}
__global__ void arithmetic(Results out) {
  const float x = 1.0f + 0x1p-12f * float(lane());
  out.put(bits(gpu::fma(x, x, -1.0f)), mul_hi(0x9E3779B9u, 0xD2511F53u * uint32_t(lane())),
          bits(gpu::max(from_bits(0x7fc00000u), x)), uint32_t(gpu::min(lane(), 20)));
}

// Numbers around the formats' edges: ties, subnormals, overflow.
__device__ inline float edge(int i) {
  const float scale = from_bits(uint32_t(127 + (i - 16) * 2) << 23);
  return (i % 2 ? -1.0f : 1.0f) * (1.0f + 0x1p-8f + float(i % 4) * 0x1p-9f) * scale;
}
template <class T>
__global__ void conversions(Results out) {
  const float x = edge(lane()), wide = 4096 * x;
  out.put(from_float<T>(x).bits, from_float<T>(wide).bits, bits(to_float(from_float<T>(x))),
          bits(to_float(from_float<T>(wide))));
}
template <class T>
__global__ void pairs(Results out) {
  const uint32_t pair = pack<T>(edge(lane()), small(lane()));
  float lo, hi;
  unpack<T>(pair, lo, hi);
  out.put(pair, bits(lo), bits(hi));
}

__global__ void vectors(Results out) {
  uint16_t* shared = shared_array<uint16_t, 1024>();
  for (int i = lane(); i < 1024; i += 32) shared[i] = place(i);
  sync_warp();
  const auto wide = load_vector<uint16_t, 16>(shared + 16 * lane());
  const auto two = load_vector<uint16_t, 2>(shared + 2 * lane());
  Digest digest;
  for (const uint16_t v : wide.v) digest.add(uint32_t{v});
  store_streaming(out.words + 4 * lane(), Words{{digest.value, two.v[0], two.v[1], 7}});
  const auto back = load_streaming<uint32_t, 4>(out.words + 4 * lane());
  out.put(back.v[0], back.v[1], back.v[2], back.v[3] + 1);
}

__global__ void atomics(Results out) {
  struct Totals {
    uint64_t wide;
    int32_t sum;
    uint32_t count, most;
    float real;
  };
  Totals* totals = shared_array<Totals, 1>();
  if (lane() == 0) *totals = {};
  sync_warp();
  atomic_add(&totals->wide, uint64_t{1} << lane());
  atomic_add(&totals->sum, lane() - 20);
  atomic_add(&totals->count, 3u);
  atomic_max(&totals->most, uint32_t(lane() * 5 % 32));
  atomic_add(&totals->real, float(lane()));
  sync_warp();
  out.put(uint32_t(totals->wide), uint32_t(totals->sum), totals->count + totals->most,
          bits(totals->real));
}

__global__ void random_numbers(Results out) {
  const Philox random(0x123456789abcdefull, 42, 7);
  const auto block = philox_block(random, uint64_t(lane()) << 30);
  out.put(block.v[0], block.v[3], philox_bits(random, uint64_t(lane())),
          bits(philox_uniform(random, uint64_t(lane()) + 1000)));
}

__global__ void dynamic_memory(Results out) {
  auto* words = reinterpret_cast<uint32_t*>(dynamic_shared<128>());
  words[thread_index().x] = thread_index().x * 3;
  sync_block();
  out.put(words[63 - thread_index().x], shared_address(words) % 128);
}

constexpr ConformanceCase kCases[] = {
    {"indices", 75, 0, run_case<indices, 64, 0, 2>},
    {"shuffle", 75, 0, run_case<shuffles>},
    {"shuffle_wide", 75, 0, run_case<wide_shuffles>},
    {"vote", 75, 0, run_case<votes>},
    {"elect", 75, 0, run_case<one_elected>},
    {"named_barrier", 75, 0, run_case<named_barriers, 64>},
    {"cp_async", 75, 0, run_case<async_copies>},
    {"ldmatrix_x4", 75, 0, run_case<load_matrices>},
    {"ldmatrix_x4_trans", 75, 0, run_case<load_matrices_transposed>},
    {"ldmatrix_x2", 75, 0, run_case<load_two_matrices>},
    {"stmatrix_x4", 90, 0, run_case<store_matrices<false>>},
    {"stmatrix_x4_trans", 90, 0, run_case<store_matrices<true>>},
    {"mma_m16n8k16_bf16", 80, 0, run_case<multiply_16<bf16>>},
    {"mma_m16n8k16_f16", 75, 0, run_case<multiply_16<f16>>},
    {"mma_m16n8k16_f16_halves", 75, 0, run_case<multiply_halves>},
    {"mma_m16n8k8_f16", 75, 0, run_case<multiply_8>},
    {"mma_m16n8k32_e4m3", 90, 0, run_case<multiply_32<e4m3, e4m3>>},
    {"mma_m16n8k32_e4m3_e5m2", 90, 0, run_case<multiply_32<e4m3, e5m2>>},
    {"mma_m16n8k32_e5m2_e4m3", 90, 0, run_case<multiply_32<e5m2, e4m3>>},
    {"mma_m16n8k32_e5m2", 90, 0, run_case<multiply_32<e5m2, e5m2>>},
    {"approximations", 75, 1e-6f, run_case<approximations>},
    {"arithmetic", 75, 0, run_case<arithmetic>},
    {"convert_bf16", 75, 0, run_case<conversions<bf16>>},
    {"convert_f16", 75, 0, run_case<conversions<f16>>},
    {"convert_e4m3", 75, 0, run_case<conversions<e4m3>>},
    {"convert_e5m2", 75, 0, run_case<conversions<e5m2>>},
    {"pack_bf16", 75, 0, run_case<pairs<bf16>>},
    {"pack_f16", 75, 0, run_case<pairs<f16>>},
    {"vectors", 75, 0, run_case<vectors>},
    {"atomics", 75, 0, run_case<atomics>},
    {"philox", 75, 0, run_case<random_numbers>},
    {"dynamic_shared", 75, 0, run_case<dynamic_memory, 64, 256>},
};

}  // namespace

template <>
std::span<const ConformanceCase> conformance_cases<TESSERA_GPU_DEVICE>() {
  return kCases;
}

}  // namespace tessera::test
