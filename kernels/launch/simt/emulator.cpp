#include "kernels/launch/simt/emulator.h"

#include <omp.h>

#include <algorithm>
#include <exception>
#include <mutex>
#include <numeric>

#include "kernels/launch/simt/executor.h"

// Defined by tessera_simt_race_hooks.
extern "C" [[gnu::weak]] void __tsan_init();

namespace tessera::simt {
namespace {

constexpr unsigned kMostBlocksYZ = 65535;
constexpr int kMostThreads = 1024;

std::vector<uint32_t> block_order(const gpu::Grid& grid, const Options& options, uint64_t seed) {
  const size_t blocks = size_t(grid.x) * grid.y * grid.z, ends = size_t(options.ends);
  const bool whole = ends == 0 || blocks <= 2 * ends;
  std::vector<uint32_t> order(whole ? blocks : 2 * ends);
  std::iota(order.begin(), order.end(), 0u);
  if (!whole) std::iota(order.begin() + ptrdiff_t(ends), order.end(), uint32_t(blocks - ends));
  if (options.schedule == Schedule::round_robin) return order;
  Rng rng(seed);
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[rng.below(uint32_t(i))]);
  return order;
}

}  // namespace

Emulator::Emulator() : Emulator(options_from_environment()) {}
Emulator::Emulator(const Options& options) : options_(options) {}
Emulator::~Emulator() = default;

void Emulator::validate(const Kernel& kernel, const gpu::Grid& grid) const {
  check(kernel.architecture <= options_.architecture,
        "simt: a kernel that is compiled for sm_{} and newer, on an emulated sm_{}",
        kernel.architecture, options_.architecture);
  check(grid.x > 0 && grid.y > 0 && grid.z > 0 && grid.y <= kMostBlocksYZ &&
            grid.z <= kMostBlocksYZ && uint64_t(grid.x) * grid.y * grid.z < (uint64_t{1} << 31),
        "simt: a grid of {} x {} x {} blocks; each is at least 1, y and z at most {}", grid.x,
        grid.y, grid.z, kMostBlocksYZ);
  check(grid.threads > 0 && grid.threads <= kMostThreads, "simt: {} threads a block, not 1..{}",
        grid.threads, kMostThreads);
  check_shared_limit(options_);
  check(grid.shared_bytes >= 0 && grid.shared_bytes <= options_.shared_limit,
        "simt: {} bytes of dynamic shared memory, but a block may have {}", grid.shared_bytes,
        options_.shared_limit);
}

bool Emulator::race_checks() const {
  check(options_.race != Switch::on || __tsan_init,
        "simt: race=on, but this program's kernels are not compiled for race checks; run the "
        "family's race test, or leave race=auto");
  return options_.race != Switch::off && __tsan_init;
}

void Emulator::launch(const Kernel& kernel, const gpu::Grid& grid, int threads) {
  validate(kernel, grid);
  const uint64_t seed = options_.seed * 1000003 + launches_++;
  const bool race = race_checks();
  GlobalRaceDetector global_race;
  LaunchState state{.kernel = kernel,
                    .grid = grid,
                    .options = &options_,
                    .race = race,
                    .global_race = race ? &global_race : nullptr,
                    .seed = seed,
                    .order = block_order(grid, options_, seed)};
  const int wanted = options_.workers > 0 ? options_.workers : threads;
  const int workers = race || omp_in_parallel() ? 1 : std::min(wanted, int(state.order.size()));
  while (executors_.size() < size_t(workers)) executors_.push_back(std::make_unique<Executor>());
  std::string first_error;
  std::mutex mutex;
  const auto work = [&](Executor& executor) {
    try {
      executor.run(state);
    } catch (const std::exception& error) {
      const std::scoped_lock lock(mutex);
      if (first_error.empty()) first_error = error.what();
    }
  };
  if (workers == 1) {
    work(*executors_[0]);
  } else {
#pragma omp parallel num_threads(workers)
    work(*executors_[size_t(omp_get_thread_num())]);
  }
  check(first_error.empty(), "{} [launch {}; TESSERA_SIMT=seed={}]", first_error, launches_,
        options_.seed);
}

std::map<std::string, BankCount> Emulator::bank_conflicts() const {
  std::map<std::string, BankCount> all;
  for (const auto& executor : executors_) {
    for (const auto& [line, count] : executor->bank_conflicts().counts()) {
      BankCount& total = all[line];
      total.accesses += count.accesses;
      total.cycles += count.cycles;
      total.ideal_cycles += count.ideal_cycles;
    }
  }
  return all;
}

Statistics Emulator::statistics() const {
  Statistics sum{.launches = launches_};
  for (const auto& executor : executors_) {
    sum.blocks += executor->counts().blocks;
    sum.switches += executor->counts().switches;
    sum.collectives += executor->counts().collectives;
  }
  return sum;
}

}  // namespace tessera::simt
