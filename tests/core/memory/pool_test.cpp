#include "core/memory/pool.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>

#include "core/check.h"
#include "core/random.h"

namespace tessera {
namespace {

constexpr auto kTag = MemoryTag::activations;
constexpr size_t kMiB = size_t{1} << 20;

TEST(MemoryPool, RoundsToItsGranule) {
  EXPECT_EQ(MemoryPool::block_bytes(0), 0u);
  EXPECT_EQ(MemoryPool::block_bytes(1), 64u);
  EXPECT_EQ(MemoryPool::block_bytes(64), 64u);
  EXPECT_EQ(MemoryPool::block_bytes(65), 128u);
  MemoryPool pool(make_host_allocator());
  std::byte* block = pool.allocate(65, kTag);
  EXPECT_EQ(pool.ledger().current(kTag), 128);
  pool.release(block, 65, kTag);
  EXPECT_EQ(pool.ledger().current(), 0);
}

TEST(MemoryPool, ZeroBytesNeedNoBlock) {
  MemoryPool pool(make_host_allocator());
  EXPECT_EQ(pool.allocate(0, kTag), nullptr);
  pool.release(nullptr, 0, kTag);
  EXPECT_EQ(pool.reserved(), 0u);
}

TEST(MemoryPool, ReusesTheSmallestFreeBlockThatFits) {
  MemoryPool pool(make_host_allocator());
  std::byte* large = pool.allocate(1024, kTag);
  std::byte* wall = pool.allocate(64, kTag);  // keeps the free blocks apart
  std::byte* small = pool.allocate(256, kTag);
  std::byte* last = pool.allocate(64, kTag);
  pool.release(large, 1024, kTag);
  pool.release(small, 256, kTag);
  EXPECT_EQ(pool.allocate(200, kTag), small);
  EXPECT_EQ(pool.allocate(300, kTag), large);
  EXPECT_EQ(pool.allocate(64, kTag), large + 320);  // the rest of the split block
  EXPECT_NE(wall, last);
}

TEST(MemoryPool, SplitsOffEvenTheSmallestRest) {
  MemoryPool pool(make_host_allocator());
  std::byte* pair = pool.allocate(128, kTag);
  pool.allocate(64, kTag);
  pool.release(pair, 128, kTag);
  EXPECT_EQ(pool.allocate(64, kTag), pair);
  EXPECT_EQ(pool.allocate(64, kTag), pair + 64);
}

TEST(MemoryPool, MergesFreeNeighboursOnBothSides) {
  MemoryPool pool(make_host_allocator());
  std::byte* blocks[4];
  for (std::byte*& block : blocks) block = pool.allocate(64, kTag);
  pool.release(blocks[0], 64, kTag);
  pool.release(blocks[2], 64, kTag);
  pool.release(blocks[1], 64, kTag);
  EXPECT_EQ(pool.allocate(192, kTag), blocks[0]);
}

// Meta segments follow each other without a gap: a block must not reach from one into the next.
TEST(MemoryPool, NeverMergesAcrossSegments) {
  constexpr size_t kSegment = size_t{64} << 20;
  MemoryPool pool(make_meta_allocator());
  std::byte* first = pool.allocate(kSegment, kTag);
  std::byte* second = pool.allocate(kSegment, kTag);
  ASSERT_EQ(first + kSegment, second);
  pool.release(first, kSegment, kTag);
  pool.release(second, kSegment, kTag);
  pool.allocate(2 * kSegment, kTag);
  EXPECT_EQ(pool.reserved(), 4 * kSegment);
}

TEST(MemoryPool, KeepsFreedMemoryForReuse) {
  MemoryPool pool(make_host_allocator());
  for (int i = 0; i < 10; ++i) pool.release(pool.allocate(100 << 20, kTag), 100 << 20, kTag);
  EXPECT_EQ(pool.reserved(), size_t{100} << 20);
}

// Memory of `device` that knows the order of its segments.
class OrderedMemory final : public SegmentAllocator {
 public:
  // Segment and offset.
  using Position = std::pair<size_t, ptrdiff_t>;

  explicit OrderedMemory(Device device) : memory_(make_allocator(device)) {}
  Device device() const override { return memory_->device(); }
  std::byte* allocate(size_t bytes) override {
    return segments_.emplace_back(memory_->allocate(bytes), bytes).first;
  }
  void release(std::byte* segment, size_t bytes) override { memory_->release(segment, bytes); }
  void copy_in(std::byte*, const std::byte*, size_t) override {}
  void copy_out(std::byte*, const std::byte*, size_t) override {}
  void fill(std::byte*, std::byte, size_t) override {}

  Position position(std::byte* block) const {
    size_t i = 0;
    while (block < segments_[i].first || block >= segments_[i].first + segments_[i].second) ++i;
    return {i, block - segments_[i].first};
  }

 private:
  std::unique_ptr<SegmentAllocator> memory_;
  std::vector<std::pair<std::byte*, size_t>> segments_;
};

struct Request {
  std::byte* block;
  size_t bytes;
};

struct Churn {
  int requests;
  size_t smallest, largest, unit;  // of requests, in bytes; they are multiples of the unit
  bool fills;                      // fills every block, so that overlapping ones would show
};

// Allocates and releases at random; says where each block lay.
std::vector<OrderedMemory::Position> churn(MemoryPool& pool, const Churn& how) {
  const auto& memory = static_cast<OrderedMemory&>(pool.segments());
  const Philox philox(1, purpose_id("churn"), 0);
  std::vector<OrderedMemory::Position> positions;
  std::vector<std::pair<Request, uint8_t>> live;
  for (int i = 0; i < how.requests; ++i) {
    if (!live.empty() && philox.below(2 * i, 5) < 2) {
      const size_t victim = philox.below(2 * i + 1, live.size());
      const auto [request, fill] = live[victim];
      for (size_t k = 0; how.fills && k < request.bytes; ++k)
        EXPECT_EQ(uint8_t(request.block[k]), fill);
      pool.release(request.block, request.bytes, kTag);
      live.erase(live.begin() + victim);
    } else {
      const size_t sizes = (how.largest - how.smallest) / how.unit + 1;
      const size_t bytes = how.smallest + how.unit * philox.below(2 * i + 1, sizes);
      std::byte* block = pool.allocate(bytes, kTag);
      positions.push_back(memory.position(block));
      if (how.fills) std::memset(block, i % 256, bytes);
      live.push_back({{block, bytes}, uint8_t(i % 256)});
    }
  }
  for (const auto& [request, fill] : live) pool.release(request.block, request.bytes, kTag);
  EXPECT_EQ(pool.ledger().current(), 0);
  return positions;
}

// The second one has several segments, which lie in another order on the host, and many free blocks
// of the same size.
TEST(MemoryPool, BlocksNeverOverlapAndLayoutIsTheSameOnMeta) {
  for (const bool large : {false, true}) {
    MemoryPool host(std::make_unique<OrderedMemory>(Device::cpu));
    MemoryPool meta(std::make_unique<OrderedMemory>(Device::meta));
    Churn how{.requests = 2000, .smallest = 1, .largest = 9000, .unit = 1, .fills = true};
    if (large) how = {300, 3 * kMiB, 15 * kMiB, kMiB, false};
    const auto host_positions = churn(host, how);
    how.fills = false;
    EXPECT_EQ(host_positions, churn(meta, how));
    EXPECT_EQ(host.ledger().peak(), meta.ledger().peak());
    EXPECT_EQ(host.reserved(), meta.reserved());
  }
}

TEST(HostAllocator, AlignsToHugePagesAndSaysWhenMemoryIsExhausted) {
  const auto host = make_host_allocator();
  constexpr size_t kBytes = size_t{2} << 20;
  std::byte* segment = host->allocate(kBytes);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(segment) % kBytes, 0u);
  host->release(segment, kBytes);
  EXPECT_EQ(host->allocate(size_t{1} << 60), nullptr);
}

// What would fault on a GPU does so in the emulator: a host function that forgot to download.
TEST(EmulatedAllocator, IsClosedToTheHostBetweenKernels) {
  constexpr size_t kBytes = size_t{2} << 20;
  const auto memory = make_emulated_allocator();
  std::byte* segment = memory->allocate(kBytes);
  const auto touch = [&] { *static_cast<volatile std::byte*>(segment) = std::byte{1}; };
  EXPECT_DEATH(touch(), "");
  {
    const EmulatedWork kernel(*memory), inner(*memory);
    touch();
    memory->fill(segment + 1, std::byte{2}, 1);
    touch();
  }
  EXPECT_DEATH(touch(), "");
  std::byte bytes[2];
  memory->copy_out(bytes, segment, 2);
  EXPECT_EQ(bytes[0], std::byte{1});
  EXPECT_EQ(bytes[1], std::byte{2});
  memory->release(segment, kBytes);
}

// Host memory with room for `capacity` bytes.
class SmallMemory final : public SegmentAllocator {
 public:
  explicit SmallMemory(size_t capacity) : free_(capacity) {}
  Device device() const override { return Device::cpu; }
  std::byte* allocate(size_t bytes) override {
    if (bytes > free_) return nullptr;
    free_ -= bytes;
    return host_->allocate(bytes);
  }
  void release(std::byte* segment, size_t bytes) override {
    free_ += bytes;
    host_->release(segment, bytes);
  }
  void copy_in(std::byte*, const std::byte*, size_t) override {}
  void copy_out(std::byte*, const std::byte*, size_t) override {}
  void fill(std::byte*, std::byte, size_t) override {}

 private:
  std::unique_ptr<SegmentAllocator> host_ = make_host_allocator();
  size_t free_;
};

TEST(MemoryPool, GivesFreeSegmentsBackWhenMemoryIsShort) {
  MemoryPool pool(std::make_unique<SmallMemory>(100 * kMiB));
  std::byte* first = pool.allocate(60 * kMiB, kTag);
  pool.release(first, 60 * kMiB, kTag);
  std::byte* second = pool.allocate(80 * kMiB, kTag);
  EXPECT_NE(second, nullptr);
  EXPECT_EQ(pool.reserved(), 80 * kMiB);
  pool.release(second, 80 * kMiB, kTag);
}

TEST(MemoryPool, SaysWhatIsInUseWhenMemoryIsExhausted) {
  MemoryPool pool(std::make_unique<SmallMemory>(100 * kMiB));
  pool.allocate(40 * kMiB, MemoryTag::parameters);
  std::byte* other = pool.allocate(34 * kMiB, MemoryTag::data);
  pool.retag(other, 34 * kMiB, MemoryTag::data, MemoryTag::gradients);
  try {
    pool.allocate(64 * kMiB, MemoryTag::activations);
    FAIL() << "nothing was thrown";
  } catch (const OutOfMemory& error) {
    EXPECT_STREQ(error.what(),
                 "memory: cpu has no room for 64.0 MiB of activations; in use: 74.0 MiB in all, "
                 "parameters 40.0 MiB, gradients 34.0 MiB; largest blocks 40.0 MiB (parameters), "
                 "34.0 MiB (gradients); use a smaller training.batch or model.context, or "
                 "memory.recompute: block");
  }
  EXPECT_EQ(pool.ledger().current(), int64_t(74 * kMiB));
}

}  // namespace
}  // namespace tessera
