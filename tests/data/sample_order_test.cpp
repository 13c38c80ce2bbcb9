#include "data/sample_order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <optional>
#include <set>

#include "tests/data/support.h"

namespace tessera {
namespace {

using namespace test;

Philox random_of(uint64_t seed, uint32_t step = 0) {
  return {seed, purpose_id("test/order"), step};
}

std::vector<uint64_t> order_of(const Permutation& permutation) {
  std::vector<uint64_t> order(permutation.size());
  for (uint64_t i = 0; i < order.size(); ++i) order[i] = permutation(i);
  return order;
}

TEST(Permutation, MeetsEveryNumberOnce) {
  for (uint64_t size : {1, 2, 3, 4, 5, 7, 8, 9, 31, 32, 33, 100, 1000, 4096, 4097, 65537, 300001}) {
    std::vector<uint64_t> order = order_of(Permutation(size, random_of(size)));
    std::ranges::sort(order);
    std::vector<uint64_t> all(size);
    std::iota(all.begin(), all.end(), 0);
    EXPECT_EQ(order, all) << size;
  }
}

TEST(Permutation, HugeRangesTakeNoMemory) {
  const uint64_t size = (uint64_t{1} << 50) + 12345;
  const Permutation permutation(size, random_of(1));
  std::set<uint64_t> seen;
  for (uint64_t i = 0; i < 1000; ++i) {
    EXPECT_LT(permutation(i), size);
    seen.insert(permutation(i));
  }
  EXPECT_EQ(seen.size(), 1000u);
}

TEST(Permutation, DependsOnSeedAndStepOnly) {
  const auto order = order_of(Permutation(1000, random_of(1)));
  EXPECT_EQ(order_of(Permutation(1000, random_of(1))), order);
  EXPECT_NE(order_of(Permutation(1000, random_of(2))), order);
  EXPECT_NE(order_of(Permutation(1000, random_of(1, 1))), order);
}

// Over many seeds each number comes to each place equally often: chi-squared with (n-1)^2 = 81
// degrees of freedom has mean 81 and deviation 12.7; 6 deviations are allowed.
TEST(Permutation, PlacesAreUniform) {
  constexpr int kSize = 10, kTrials = 20000;
  std::vector<int> counts(kSize * kSize);
  for (int t = 0; t < kTrials; ++t) {
    const Permutation permutation(kSize, random_of(uint64_t(t)));
    for (int i = 0; i < kSize; ++i) ++counts[size_t(i) * kSize + permutation(uint64_t(i))];
  }
  const double expected = double(kTrials) / kSize;
  double chi_squared = 0;
  for (int count : counts) chi_squared += (count - expected) * (count - expected) / expected;
  EXPECT_NEAR(chi_squared, 81, 6 * 12.7);
}

// Neighbours stay neighbours no more often than in a random order: about 2 pairs in all, whatever
// the size.
TEST(Permutation, NeighboursPart) {
  const auto order = order_of(Permutation(100000, random_of(3)));
  int neighbours = 0;
  for (size_t i = 1; i < order.size(); ++i) {
    const auto step = int64_t(order[i] - order[i - 1]);
    neighbours += step == 1 || step == -1;
  }
  EXPECT_LE(neighbours, 15);
}

TEST(Mixture, SharesFollowWeights) {
  EXPECT_EQ(Mixture({5}, 0).shares(), std::vector<uint64_t>{4096});
  EXPECT_EQ(Mixture({1, 3}, 0).shares(), (std::vector<uint64_t>{1024, 3072}));
  EXPECT_EQ(Mixture({0.1, 0.2}, 0).shares(), (std::vector<uint64_t>{1365, 2731}));
  EXPECT_EQ(Mixture({1e-9, 1, 1e-9}, 0).shares(), (std::vector<uint64_t>{1, 4094, 1}));
  EXPECT_EQ(Mixture(std::vector<double>(4096, 1), 0).shares(), std::vector<uint64_t>(4096, 1));
  EXPECT_TRUE(contains(error_of([] { Mixture(std::vector<double>(4097, 1), 0); }), "4097 files"));
}

// Each file's samples come in its own order without a gap, whatever else is mixed in.
TEST(Mixture, EveryFileCountsItsSamples) {
  Mixture mixture({1, 2, 5}, 3);
  std::vector<uint64_t> next(3, 0);
  for (uint64_t n = 0; n < 3 * Mixture::kBlock; ++n) {
    const auto pick = mixture.at(n);
    ASSERT_EQ(pick.sample, next[pick.file]++) << n;
  }
  EXPECT_EQ(next, (std::vector<uint64_t>{1536, 3072, 7680}));
}

TEST(Mixture, AnyNumberMayBeAskedFirst) {
  Mixture forward({1, 2}, 3), backward({1, 2}, 3);
  std::vector<Mixture::Pick> picks;
  for (uint64_t n = 0; n < 10000; ++n) picks.push_back(forward.at(n));
  for (uint64_t n = 10000; n-- > 0;) {
    const auto pick = backward.at(n);
    ASSERT_EQ(pick.file, picks[n].file);
    ASSERT_EQ(pick.sample, picks[n].sample);
  }
}

TEST(WindowOrder, WindowsOfAnEpochDoNotOverlapAndStayInside) {
  for (const auto& [tokens, context] :
       {std::pair{1000u, 7}, {2u, 1}, {3u, 1}, {65u, 64}, {129u, 64}, {192u, 64}, {193u, 64}}) {
    const WindowOrder order(tokens, context, 5, 0);
    const uint64_t windows = order.windows_per_epoch();
    ASSERT_GE(windows, 1u);
    for (uint64_t epoch = 0; epoch < 20; ++epoch) {
      std::set<uint64_t> begins;
      for (uint64_t i = 0; i < windows; ++i) {
        const TokenRange range = order.at(epoch * windows + i);
        ASSERT_EQ(range.size(), uint64_t(context) + 1);
        ASSERT_LE(range.end, tokens);
        begins.insert(range.begin);
      }
      ASSERT_EQ(begins.size(), windows);
      ASSERT_EQ(*begins.rbegin() - *begins.begin(), (windows - 1) * uint64_t(context));
      for (uint64_t begin : begins) {
        ASSERT_EQ((begin - *begins.begin()) % uint64_t(context), 0u);
      }
    }
  }
}

// Over the epochs every token is predicted, the last one too.
TEST(WindowOrder, NothingIsLeftOutForever) {
  for (uint64_t tokens : {20u, 21u, 27u, 8u, 13u}) {
    const WindowOrder order(tokens, 7, 5, 0);
    std::set<uint64_t> predicted;
    for (uint64_t n = 0; n < 300 * order.windows_per_epoch(); ++n) {
      const TokenRange range = order.at(n);
      for (uint64_t t = range.begin + 1; t < range.end; ++t) predicted.insert(t);
    }
    EXPECT_EQ(predicted.size(), tokens - 1) << tokens;
  }
}

// Even where the windows fit exactly, the cuts between samples fall anywhere.
TEST(WindowOrder, OriginsMoveByAWholeStride) {
  const WindowOrder order(8 * 7 + 1, 7, 5, 0);
  std::set<uint64_t> offsets;
  for (uint64_t n = 0; n < 100 * order.windows_per_epoch(); ++n)
    offsets.insert(order.at(n).begin % 7);
  EXPECT_EQ(offsets.size(), 7u);
}

TEST(WindowOrder, DiffersBySeedFileAndEpoch) {
  const auto begins = [](uint64_t seed, size_t file, uint64_t epoch) {
    const WindowOrder order(10000, 16, seed, file);
    std::vector<uint64_t> result;
    for (uint64_t i = 0; i < 50; ++i) {
      result.push_back(order.at(epoch * order.windows_per_epoch() + i).begin);
    }
    return result;
  };
  EXPECT_EQ(begins(1, 0, 0), begins(1, 0, 0));
  EXPECT_NE(begins(1, 0, 0), begins(2, 0, 0));
  EXPECT_NE(begins(1, 0, 0), begins(1, 1, 0));
  EXPECT_NE(begins(1, 0, 0), begins(1, 0, 1));
}

class Packed : public ::testing::Test {
 protected:
  void open(const std::vector<size_t>& lengths) {
    write_token_file(folder / "a.h5", 100000, counting_documents(lengths));
    file.emplace(folder / "a.h5");
  }

  PackedOrder order(int64_t context, uint64_t seed = 1) { return {*file, context, seed, 0}; }

  // The tokens of a sample and, where a document begins after the first place, a 1.
  std::pair<std::vector<uint64_t>, std::vector<int>> sample(PackedOrder& packed, uint64_t n) {
    SampleLayout layout;
    packed.locate(*file, n, layout);
    std::pair<std::vector<uint64_t>, std::vector<int>> result;
    for (const TokenRange& piece : layout.pieces) {
      for (uint64_t t = piece.begin; t < piece.end; ++t) result.first.push_back(t);
    }
    result.second.resize(result.first.size(), 0);
    for (int64_t start : layout.starts) result.second.at(size_t(start)) = 1;
    return result;
  }

  TemporaryFolder folder;
  std::optional<TokenFile> file;
};

// Laying an epoch's samples end to end gives whole documents, each once, with every boundary
// reported.
TEST_F(Packed, AnEpochIsEveryDocumentOnce) {
  std::vector<size_t> lengths;
  for (size_t d = 0; d < 300; ++d) lengths.push_back(1 + d * 31 % 50);
  open(lengths);
  const uint64_t total = file->token_count(Split::train);
  for (int64_t context : {1, 2, 13, 64, 1000}) {
    PackedOrder packed = order(context);
    const uint64_t samples = (total - 1) / uint64_t(context);
    std::vector<uint64_t> stream;
    std::vector<int> starts;
    for (uint64_t n = 0; n < samples; ++n) {
      const auto [tokens, begins] = sample(packed, n);
      ASSERT_EQ(tokens.size(), size_t(context) + 1);
      if (n > 0) {
        ASSERT_EQ(stream.back(), tokens[0]);
      }
      stream.insert(stream.end(), tokens.begin() + (n > 0), tokens.end());
      starts.insert(starts.end(), begins.begin() + (n > 0), begins.end());
    }
    EXPECT_EQ(std::set(stream.begin(), stream.end()).size(), stream.size());
    EXPECT_EQ(stream.size(), samples * uint64_t(context) + 1);
    for (size_t i = 1; i < stream.size(); ++i) {
      const bool begins =
          file->document(Split::train, file->document_at(Split::train, stream[i])).begin ==
          stream[i];
      ASSERT_EQ(starts[i] == 1, begins) << i;
      if (!begins) {
        ASSERT_EQ(stream[i], stream[i - 1] + 1);
      }
    }
  }
}

TEST_F(Packed, AnySampleMayBeAskedFirst) {
  open({5, 1, 9, 2, 2, 30, 1, 1, 4});
  PackedOrder forward = order(4), backward = order(4);
  std::vector<std::pair<std::vector<uint64_t>, std::vector<int>>> samples;
  for (uint64_t n = 0; n < 100; ++n) samples.push_back(sample(forward, n));
  for (uint64_t n = 100; n-- > 0;) ASSERT_EQ(sample(backward, n), samples[n]) << n;
}

TEST_F(Packed, CursorsContinueAnywhere) {
  open({5, 1, 9, 2, 2, 30, 1, 1, 4});
  PackedOrder packed = order(4);
  for (uint64_t n = 0; n < 60; ++n) {
    sample(packed, n);
    PackedOrder resumed = order(4), ahead = order(4);
    resumed.restore(packed.cursor());
    ASSERT_EQ(resumed.cursor(), packed.cursor());
    ASSERT_EQ(sample(resumed, n + 1), sample(ahead, n + 1));
  }
  EXPECT_TRUE(contains(error_of([&] { packed.restore({.document = 9}); }), "document 9 of 9"));
}

TEST_F(Packed, EpochsAndSeedsHaveTheirOwnOrder) {
  std::vector<size_t> lengths(100, 5);
  open(lengths);
  PackedOrder one = order(499, 1), two = order(499, 2);
  EXPECT_NE(sample(one, 0), sample(one, 1));
  EXPECT_NE(sample(one, 0), sample(two, 0));
}

TEST_F(Packed, DocumentsOfOneToken) {
  open(std::vector<size_t>(10, 1));
  PackedOrder packed = order(3);
  const auto [tokens, starts] = sample(packed, 0);
  EXPECT_EQ(starts, (std::vector<int>{0, 1, 1, 1}));
}

}  // namespace
}  // namespace tessera
