#include "core/random.h"

#include <gtest/gtest.h>

#include <cmath>

namespace tessera {
namespace {

using Block = std::array<uint32_t, 4>;

// Known answers of philox4x32-10 in the Random123 distribution (file kat_vectors). Its counter
// words 0 to 3 are our block (low, high), purpose and step; its key words our seed (low, high).
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(Philox(0, 0, 0).block(0), (Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(Philox(~0ull, ~0u, ~0u).block(~0ull),
            (Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(Philox(0x299f31d0a4093822, 0x13198a2e, 0x03707344).block(0x85a308d3243f6a88),
            (Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Philox, IsConstexpr) {
  static_assert(Philox(0, 0, 0).bits(1) == 0xe169c58d);
}

TEST(Philox, BitsTakeOneWordOfTheElementsBlock) {
  const Philox philox(7, purpose_id("dropout"), 3);
  for (uint64_t element : {0ull, 1ull, 6ull, 4095ull, (1ull << 40) + 3})
    EXPECT_EQ(philox.bits(element), philox.block(element / 4)[element % 4]);
}

TEST(Philox, EveryPartOfTheKeyMatters) {
  const auto bits = [](uint64_t seed, uint32_t purpose, uint32_t step) {
    return Philox(seed, purpose, step).bits(5);
  };
  EXPECT_NE(bits(1, 2, 3), bits(2, 2, 3));
  EXPECT_NE(bits(1, 2, 3), bits(1 + (1ull << 32), 2, 3));
  EXPECT_NE(bits(1, 2, 3), bits(1, 3, 3));
  EXPECT_NE(bits(1, 2, 3), bits(1, 2, 4));
}

// Bounds of five standard deviations of the estimate.
TEST(Philox, UniformHasTheMomentsOfTheUnitInterval) {
  const Philox philox(1, 2, 3);
  const int n = 100000;
  double sum = 0, squares = 0;
  for (int i = 0; i < n; ++i) {
    const double u = philox.uniform(i);
    ASSERT_TRUE(u >= 0 && u < 1);
    sum += u;
    squares += u * u;
  }
  EXPECT_NEAR(sum / n, 0.5, 5 * std::sqrt(1.0 / 12 / n));
  EXPECT_NEAR(squares / n, 1.0 / 3, 5 * std::sqrt(4.0 / 45 / n));
}

TEST(Philox, NormalHasTheMomentsOfTheStandardNormal) {
  const Philox philox(1, 2, 3);
  const int n = 100000;
  double sum = 0, squares = 0, fourth = 0;
  for (int i = 0; i < n; ++i) {
    const double x = philox.normal(i);
    sum += x;
    squares += x * x;
    fourth += x * x * x * x;
  }
  EXPECT_NEAR(sum / n, 0, 5 * std::sqrt(1.0 / n));
  EXPECT_NEAR(squares / n, 1, 5 * std::sqrt(2.0 / n));
  EXPECT_NEAR(fourth / n, 3, 5 * std::sqrt(96.0 / n));
}

TEST(Philox, BelowFillsItsRangeEvenly) {
  const Philox philox(1, 2, 3);
  std::array<int, 7> counts{};
  const int n = 70000;
  for (int i = 0; i < n; ++i) ++counts.at(philox.below(i, 7));
  for (int count : counts) EXPECT_NEAR(count, 10000, 5 * std::sqrt(n * 6.0 / 49));
  EXPECT_EQ(philox.below(0, 1), 0u);
}

TEST(PurposeId, IsFnv1a) {
  EXPECT_EQ(purpose_id(""), 0x811c9dc5u);
  EXPECT_EQ(purpose_id("a"), 0xe40c292cu);
  EXPECT_EQ(purpose_id("foobar"), 0xbf9cf968u);
}

}  // namespace
}  // namespace tessera
