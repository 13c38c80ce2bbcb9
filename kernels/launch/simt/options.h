// What the emulator does besides running a kernel.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace tessera::simt {

// Which warp runs next. `pct`: the one of highest random priority, until it blocks, with random
// changes of priority (Burckhardt et al., "A Randomized Scheduler with Probabilistic Guarantees of
// Finding Bugs", ASPLOS 2010); warps drift far apart, which finds missing barriers. `uniform`: any.
// `by_seed`: one of them, drawn for every block.
enum class Schedule : uint8_t { round_robin, uniform, pct, by_seed };

// When cp.async, TMA and wgmma take effect: at once, as late as their waits allow, at random.
enum class AsyncDelivery : uint8_t { eager, late, random, by_seed };

enum class Switch : uint8_t { off, on, automatic };

constexpr int kMostSharedBytes = 227 << 10;  // that any GPU gives a block

struct Options {
  uint64_t seed = 1;
  Schedule schedule = Schedule::by_seed;
  AsyncDelivery async = AsyncDelivery::by_seed;
  // Race checks; need kernels compiled with -fsanitize=thread and the library
  // tessera_simt_race_hooks. `automatic`: on where the hooks are linked.
  Switch race = Switch::automatic;
  bool bank = false;  // count bank conflicts
  int workers = 0;    // OS threads that run blocks; 0: the context's threads
  int resident = 1;   // blocks that take turns on one OS thread
  // The GPU that is emulated: compute capability times 10. An instruction that it lacks is an
  // error. As text it also sets shared_limit to what the GPU has.
  int architecture = 90;
  int shared_limit = kMostSharedBytes;  // bytes of shared memory a block may have
  // Blocks that run at either end of a grid, for tests of addresses that take grids too large to
  // run; 0: all.
  int ends = 0;
};

// Changes `options` by "seed=7,schedule=pct,async=late,race=on,bank=on,workers=2,resident=2". An
// unknown key or value is an Error that lists the known ones.
void parse_options(std::string_view text, Options& options);

// Throws if shared_limit is more than any GPU has.
void check_shared_limit(const Options& options);

// The defaults, changed by the environment variable TESSERA_SIMT if it is set.
Options options_from_environment();

// The text for parse_options that gives these options.
std::string to_text(const Options& options);

}  // namespace tessera::simt
