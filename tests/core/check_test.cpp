#include "core/check.h"

#include <gtest/gtest.h>

#include <string>

namespace tessera {
namespace {

std::string message_of(bool condition) {
  try {
    check(condition, "linear: {} columns, expected {}", 3, "four");
  } catch (const Error& error) {
    return error.what();
  }
  return "passed";
}

TEST(Check, ThrowsTheFormattedTextOnlyWhenFalse) {
  EXPECT_EQ(message_of(true), "passed");
  EXPECT_EQ(message_of(false), "linear: 3 columns, expected four");
}

TEST(Check, FailAlwaysThrowsARuntimeError) {
  EXPECT_THROW(fail("{}", 1), std::runtime_error);
}

}  // namespace
}  // namespace tessera
