#include "train/checkpoint/checksum.h"

#include <gtest/gtest.h>

#include <string_view>
#include <vector>

namespace tessera {
namespace {

std::vector<std::byte> counting(size_t size) {
  std::vector<std::byte> bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = std::byte(i);
  return bytes;
}

// The values are those of libxxhash 0.8.1.
TEST(Checksum, EqualsXxh64) {
  const auto of = [](std::string_view text) {
    return Checksum::of(std::as_bytes(std::span(text)));
  };
  EXPECT_EQ(of(""), 0xef46db3751d8e999u);
  EXPECT_EQ(of("a"), 0xd24ec4f1a98c6e5bu);
  EXPECT_EQ(of("abc"), 0x44bc2cf5ad770999u);
  EXPECT_EQ(of("Nobody inspects the spammish repetition"), 0xfbcea83c8a378bf1u);
  EXPECT_EQ(Checksum::of(counting(1000)), 0x6ef436b00eba4078u);
}

TEST(Checksum, DoesNotDependOnThePieces) {
  const std::vector<std::byte> bytes = counting(131);
  for (size_t first = 0; first <= bytes.size(); ++first) {
    for (size_t second : {size_t{0}, size_t{1}, size_t{31}, size_t{32}}) {
      const std::span rest = std::span(bytes).subspan(first);
      Checksum checksum;
      checksum.update(std::span(bytes).first(first));
      checksum.update(rest.first(std::min(second, rest.size())));
      checksum.update(rest.subspan(std::min(second, rest.size())));
      ASSERT_EQ(checksum.value(), Checksum::of(bytes)) << first << ", " << second;
    }
  }
}

}  // namespace
}  // namespace tessera
