// metrics.jsonl.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>

#include "tests/data/support.h"
#include "train/metrics/jsonl.h"

namespace tessera::test {
namespace {

TEST(MetricsFileTest, AResumedRunWritesItsStepsAgain) {
  const TemporaryFolder folder;
  const auto path = folder / "metrics.jsonl";
  {
    MetricsFile file(path, 0);
    for (int64_t step : {1, 2, 3}) file.write(EvaluationRecord{.step = step});
  }
  const std::string whole = read_text(path);
  write_text(path, whole + "{\"step\":4,\"tok");  // cut by a crash
  MetricsFile(path, 2).write(EvaluationRecord{.step = 3});
  EXPECT_EQ(read_text(path), whole);
}

// A limit on file sizes stands for a full disk.
TEST(MetricsFileTest, AFullDiskLeavesWholeLines) {
  const TemporaryFolder folder;
  const auto path = folder / "metrics.jsonl";
  MetricsFile file(path, 0);
  file.write(EvaluationRecord{.step = 1});
  const std::string first = read_text(path);
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit full{first.size() + 10, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &full);
  file.write(EvaluationRecord{.step = 2});
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(read_text(path), first);
  file.write(EvaluationRecord{.step = 3});
  EXPECT_TRUE(read_text(path).starts_with(first + "{\"step\":3,"));
}

}  // namespace
}  // namespace tessera::test
