// Attention forward with TMA and wgmma: a warpgroup that loads, two that compute 64 rows each and
// take turns at the tensor cores by named barriers.
#include <cmath>

#include "kernels/launch/gpu/device.h"
#include "tests/kernels/launch/simt/mutants/mutants.h"
#include "tests/kernels/launch/simt/mutants/problems.h"
#include "tests/kernels/launch/simt/run_kernel.h"

namespace tessera::simt_test {
namespace {

using namespace gpu;  // NOLINT
using Bug = HopperAttentionBug;

constexpr int kRows = 128, kKeys = 64, kHead = 64, kStages = 2, kThreads = 384;
constexpr uint32_t kRowBytes = kHead * 2, kTileBytes = kKeys * kRowBytes;
constexpr float kLog2E = 1.44269504f, kLn2 = 0.69314718f;

struct Arguments {
  TensorMap q, k, v, o;
  float* lse;
  int sequence;
  bool causal;
  Bug bug;
};

struct Shared {
  std::byte *q, *k, *v;
  uint64_t *q_full, *k_full, *v_full, *k_empty, *v_empty;

  __device__ static Shared make(Bug bug) {
    std::byte* tiles = bug == Bug::weak_alignment ? dynamic_shared<128>() : dynamic_shared<1024>();
    uint64_t* barriers = shared_array<uint64_t, 1 + 4 * kStages>();
    return {.q = tiles,
            .k = tiles + kRows * kRowBytes,
            .v = tiles + kRows * kRowBytes + kStages * kTileBytes,
            .q_full = barriers,
            .k_full = barriers + 1,
            .v_full = barriers + 1 + kStages,
            .k_empty = barriers + 1 + 2 * kStages,
            .v_empty = barriers + 1 + 3 * kStages};
  }

  __device__ void init() const {
    mbarrier_init(q_full, 1);
    for (int i = 0; i < kStages; ++i) {
      mbarrier_init(&k_full[i], 1);
      mbarrier_init(&v_full[i], 1);
      mbarrier_init(&k_empty[i], 2);
      mbarrier_init(&v_empty[i], 2);
    }
    fence_mbarrier_init();
  }
};

__device__ void produce(const Arguments& x, const Shared& s, int first, int head, int blocks) {
  mbarrier_arrive_expect_tx(s.q_full, kRows * kRowBytes);
  tma_load_3d(s.q, x.q, s.q_full, 0, head, first);
  for (int j = 0; j < blocks; ++j) {
    const int stage = j % kStages;
    const uint32_t parity = uint32_t(j / kStages) & 1;
    mbarrier_wait(&s.k_empty[stage], parity ^ 1);
    mbarrier_arrive_expect_tx(&s.k_full[stage], kTileBytes);
    const bool swap = x.bug == Bug::coordinates_swapped;
    tma_load_3d(s.k + stage * int(kTileBytes), x.k, &s.k_full[stage], 0, swap ? j * kKeys : head,
                swap ? head : j * kKeys);
    mbarrier_wait(&s.v_empty[stage], parity ^ 1);
    if (x.bug == Bug::no_expected_bytes) {
      mbarrier_arrive(&s.v_full[stage]);
    } else {
      mbarrier_arrive_expect_tx(&s.v_full[stage], kTileBytes);
    }
    tma_load_3d(s.v + stage * int(kTileBytes), x.v, &s.v_full[stage], 0, head, j * kKeys);
  }
}

// One of the two warpgroups that compute.
class Consumer {
 public:
  __device__ Consumer(const Arguments& x, const Shared& s, int part, int first, int head)
      : x_(x),
        s_(s),
        part_(part),
        head_(head),
        first_(first + part * 64),
        row_(first_ + warp() % 4 * 16 + lane() / 4),
        queries_(shared_address(s.q) + uint32_t(part) * 64 * kRowBytes),
        leads_(thread_index().x % 128 == 0) {}

  __device__ void run(int blocks) {
    if (part_ == 1 && x_.bug != Bug::first_turn_missing) barrier_arrive(2, 256);
    mbarrier_wait(s_.q_full, 0);
    for (int j = 0; j < blocks; ++j) {
      float s[32];
      scores(s, j, blocks);
      mask(s, j * kKeys);
      softmax(s);
      add_values(s, j);
    }
    finish();
  }

 private:
  __device__ void scores(float (&s)[32], int j, int blocks) {
    const int stage = j % kStages;
    mbarrier_wait(&s_.k_full[stage], uint32_t(j / kStages) & 1);
    barrier_sync(2 + part_, x_.bug == Bug::barrier_count && part_ == 1 ? 128 : 256);
    const uint32_t keys = shared_address(s_.k + stage * int(kTileBytes));
    wgmma_fence();
    for (uint32_t k = 0; k < 4; ++k) {
      wgmma_ss<kKeys>(s, matrix_descriptor(queries_ + k * 32, 16, 1024, Swizzle::bytes128),
                      matrix_descriptor(keys + k * 32, 16, 1024, Swizzle::bytes128), k > 0);
    }
    wgmma_commit();
    if (part_ == 0 || j + 1 < blocks) barrier_arrive(2 + (part_ ^ 1), 256);
    if (x_.bug != Bug::read_before_wait) wgmma_wait<0>();
    if (leads_) mbarrier_arrive(&s_.k_empty[stage]);
  }

  __device__ void mask(float (&s)[32], int first_column) const {
    for (int i = 0; i < 32; ++i) {
      const int column = first_column + i / 4 * 8 + lane() % 4 * 2 + i % 2;
      const int row = row_ + i / 2 % 2 * 8;
      const bool later = x_.causal && column + (x_.bug == Bug::causal_off_by_one) > row;
      if (column >= x_.sequence || later) s[i] = -INFINITY;
    }
  }

  __device__ void softmax(float (&s)[32]) {
    const float scale = AttentionProblem::kScale * kLog2E;
    for (int e = 0; e < 2; ++e) {
      float m = most_[e];
      for (int n = 0; n < 8; ++n) m = max(m, max(s[n * 4 + e * 2], s[n * 4 + e * 2 + 1]));
      if (x_.bug != Bug::divergent_shuffle || lane() < 16) m = max(m, shuffle_xor(m, 1));
      m = max(m, shuffle_xor(m, 2));
      const float base = m == -INFINITY ? 0.0f : m * scale;
      const float decay = exp2_approx(most_[e] * scale - base);
      float total = 0;
      for (int n = 0; n < 8; ++n) {
        for (int i = n * 4 + e * 2; i < n * 4 + e * 2 + 2; ++i) {
          s[i] = exp2_approx(s[i] * scale - base);
          total += s[i];
          acc_[i] *= decay;
        }
      }
      most_[e] = m;
      sum_[e] = sum_[e] * decay + total;
    }
  }

  __device__ void add_values(const float (&s)[32], int j) {
    const int stage = j % kStages;
    uint32_t p[4][4];
    for (int k = 0; k < 4; ++k) {
      for (int i = 0; i < 4; ++i) {
        const int from = x_.bug == Bug::fragments_swapped ? i % 2 * 2 + i / 2 : i;
        p[k][i] = pack<bf16>(s[k * 8 + from * 2], s[k * 8 + from * 2 + 1]);
      }
    }
    const uint32_t parity = uint32_t(j / kStages) & 1;
    mbarrier_wait(&s_.v_full[stage], parity ^ (x_.bug == Bug::value_parity));
    const uint32_t values = shared_address(s_.v + stage * int(kTileBytes));
    const uint32_t step = x_.bug == Bug::value_step ? 32 : 16 * kRowBytes;
    wgmma_fence();
    for (uint32_t k = 0; k < 4; ++k) {
      const uint64_t b = matrix_descriptor(values + k * step, 1024, 1024, Swizzle::bytes128);
      if (x_.bug == Bug::value_major) {
        wgmma_rs<kHead>(acc_, p[k], b, true);
      } else {
        wgmma_rs<kHead, bf16, bf16, Major::mn>(acc_, p[k], b, true);
      }
    }
    wgmma_commit();
    if (x_.bug == Bug::operand_overwritten) p[3][0] = 0;
    wgmma_wait<0>();
    if (leads_) mbarrier_arrive(&s_.v_empty[stage]);
  }

  // O leaves by the shared memory of the warpgroup's own queries.
  __device__ void finish() {
    for (int e = 0; e < 2; ++e) {
      float total = sum_[e] + shuffle_xor(sum_[e], 1);
      total += shuffle_xor(total, 2);
      for (int i = 0; i < 32; ++i) {
        if (i / 2 % 2 == e) acc_[i] /= total;
      }
      const int row = row_ + e * 8;
      if (lane() % 4 == 0 && row < x_.sequence) {
        x_.lse[head_ * x_.sequence + row] =
            most_[e] * AttentionProblem::kScale + kLn2 * log2_approx(total);
      }
    }
    for (int pair = 0; pair < 4; ++pair) {
      uint32_t r[4];
      for (int i = 0; i < 4; ++i) {
        r[i] = pack<bf16>(acc_[pair * 8 + i * 2], acc_[pair * 8 + i * 2 + 1]);
      }
      const int matrix = lane() / 8, row = warp() % 4 * 16 + matrix % 2 * 8 + lane() % 8;
      const int chunk = pair * 2 + matrix / 2;
      stmatrix_x4(queries_ + uint32_t(row) * kRowBytes + uint32_t((chunk ^ (row & 7)) << 4), r);
    }
    if (x_.bug != Bug::no_proxy_fence) fence_proxy_async();
    if (x_.bug != Bug::no_barrier_before_store) barrier_sync(4 + part_, 128);
    if (!leads_) return;
    tma_store_3d(x_.o, s_.q + part_ * 64 * int(kRowBytes), 0, head_, first_);
    tma_commit();
    tma_wait<0>();
  }

  const Arguments& x_;
  const Shared& s_;
  int part_, head_, first_, row_;
  uint32_t queries_;
  bool leads_;
  float acc_[32] = {}, most_[2] = {-INFINITY, -INFINITY}, sum_[2] = {};
};

__global__ void attention_kernel(const __grid_constant__ Arguments x) {
  const Shared s = Shared::make(x.bug);
  const int first = int(block_index().x) * kRows, head = int(block_index().y);
  const int end = x.causal ? min(first + kRows, x.sequence) : x.sequence;
  const int blocks = (end + kKeys - 1) / kKeys, group = int(thread_index().x) / 128;
  if (thread_index().x == 0) s.init();
  sync_block();
  if (group == 0) {
    set_max_registers_dec<24>();
    if (warp() == 0 && (x.bug == Bug::no_elect || elect_one())) produce(x, s, first, head, blocks);
  } else {
    if (x.bug == Bug::too_many_registers) {
      set_max_registers_inc<248>();
    } else {
      set_max_registers_inc<240>();
    }
    Consumer(x, s, group - 1, first, head).run(blocks);
  }
}

TensorMap map_of(const std::vector<bf16>& x, const AttentionProblem& p, int rows) {
  return encode_tensor_map(
      x.data(), {.rank = 3,
                 .sizes = {kHead, uint64_t(p.heads), uint64_t(p.sequence)},
                 .strides = {kHead * sizeof(bf16), uint64_t(p.heads) * kHead * sizeof(bf16)},
                 .box = {kHead, 1, uint32_t(rows)},
                 .swizzle = Swizzle::bytes128});
}

std::string run(const simt::Options& options, AttentionProblem p, Bug bug) {
  const Arguments x{.q = map_of(p.q, p, kRows),
                    .k = map_of(p.k, p, kKeys),
                    .v = map_of(p.v, p, kKeys),
                    .o = map_of(p.o, p, 64),
                    .lse = p.lse.data(),
                    .sequence = p.sequence,
                    .causal = p.causal,
                    .bug = bug};
  const int bytes = int(kRows * kRowBytes + 2 * kStages * kTileBytes);
  const gpu::Grid grid{
      .x = unsigned((p.sequence + kRows - 1) / kRows),
      .y = unsigned(p.heads),
      .threads = kThreads,
      .shared_bytes = bytes - (bug == Bug::too_little_shared_memory ? int(kTileBytes) : 0)};
  const std::string error = error_of(options, attention_kernel, grid, x);
  return error.empty() ? p.verdict() : error;
}

}  // namespace

std::string run_hopper_attention(const simt::Options& options, HopperAttentionBug bug) {
  const std::string causal = run(options, AttentionProblem(193, 1, true, options.seed), bug);
  return causal.empty() ? run(options, AttentionProblem(200, 2, false, options.seed), bug) : causal;
}

}  // namespace tessera::simt_test
