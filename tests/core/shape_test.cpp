#include "core/shape.h"

#include <gtest/gtest.h>

#include <vector>

namespace tessera {
namespace {

TEST(Shape, CountsElements) {
  EXPECT_EQ((Shape{2, 3, 4}).elements(), 24);
  EXPECT_EQ((Shape{2, 0, 4}).elements(), 0);
  EXPECT_EQ(Shape{}.elements(), 1);  // a scalar
  EXPECT_EQ((Shape{1 << 20, 1 << 20}).elements(), int64_t{1} << 40);
}

TEST(Shape, RefusesToCountBeyond63Bits) {
  EXPECT_EQ((Shape{INT64_MAX, 1}).elements(), INT64_MAX);
  const Shape large{int64_t{1} << 32, int64_t{1} << 31};
  try {
    large.elements();
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "shape: 4294967296 times 2147483648 elements are more than 63 bits count");
  }
}

TEST(Shape, IndexesFromBothEnds) {
  const Shape shape{2, 3, 4};
  EXPECT_EQ(shape.rank(), 3);
  EXPECT_EQ(shape[0], 2);
  EXPECT_EQ(shape[-1], 4);
  EXPECT_THROW(shape[3], Error);
  EXPECT_THROW(shape[-4], Error);
}

TEST(Shape, ContiguousStridesAreRowMajor) {
  EXPECT_EQ((Shape{2, 3, 4}).contiguous_strides(), (Shape{12, 4, 1}));
  EXPECT_EQ(Shape{}.contiguous_strides(), Shape{});
}

TEST(Shape, ComparesRankAndExtents) {
  EXPECT_EQ((Shape{2, 3}), (Shape{2, 3}));
  EXPECT_FALSE((Shape{2, 3}) == (Shape{2, 3, 1}));
  EXPECT_FALSE((Shape{2, 3}) == (Shape{3, 2}));
}

TEST(Shape, RefusesMoreThanSixDimensions) {
  EXPECT_EQ((Shape{1, 1, 1, 1, 1, 1}).rank(), 6);
  EXPECT_THROW((Shape{1, 1, 1, 1, 1, 1, 1}), Error);
}

TEST(Shape, Prints) {
  EXPECT_EQ(fmt::format("{}", Shape{2, 3}), "[2, 3]");
  EXPECT_EQ(fmt::format("{}", Shape{}), "[]");
}

}  // namespace
}  // namespace tessera
