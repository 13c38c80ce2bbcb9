// mbarriers and copies by TMA.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "kernels/launch/gpu/device.h"
#include "tests/kernels/launch/simt/run_kernel.h"

namespace tessera::simt_test {
namespace {

using testing::HasSubstr;
using namespace gpu;  // NOLINT

// Thread 0 of each warp arrives in every phase; the others poll or wait.
__global__ void phases_kernel(int phases, bool poll, int* out) {
  uint64_t* barrier = shared_array<uint64_t, 1>();
  int* counter = shared_array<int, 1>();
  if (thread_index().x == 0) {
    mbarrier_init(barrier, 4);
    *counter = 0;
    fence_mbarrier_init();
  }
  sync_block();
  for (int i = 0; i < phases; ++i) {
    if (lane() == 0) {
      atomic_add(counter, 1);
      mbarrier_arrive(barrier);
    }
    if (poll) {
      while (!mbarrier_try_wait(barrier, uint32_t(i) & 1)) {
      }
    } else {
      mbarrier_wait(barrier, uint32_t(i) & 1);
    }
    if (thread_index().x == 99) out[i] = atomic_add(counter, 0);
    sync_block();
  }
}

TEST(SimtMbarrier, PhasesEndWhenAllHaveArrived) {
  for (const bool poll : {false, true}) {
    for (uint64_t seed = 0; seed < 10; ++seed) {
      std::vector<int> out(5);
      ASSERT_EQ(error_of({.seed = seed}, phases_kernel, {.threads = 128}, 5, poll, out.data()), "");
      for (int i = 0; i < 5; ++i) EXPECT_EQ(out[size_t(i)], 4 * (i + 1));
    }
  }
}

// One lane polls until the other warps have arrived.
__global__ void poll_kernel(int* out) {
  uint64_t* barrier = shared_array<uint64_t, 1>();
  if (thread_index().x == 0) mbarrier_init(barrier, block_size().x / kWarpSize - 1);
  sync_block();
  if (warp() != 0) {
    if (lane() == 0) mbarrier_arrive(barrier);
    return;
  }
  while (lane() == 0 && !mbarrier_try_wait(barrier, 0)) {
  }
  sync_warp();
  out[lane()] = 1;
}

TEST(SimtMbarrier, PollingLetsOthersRun) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    std::vector<int> out(32);
    ASSERT_EQ(error_of({.seed = seed, .schedule = simt::Schedule::pct}, poll_kernel,
                       {.threads = 1024}, out.data()),
              "");
    EXPECT_EQ(out, std::vector<int>(32, 1));
  }
}

enum class Bug {
  uninitialised,
  overwritten,
  parity,
  arrivals,
  misaligned,
  bytes_missing,
  one_missing
};

__global__ void wrong_barrier_kernel(Bug bug) {
  uint64_t* barrier = shared_array<uint64_t, 2>();
  if (bug == Bug::misaligned) {
    mbarrier_init(reinterpret_cast<uint64_t*>(reinterpret_cast<char*>(barrier) + 4), 1);
  }
  if (bug != Bug::uninitialised) mbarrier_init(barrier, bug == Bug::one_missing ? 2 : 1);
  if (bug == Bug::overwritten) barrier[0] = 0;
  if (bug == Bug::bytes_missing) {
    mbarrier_arrive_expect_tx(barrier, 64);
    return;
  }
  mbarrier_arrive(barrier);
  if (bug == Bug::arrivals) {
    mbarrier_init(barrier, 1);
    mbarrier_arrive_expect_tx(barrier, 64);
    mbarrier_arrive(barrier);
  }
  mbarrier_wait(barrier, bug == Bug::parity ? 2 : 0);
}

TEST(SimtMbarrier, FindsMisuse) {
  const auto report = [](Bug bug) {
    return error_of({.race = simt::Switch::off}, wrong_barrier_kernel, {.threads = 1}, bug);
  };
  EXPECT_THAT(report(Bug::uninitialised), HasSubstr("no mbarrier has been initialised"));
  EXPECT_THAT(report(Bug::overwritten), HasSubstr("has been overwritten"));
  EXPECT_THAT(report(Bug::parity), HasSubstr("parity 2 is neither 0 nor 1"));
  EXPECT_THAT(report(Bug::arrivals), HasSubstr("more than the 1 arrivals in one phase"));
  EXPECT_THAT(report(Bug::misaligned), HasSubstr("is not aligned to 8 bytes"));
  EXPECT_THAT(report(Bug::bytes_missing), HasSubstr("exits with a pending count of 64 bytes"));
  EXPECT_THAT(report(Bug::one_missing),
              HasSubstr("waits for the end of phase parity 0; phase parity 0 after 0 phases, 1 of "
                        "2 arrivals and 0 bytes pending"));
}

// A [16 of 18] x 3 x 2 x 2 tensor of f32, whose element (x, y, z, w) is x + 100 y + 1000 z + 10000
// w.
struct Tensor4 {
  std::vector<float> values = std::vector<float>(20 * 3 * 2 * 2);

  Tensor4() {
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] = float(i % 20 + i / 20 % 3 * 100 + i / 60 % 2 * 1000 + i / 120 * 10000);
    }
  }
  TensorMap map(int rank, std::array<uint32_t, 5> box, Swizzle swizzle = Swizzle::none) const {
    return encode_tensor_map(values.data(), {.rank = rank,
                                             .sizes = {18, 3, 2, 2},
                                             .strides = {80, 240, 480},
                                             .box = box,
                                             .swizzle = swizzle});
  }
  static float at(int x, int y, int z, int w) {
    const bool inside = x >= 0 && x < 18 && y >= 0 && y < 3 && z >= 0 && z < 2 && w >= 0 && w < 2;
    return inside ? float(x + 100 * y + 1000 * z + 10000 * w) : 0.0f;
  }
};

struct Position {
  int rank, x, y, z, w;
};

__global__ void load_kernel(const __grid_constant__ TensorMap map, Position p, uint32_t bytes,
                            float* out) {
  std::byte* tile = dynamic_shared<1024>();
  uint64_t* barrier = shared_array<uint64_t, 1>();
  if (thread_index().x == 0) {
    mbarrier_init(barrier, 1);
    fence_mbarrier_init();
    tma_prefetch(map);
    mbarrier_arrive_expect_tx(barrier, bytes);
    if (p.rank == 2) tma_load_2d(tile, map, barrier, p.x, p.y);
    if (p.rank == 3) tma_load_3d(tile, map, barrier, p.x, p.y, p.z);
    if (p.rank == 4) tma_load_4d(tile, map, barrier, p.x, p.y, p.z, p.w);
  }
  sync_block();
  mbarrier_wait(barrier, 0);
  const float* values = reinterpret_cast<const float*>(tile);
  for (uint32_t i = thread_index().x; i < bytes / 4; i += 64) out[i] = values[i];
}

TEST(SimtTma, LoadsBoxesWithZerosOutside) {
  const Tensor4 tensor;
  for (const Position p : {Position{2, 4, 1, 0, 0}, Position{2, -3, -1, 0, 0},
                           Position{3, 14, 2, 1, 0}, Position{4, 0, 0, -1, 1}}) {
    for (uint64_t seed = 0; seed < 6; ++seed) {
      std::vector<float> out(8 * 2 * 2 * 2);
      const std::array<uint32_t, 5> box{8, 2, p.rank > 2 ? 2u : 1u, p.rank > 3 ? 2u : 1u};
      const uint32_t elements = 8 * 2 * box[2] * box[3];
      ASSERT_EQ(error_of({.seed = seed}, load_kernel, {.threads = 64, .shared_bytes = 1024},
                         tensor.map(p.rank, box), p, elements * 4, out.data()),
                "");
      for (int i = 0; i < int(elements); ++i) {
        EXPECT_EQ(out[size_t(i)],
                  Tensor4::at(p.x + i % 8, p.y + i / 8 % 2, p.z + i / 16 % 2, p.w + i / 32));
      }
    }
  }
}

TEST(SimtTma, SwizzlesChunks) {
  const Tensor4 tensor;
  std::vector<float> out(16);
  ASSERT_EQ(
      error_of({}, load_kernel, {.threads = 64, .shared_bytes = 1024},
               tensor.map(2, {8, 2}, Swizzle::bytes32), Position{2, 0, 0, 0, 0}, 64u, out.data()),
      "");
  EXPECT_EQ(out[0], 0) << "the first rows of 128 bytes stay";
  EXPECT_EQ(out[8], 100);
  const TensorMap large = tensor.map(3, {8, 3, 2}, Swizzle::bytes32);
  std::vector<float> more(48);
  ASSERT_EQ(error_of({}, load_kernel, {.threads = 64, .shared_bytes = 1024}, large,
                     Position{3, 0, 0, 0, 0}, 192u, more.data()),
            "");
  // Row 4, at 128 bytes: bit 7 of the address flips bit 4.
  EXPECT_EQ(more[32], Tensor4::at(4, 1, 1, 0));
  EXPECT_EQ(more[36], Tensor4::at(0, 1, 1, 0));
}

template <class T>
__global__ void store_kernel(const __grid_constant__ TensorMap map, bool reduce, int x, int y) {
  T* tile = reinterpret_cast<T*>(dynamic_shared<128>());
  for (int i = 0; i < 16; ++i) {
    if (thread_index().x == 0) tile[i] = from_float<T>(float(i + 1));
  }
  fence_proxy_async();
  sync_block();
  if (thread_index().x != 0) return;
  if (reduce) {
    tma_reduce_add_2d(map, tile, x, y);
  } else {
    tma_store_2d(map, tile, x, y);
  }
  tma_commit();
  tma_wait_read<0>();
  tma_wait<0>();
}

template <class T>
void expect_store(bool reduce) {
  constexpr int kColumns = 16;
  alignas(16) T values[3 * kColumns];
  for (T& v : values) v = from_float<T>(0.5f);
  const int box = 16 / int(sizeof(T)) * (sizeof(T) == 4 ? 2 : 1);
  const TensorMap map = encode_tensor_map(
      values,
      {.rank = 2, .sizes = {13, 3}, .strides = {kColumns * sizeof(T)}, .box = {uint32_t(box), 2}});
  ASSERT_EQ(error_of({}, store_kernel<T>, {.x = 2, .threads = 32, .shared_bytes = 128}, map, reduce,
                     8, 1),
            "");
  for (int i = 0; i < 3 * kColumns; ++i) {
    const int row = i / kColumns - 1, column = i % kColumns - 8;
    const bool written = row >= 0 && row < 2 && column >= 0 && column < 5;
    const float value = float(row * box + column + 1);
    EXPECT_EQ(to_float(values[i]), !written ? 0.5f : reduce ? 0.5f + 2 * value : value) << i;
  }
}

TEST(SimtTma, StoresAndAddsInsideOnly) {
  expect_store<float>(false);
  expect_store<float>(true);
  expect_store<bf16>(false);
  expect_store<bf16>(true);
  expect_store<f16>(true);
}

TEST(SimtTma, FindsMisuse) {
  const Tensor4 tensor;
  std::vector<float> out(64);
  const auto report = [&](const TensorMap& map, Position p, uint32_t bytes, int shared_bytes) {
    return error_of({}, load_kernel, {.threads = 64, .shared_bytes = shared_bytes}, map, p, bytes,
                    out.data());
  };
  const TensorMap map = tensor.map(2, {8, 2});
  EXPECT_THAT(report(TensorMap{}, {2, 0, 0, 0, 0}, 64, 1024), HasSubstr("is no tensor map"));
  EXPECT_THAT(report(map, {3, 0, 0, 0, 0}, 64, 1024),
              HasSubstr("tma_load_3d: the tensor map has 2 dimensions"));
  EXPECT_THAT(report(map, {2, 0, 0, 0, 0}, 64, 32), HasSubstr("are in no array"));
  EXPECT_THAT(report(map, {2, 0, 0, 0, 0}, 80, 1024), HasSubstr("16 bytes pending"));
}

enum class End { right, store_unfinished, store_uncommitted, load_unfinished, init_not_fenced };

__global__ void end_kernel(const __grid_constant__ TensorMap map, End end) {
  std::byte* tile = dynamic_shared<1024>();
  uint64_t* barrier = shared_array<uint64_t, 1>();
  mbarrier_init(barrier, 1);
  if (end != End::init_not_fenced) fence_mbarrier_init();
  mbarrier_arrive_expect_tx(barrier, 64);
  tma_load_2d(tile, map, barrier, 0, 0);
  if (end == End::load_unfinished) return;
  mbarrier_wait(barrier, 0);
  tma_store_2d(map, tile, 0, 0);
  if (end != End::store_uncommitted) tma_commit();
  if (end != End::store_unfinished) tma_wait<0>();
}

TEST(SimtTma, CopiesEndBeforeTheBlock) {
  const Tensor4 tensor;
  const auto report = [&](End end) {
    return error_of({.async = simt::AsyncDelivery::late}, end_kernel,
                    {.threads = 1, .shared_bytes = 1024}, tensor.map(2, {8, 2}), end);
  };
  EXPECT_EQ(report(End::right), "");
  EXPECT_THAT(report(End::store_unfinished), HasSubstr("exits without waiting for the store"));
  EXPECT_THAT(report(End::store_uncommitted), HasSubstr("exits without waiting for the store"));
  EXPECT_THAT(report(End::load_unfinished), HasSubstr("block exits without waiting for the copy"));
}

TEST(SimtTma, SeesMbarriersAfterAFence) {
  const Tensor4 tensor;
  EXPECT_THAT(error_of({}, end_kernel, {.threads = 1, .shared_bytes = 1024}, tensor.map(2, {8, 2}),
                       End::init_not_fenced),
              HasSubstr("tma_load: no fence_mbarrier_init since the initialisation"));
}

TEST(SimtTma, TensorMapsObeyTheDriversRules) {
  const Tensor4 tensor;
  const auto expect = [](auto make, const char* message) {
    try {
      make();
      ADD_FAILURE() << "no error: " << message;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr(message));
    }
  };
  const float* p = tensor.values.data();
  const TensorLayout good{.rank = 2, .sizes = {18, 3}, .strides = {80}, .box = {8, 2}};
  EXPECT_NO_THROW(encode_tensor_map(p, good));
  const auto with = [&](auto change) {
    return [=] {
      TensorLayout layout = good;
      change(layout);
      encode_tensor_map(p, layout);
    };
  };
  expect([&] { encode_tensor_map(p + 1, good); }, "is not aligned to 16 bytes");
  expect(with([](TensorLayout& l) { l.rank = 6; }), "rank 6");
  expect(with([](TensorLayout& l) { l.sizes[1] = 0; }), "size 0 of dimension 1");
  expect(with([](TensorLayout& l) { l.box[1] = 257; }), "box 257 of dimension 1");
  expect(with([](TensorLayout& l) { l.strides[0] = 72; }), "stride 72 of dimension 1");
  expect(with([](TensorLayout& l) { l.box[0] = 6; }), "box rows of 24 bytes");
  expect(with([](TensorLayout& l) { l.swizzle = Swizzle::bytes128; }), "with a swizzle of 128");
}

}  // namespace
}  // namespace tessera::simt_test
