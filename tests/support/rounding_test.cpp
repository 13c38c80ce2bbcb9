#include "tests/support/rounding.h"

#include <gtest/gtest.h>

#include <cmath>

namespace tessera::reference {
namespace {

TEST(Rounding, TiesGoToEven) {
  EXPECT_EQ(round_bf16(1 + 0x1p-8), 1);              // between 1 and 1 + 2^-7
  EXPECT_EQ(round_bf16(1 + 0x3p-8), 1 + 0x2p-7);     // between 1 + 2^-7 and 1 + 2^-6
  EXPECT_EQ(round_bf16(1 + 0x1.01p-8), 1 + 0x1p-7);  // just above the tie
  EXPECT_EQ(round_f16(-(2048 + 1)), -2048);
  EXPECT_EQ(round_to(kE4M3, 17), 16);
  EXPECT_EQ(round_to(kE5M2, -11), -12);
}

TEST(Rounding, SubnormalsKeepTheirFixedSpacing) {
  EXPECT_EQ(round_f16(0x1p-24), 0x1p-24);
  EXPECT_EQ(round_f16(0x1p-25), 0);  // a tie with zero
  EXPECT_EQ(round_f16(0x1.8p-24), 0x2p-24);
  EXPECT_EQ(round_to(kE4M3, 0x1.1p-10), 0x1p-9);
}

TEST(Rounding, Overflow) {
  EXPECT_EQ(round_f16(65519), 65504);
  EXPECT_EQ(round_f16(65520), INFINITY);
  EXPECT_EQ(round_to(kE4M3, 463), 448);
  EXPECT_TRUE(std::isnan(round_to(kE4M3, 465)));
  EXPECT_EQ(round_to(kF32, 1e39), INFINITY);
}

TEST(Rounding, F32AgreesWithTheProcessor) {
  for (double x : {1.0 / 3, 1e-40, 1e-46, 7e-46, 3.0e38, -0.1, 16777217.0})
    EXPECT_EQ(round_to(kF32, x), double(float(x))) << x;
}

TEST(Rounding, UnitInLastPlace) {
  EXPECT_EQ(unit_in_last_place(kBF16, 1.5), 0x1p-7);
  EXPECT_EQ(unit_in_last_place(kF16, 0), 0x1p-24);
}

}  // namespace
}  // namespace tessera::reference
