#include "core/config/suggest.h"

#include <gtest/gtest.h>

namespace tessera::fields {
namespace {

TEST(Suggest, CountsEdits) {
  EXPECT_EQ(edit_distance("", ""), 0u);
  EXPECT_EQ(edit_distance("lr", "lr"), 0u);
  EXPECT_EQ(edit_distance("lrr", "lr"), 1u);
  EXPECT_EQ(edit_distance("", "abc"), 3u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
  EXPECT_EQ(edit_distance("wramup", "warmup"), 1u) << "a swap of neighbours is one edit";
}

TEST(Suggest, FindsTheNearestNameOnlyIfNear) {
  const std::vector<std::string> names = {"warmup_steps", "min_lr_ratio", "type"};
  EXPECT_EQ(nearest_name("Warmup-Steps", names), "warmup_steps");
  EXPECT_EQ(nearest_name("warm_steps", names), "warmup_steps");
  EXPECT_EQ(nearest_name("tpye", names), "type");
  EXPECT_EQ(nearest_name("decay", names), "");
  EXPECT_EQ(nearest_name(std::string(10000, 'a'), names), "");
}

}  // namespace
}  // namespace tessera::fields
