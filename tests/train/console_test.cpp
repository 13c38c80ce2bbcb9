#include "train/metrics/console.h"

#include <gtest/gtest.h>

namespace tessera::test {
namespace {

TEST(ConsoleTest, ALiveLineFitsBesideTheCursor) {
  const std::string line(109, 'x');
  EXPECT_EQ(fit_columns(line, 80), std::string(79, 'x'));
  EXPECT_EQ(fit_columns(line, 110), line);
  EXPECT_EQ(fit_columns(line, 1), "");
  EXPECT_EQ(fit_columns(line, 0), line);  // no terminal that tells
}

}  // namespace
}  // namespace tessera::test
