#include "kernels/launch/simt/bulk_copy.h"

#include <atomic>
#include <cstring>

#include "core/dtype.h"
#include "kernels/launch/simt/architecture.h"
#include "kernels/launch/simt/executor.h"
#include "kernels/launch/simt/mbarrier.h"

namespace tessera::simt {
namespace {

constexpr uint32_t kChunk = 16;  // bytes that stay together in a swizzle
constexpr uint32_t kSharedAlign = 128;
constexpr int kPoison = 0xff;

const char* name_of(BulkKind kind) {
  return kind == BulkKind::load    ? "tma_load"
         : kind == BulkKind::store ? "tma_store"
                                   : "tma_reduce_add";
}

void check_copy(const TensorMap& map, int rank, const char* name, Site site) {
  if (!map.is_valid()) fail_at(site, "{}: {} is no tensor map", name, fmt::ptr(&map));
  if (map.rank != rank) {
    fail_at(site, "{}_{}d: the tensor map has {} dimensions", name, rank, int(map.rank));
  }
}

void check_tile(const Block& block, const TensorMap& map, uint32_t shared, const char* name,
                Site site) {
  block.shared.check(shared, map.box_bytes(), kSharedAlign, name, site);
  const uint32_t pattern = kSharedAlign << map.swizzle_bits;
  if (map.swizzle_bits && shared % pattern) {
    fail_at(site, "{}: shared address {:#x} is not aligned to the {} bytes of the swizzle pattern",
            name, shared, pattern);
  }
}

// What tells of errors names the thread that issued the copy.
class ActingAs {
 public:
  explicit ActingAs(Fiber* issuer) : before_(std::exchange(current_thread, issuer)) {}
  ~ActingAs() { current_thread = before_; }
  ActingAs(const ActingAs&) = delete;
  ActingAs& operator=(const ActingAs&) = delete;

 private:
  ThreadView* before_;
};

template <class Word, class Add>
void add_to(std::byte* to, const std::byte* from, Add add) {
  const std::atomic_ref<Word> memory(*reinterpret_cast<Word*>(to));
  Word value, old = memory.load();
  std::memcpy(&value, from, sizeof(value));
  while (!memory.compare_exchange_weak(old, add(old, value))) {
  }
}

void reduce_element(const BulkCopy& copy, std::byte* to, const std::byte* from) {
  const auto small = [&]<class T>(T) {
    add_to<uint16_t>(to, from, [](uint16_t a, uint16_t b) {
      return from_float<T>(to_float(T{a}) + to_float(T{b})).bits;
    });
  };
  switch (copy.map.dtype) {
    case DType::f32:
      return add_to<float>(to, from, [](float a, float b) { return a + b; });
    case DType::bf16:
      return small(bf16{});
    case DType::f16:
      return small(f16{});
    default:
      fail_at(copy.site, "tma_reduce_add: {} cannot be added", tessera::name_of(copy.map.dtype));
  }
}

// Calls move(shared address, global address) for every element of the box; the latter is nullptr
// outside of the tensor.
template <class Move>
void for_each_element(const BulkCopy& copy, Move move) {
  const TensorMap& map = copy.map;
  const int per_chunk = int(kChunk / map.element_bytes);
  const uint32_t rows = map.box_bytes() / map.row_bytes();
  for (uint32_t row = 0; row < rows; ++row) {
    uint32_t rest = row;
    bool inside = true;
    std::byte* global = map.base;
    for (size_t r = 1; r < map.rank; ++r) {
      const int64_t i = int64_t(copy.at[r]) + rest % map.box[r];
      rest /= map.box[r];
      inside = inside && i >= 0 && i < int64_t(map.sizes[r]);
      if (inside) global += i * int64_t(map.strides[r - 1]);
    }
    for (uint32_t offset = 0; offset < map.row_bytes(); offset += kChunk) {
      const int64_t first = int64_t(copy.at[0]) + offset / map.element_bytes;
      const uint32_t linear = copy.shared + row * map.row_bytes() + offset;
      const uint32_t shared = swizzled(linear, map.swizzle_bits);
      for (int e = 0; e < per_chunk; ++e) {
        const bool in = inside && first + e >= 0 && first + e < int64_t(map.sizes[0]);
        move(shared + uint32_t(e) * map.element_bytes,
             in ? global + (first + e) * map.element_bytes : nullptr);
      }
    }
  }
}

void load(Block& block, const BulkCopy& copy) {
  const size_t bytes = copy.map.element_bytes;
  for_each_element(copy, [&](uint32_t shared, const std::byte* global) {
    if (global) {
      std::memcpy(block.shared.at(shared), global, bytes);
    } else {
      std::memset(block.shared.at(shared), 0, bytes);
    }
  });
  block.race.set_in_flight(copy.shared, copy.map.box_bytes(), false);
  complete_bytes(block, copy);
}

void store(const Block& block, const BulkCopy& copy) {
  const size_t bytes = copy.map.element_bytes;
  for_each_element(copy, [&](uint32_t shared, std::byte* global) {
    if (!global) return;
    if (copy.kind == BulkKind::store) {
      std::memcpy(global, block.shared.at(shared), bytes);
    } else {
      reduce_element(copy, global, block.shared.at(shared));
    }
  });
}

void start(Block& block, const std::shared_ptr<BulkCopy>& copy) {
  if (block.executor->delivery() == AsyncDelivery::eager) {
    deliver(block, *copy);
  } else {
    block.in_flight.push_back(copy);
  }
  block.executor->maybe_yield(name_of(copy->kind), copy->site);
}

std::shared_ptr<BulkCopy> make_copy(BulkKind kind, Fiber& fiber, const TensorMap& map,
                                    const Coordinates& at, uint32_t shared, Site site) {
  auto copy = std::make_shared<BulkCopy>();
  copy->kind = kind;
  copy->map = map;
  copy->at = at;
  copy->shared = shared;
  copy->site = site;
  copy->issuer = &fiber;
  copy->agent = fiber.block->race.new_copy_agent(fiber, copy->seen);
  return copy;
}

}  // namespace

void deliver(Block& block, BulkCopy& copy) {
  if (copy.done) return;
  copy.done = true;
  const ActingAs issuer(copy.issuer);
  if (copy.kind == BulkKind::load) {
    load(block, copy);
  } else {
    store(block, copy);
  }
}

void tma_load(void* to, const TensorMap& map, const void* mbarrier, int rank, const Coordinates& at,
              Site site) {
  const char* name = name_of(BulkKind::load);
  require_architecture(90, name, site);
  Fiber& fiber = current_fiber(name, site);
  Block& block = *fiber.block;
  check_copy(map, rank, name, site);
  const uint32_t shared = block.shared.address_of(to, name, site), bytes = map.box_bytes();
  check_tile(block, map, shared, name, site);
  const auto copy = make_copy(BulkKind::load, fiber, map, at, shared, site);
  copy->mbarrier = address_for_tma(mbarrier, name, site);
  std::memset(block.shared.at(shared), kPoison, bytes);
  if (block.race.on()) {
    block.race.access(shared, bytes, Access::async_write, copy->agent, site);
    block.race.set_in_flight(shared, bytes, true);
  }
  start(block, copy);
}

void tma_store(BulkKind kind, const TensorMap& map, const void* from, int rank,
               const Coordinates& at, Site site) {
  const char* name = name_of(kind);
  require_architecture(90, name, site);
  Fiber& fiber = current_fiber(name, site);
  Block& block = *fiber.block;
  check_copy(map, rank, name, site);
  const uint32_t shared = block.shared.address_of(from, name, site);
  check_tile(block, map, shared, name, site);
  const auto copy = make_copy(kind, fiber, map, at, shared, site);
  copy->group = fiber.store_group;
  fiber.stores.push_back(copy);
  if (block.race.on()) {
    block.race.access(shared, map.box_bytes(), Access::async_read, copy->agent, site);
  }
  start(block, copy);
}

void tma_commit(Site site) {
  require_architecture(90, "tma_commit", site);
  ++current_fiber("tma_commit", site).store_group;
}

void tma_wait(int pending, Site site) {
  require_architecture(90, "tma_wait", site);
  Fiber& fiber = current_fiber("tma_wait", site);
  size_t kept = 0;
  for (size_t i = 0; i < fiber.stores.size(); ++i) {
    const std::shared_ptr<BulkCopy> copy = fiber.stores[i];
    if (copy->group >= fiber.store_group - pending) {
      fiber.stores[kept++] = copy;
      continue;
    }
    deliver(*fiber.block, *copy);
    if (fiber.block->race.on()) {
      uint32_t& seen = fiber.clock[copy->agent.id];
      seen = std::max(seen, copy->agent.time);
    }
  }
  fiber.stores.resize(kept);
  fiber.block->executor->maybe_yield("tma_wait", site);
}

void fence_proxy_async(Site site) {
  require_architecture(90, "fence_proxy_async", site);
  Fiber& fiber = current_fiber("fence_proxy_async", site);
  fence_known_mbarriers(fiber);
  fiber.block->race.fence_async_proxy(fiber);
}

}  // namespace tessera::simt
