// Every element of a sweep is visited once, however many there are.
#include <algorithm>
#include <vector>

#include "kernels/elementwise/gpu_lanes.h"
#include "tests/kernels/op_case.h"

namespace tessera::test {
namespace {

struct Visit {
  int64_t at;
  int lanes;
};

// Notes, in two places a thread and group, what block `block` of a sweep over n elements visits.
template <int N>
void note_visits(int64_t block, int64_t n, Visit* visits) {
  Visit* next = visits + 8 * gpu::thread_index().x;
  sweep_part<N>(block, n, [&next](int64_t i, auto lanes) { *next++ = {i, lanes}; });
}

template <int N>
std::vector<Visit> visits_of(Context& ctx, int64_t block, int64_t n) {
  std::vector<Visit> visits(8 * kSweepThreads);
  gpu::launch(ctx, note_visits<N>, {.threads = kSweepThreads}, block, n, visits.data());
  std::erase_if(visits, [](const Visit& v) { return v.lanes == 0; });
  std::sort(visits.begin(), visits.end(), [](Visit a, Visit b) { return a.at < b.at; });
  return visits;
}

// The last two blocks of sweeps over n elements cover what is beyond the blocks before.
template <int N>
void check_end(Context& ctx, int64_t n) {
  const int64_t blocks = sweep_blocks(n, N);
  int64_t next = std::max<int64_t>(0, blocks - 2) * kSweepGroups * N;
  for (int64_t block = std::max<int64_t>(0, blocks - 2); block < blocks; ++block) {
    for (const Visit& visit : visits_of<N>(ctx, block, n)) {
      ASSERT_EQ(visit.at, next) << "n " << n << " block " << block;
      next += visit.lanes;
    }
  }
  EXPECT_EQ(next, n);
}

TEST(Sweep, VisitsEveryElementOnce) {
  Context ctx = device_context(Device::simt, 1);
  for (const int64_t n : {int64_t{1}, int64_t{31}, int64_t{8191}, int64_t{8192}, int64_t{8193},
                          int64_t{70001}, (int64_t{1} << 31) + 5, (int64_t{1} << 35) - 1}) {
    check_end<1>(ctx, n);
    check_end<4>(ctx, n);
    check_end<8>(ctx, n);
  }
}

}  // namespace
}  // namespace tessera::test
