#include "data/loader.h"

#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <numeric>
#include <set>
#include <thread>

#include "core/hdf5/handle.h"
#include "data/prefetcher.h"
#include "tests/data/support.h"

namespace tessera {
namespace {

using namespace test;

class LoaderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::vector<size_t> lengths;
    for (size_t d = 0; d < 200; ++d) lengths.push_back(1 + d * 37 % 60);
    write_token_file(folder / "a.h5", 20000, counting_documents(lengths));
    write_token_file(folder / "b.h5", 20000, counting_documents({900, 1, 1, 300}, 10000));
  }

  LoaderConfig config(bool pack = false) {
    return {.files = {{folder / "a.h5", 3.0}, {folder / "b.h5", 1.0}},
            .context = 16,
            .pack = pack,
            .document_mask = true,
            .seed = 11,
            .samples_per_step = 8};
  }

  // Rows of a batch as text: tokens, targets, positions and where its documents start.
  static std::vector<std::string> rows_of(const Batch& batch) {
    std::vector<std::string> rows;
    for (int64_t r = 0; r < batch.samples; ++r) {
      const auto row = [&](const std::vector<int32_t>& values) {
        return std::span(values).subspan(size_t(r * batch.context), size_t(batch.context));
      };
      std::vector<int64_t> starts;
      for (int32_t s : batch.cu_seqlens) {
        if (s >= r * batch.context && s < (r + 1) * batch.context)
          starts.push_back(s - r * batch.context);
      }
      rows.push_back(fmt::format("{} | {} | {} | {}", row(batch.tokens), row(batch.targets),
                                 row(batch.positions), starts));
    }
    return rows;
  }

  static std::vector<std::string> read_rows(Loader& loader, int steps) {
    std::vector<std::string> rows;
    for (int s = 0; s < steps; ++s) {
      const auto more = rows_of(loader.next());
      rows.insert(rows.end(), more.begin(), more.end());
    }
    return rows;
  }

  TemporaryFolder folder;
};

void check_batch(const Batch& batch, const LoaderConfig& config) {
  const auto size = size_t(batch.samples * batch.context);
  ASSERT_EQ(batch.context, config.context);
  ASSERT_EQ(batch.tokens.size(), size);
  ASSERT_EQ(batch.targets.size(), size);
  ASSERT_EQ(batch.positions.size(), size);
  const std::set<int32_t> starts(batch.cu_seqlens.begin(), batch.cu_seqlens.end());
  ASSERT_EQ(starts.size(), batch.cu_seqlens.size());
  ASSERT_TRUE(std::ranges::is_sorted(batch.cu_seqlens));
  ASSERT_EQ(batch.cu_seqlens.front(), 0);
  ASSERT_EQ(batch.cu_seqlens.back(), int32_t(size));
  for (size_t i = 0; i < size; ++i) {
    const bool row_starts = i % size_t(batch.context) == 0;
    const bool row_ends = (i + 1) % size_t(batch.context) == 0;
    const bool starts_here = starts.contains(int32_t(i));
    ASSERT_TRUE(!row_starts || starts_here);
    ASSERT_EQ(batch.positions[i], starts_here ? 0 : batch.positions[i - 1] + 1);
    if (row_ends) continue;
    // Tokens count up within a document, and nothing is predicted across its end.
    ASSERT_EQ(batch.targets[i],
              starts.contains(int32_t(i) + 1) ? kIgnoreTarget : batch.tokens[i + 1]);
    if (!starts.contains(int32_t(i) + 1)) {
      ASSERT_EQ(batch.tokens[i + 1], batch.tokens[i] + 1);
    }
  }
}

TEST_F(LoaderTest, BatchesAreConsistent) {
  for (bool pack : {false, true}) {
    Loader loader(config(pack));
    for (int s = 0; s < 200; ++s) check_batch(loader.next(), config(pack));
  }
}

// The documents' starts that are reported are those of the file.
TEST_F(LoaderTest, BoundariesAreTheFiles) {
  LoaderConfig one = config();
  one.files.pop_back();
  TokenFile file(folder / "a.h5");
  Loader loader(one);
  for (int s = 0; s < 50; ++s) {
    const Batch batch = loader.next();
    for (size_t i = 0; i < batch.tokens.size(); ++i) {
      const auto token = uint64_t(batch.tokens[i]);
      const bool first =
          file.document(Split::train, file.document_at(Split::train, token)).begin == token;
      const bool row_starts = i % size_t(one.context) == 0;
      ASSERT_EQ(batch.positions[i] == 0, first || row_starts);
    }
  }
}

TEST_F(LoaderTest, WithoutMaskTargetsCrossBoundaries) {
  for (bool pack : {false, true}) {
    LoaderConfig unmasked = config(pack);
    unmasked.document_mask = false;
    Loader loader(unmasked), masked_loader(config(pack));
    for (int s = 0; s < 30; ++s) {
      const Batch batch = loader.next(), masked = masked_loader.next();
      EXPECT_TRUE(batch.cu_seqlens.empty());
      EXPECT_EQ(batch.target_count(), 8 * 16);
      EXPECT_EQ(batch.tokens, masked.tokens);
      EXPECT_LT(masked.target_count(), 8 * 16);
      for (size_t i = 0; i < batch.targets.size(); ++i) {
        EXPECT_EQ(batch.positions[i], int32_t(i % 16));
        if ((i + 1) % 16 != 0) {
          EXPECT_EQ(batch.targets[i], batch.tokens[i + 1]);
        }
      }
    }
  }
}

// The global order: ranks, batch size and prefetching only divide it.
TEST_F(LoaderTest, OrderDoesNotDependOnRanksBatchOrPrefetch) {
  for (bool pack : {false, true}) {
    Loader reference(config(pack));
    const std::vector<std::string> expected = read_rows(reference, 60);
    for (const auto& [samples, ranks, prefetch] : {std::tuple{8, 1, 0},
                                                   {8, 2, 4},
                                                   {8, 4, 1},
                                                   {24, 2, 3},
                                                   {1, 1, 2},
                                                   {4, 4, 0},
                                                   {160, 1, 4}}) {
      LoaderConfig divided = config(pack);
      divided.samples_per_step = samples;
      divided.ranks = ranks;
      divided.prefetch = prefetch;
      std::vector<std::string> got(expected.size());
      for (int rank = 0; rank < ranks; ++rank) {
        divided.rank = rank;
        Loader loader(divided);
        for (size_t step = 0; step < expected.size() / size_t(samples); ++step) {
          const auto rows = rows_of(loader.next());
          const size_t first = step * size_t(samples) + size_t(rank) * rows.size();
          std::ranges::copy(rows, got.begin() + int64_t(first));
        }
      }
      EXPECT_EQ(got, expected) << samples << " samples, " << ranks << " ranks, pack " << pack;
    }
  }
}

TEST_F(LoaderTest, SeedsDiffer) {
  LoaderConfig other = config();
  other.seed = 12;
  Loader a(config()), b(other);
  EXPECT_NE(read_rows(a, 3), read_rows(b, 3));
}

TEST_F(LoaderTest, RestoresExactlyAlsoOnOtherRanks) {
  for (bool pack : {false, true}) {
    for (int steps : {0, 1, 7, 100, 520}) {
      Loader first(config(pack)), reference(config(pack)), resumed(config(pack));
      read_rows(first, steps);
      const LoaderState state = first.state();
      EXPECT_EQ(state.samples, uint64_t(steps) * 8);
      read_rows(reference, steps);
      const auto expected = read_rows(reference, 40);
      read_rows(resumed, 3);
      resumed.restore(loader_state_from_json(to_json(state)));
      EXPECT_EQ(resumed.state(), state);
      EXPECT_EQ(read_rows(resumed, 40), expected) << steps;
      EXPECT_EQ(resumed.state(), reference.state());

      LoaderConfig second_of_two = config(pack);
      second_of_two.ranks = 2;
      second_of_two.rank = 1;
      Loader half(second_of_two);
      half.restore(state);
      const auto rows = read_rows(half, 1);
      EXPECT_TRUE(std::ranges::equal(rows, std::span(expected).subspan(4, 4)));
    }
  }
}

// Going back is as good as going forward.
TEST_F(LoaderTest, RestoresBackwards) {
  for (bool pack : {false, true}) {
    Loader loader(config(pack));
    const LoaderState start = loader.state();
    const auto expected = read_rows(loader, 20);
    read_rows(loader, 300);
    loader.restore(start);
    EXPECT_EQ(read_rows(loader, 20), expected);
  }
}

// The cursors are used, not only carried: a walk from the epoch's start would not notice a bad one.
TEST_F(LoaderTest, RestoresFromTheCursors) {
  Loader loader(config(true));
  read_rows(loader, 10);
  LoaderState state = loader.state();
  ASSERT_EQ(state.cursors.size(), 2u);
  EXPECT_GT(state.cursors[0].document, 0u);
  state.cursors[0].document = 200;
  EXPECT_TRUE(contains(error_of([&] { loader.restore(state); }), "names document 200 of 200"));
  state.cursors.pop_back();
  EXPECT_TRUE(contains(error_of([&] { loader.restore(state); }), "damaged"));
}

TEST_F(LoaderTest, StateOfOtherDataOrSettingsIsRejected) {
  const LoaderState state = Loader(config()).state();
  const auto rejects = [&](const LoaderConfig& other) {
    Loader loader(other);
    return contains(error_of([&] { loader.restore(state); }), "belongs to other token files");
  };
  LoaderConfig other = config();
  other.seed = 1;
  EXPECT_TRUE(rejects(other));
  other = config(true);
  EXPECT_TRUE(rejects(other));
  other = config();
  other.context = 8;
  EXPECT_TRUE(rejects(other));
  other = config();
  other.files[0].weight = 2;
  EXPECT_TRUE(rejects(other));
  other = config();
  std::swap(other.files[0].path, other.files[1].path);
  EXPECT_TRUE(rejects(other));
  write_token_file(folder / "order.h5", 20000, counting_documents({1, 1, 900, 300}, 10000));
  other = config();
  other.files[1].path = folder / "order.h5";
  EXPECT_TRUE(rejects(other));
  // Weights count by their proportion; ranks, batch and mask do not change the order.
  other = config();
  other.files[0].weight = 6, other.files[1].weight = 2;
  other.samples_per_step = 6, other.ranks = 2, other.document_mask = false;
  Loader(other).restore(state);
  EXPECT_TRUE(contains(error_of([] { loader_state_from_json("{"); }), "damaged"));
  EXPECT_TRUE(contains(error_of([] { loader_state_from_json("{\"samples\":1}"); }), "damaged"));
}

TEST_F(LoaderTest, FilesAreMixedByWeight) {
  Loader loader(config());
  int64_t second = 0;
  for (int s = 0; s < 1024; ++s) {
    const Batch batch = loader.next();
    for (int64_t r = 0; r < 8; ++r) second += batch.tokens[size_t(r * 16)] >= 10000;
  }
  EXPECT_EQ(second, 2 * 1024);  // a quarter of two blocks of 4096 samples
}

TEST_F(LoaderTest, WeightZeroIsNotEvenOpened) {
  LoaderConfig zero = config();
  zero.files.push_back({folder / "missing.h5", 0.0});
  Loader loader(zero), without(config());
  EXPECT_EQ(read_rows(loader, 5), read_rows(without, 5));
}

TEST_F(LoaderTest, ShortestPossibleData) {
  write_token_file(folder / "tiny.h5", 20, {{3, 4}});
  for (bool pack : {false, true}) {
    LoaderConfig tiny = config(pack);
    tiny.files = {{folder / "tiny.h5", 1.0}};
    tiny.context = 1;
    tiny.samples_per_step = 1;
    Loader loader(tiny);
    for (int s = 0; s < 5; ++s) {
      const Batch batch = loader.next();
      EXPECT_EQ(batch.tokens, std::vector<int32_t>{3});
      EXPECT_EQ(batch.targets, std::vector<int32_t>{4});
      EXPECT_EQ(batch.cu_seqlens, (std::vector<int32_t>{0, 1}));
    }
  }
}

TEST_F(LoaderTest, DocumentsOfOneTokenPredictNothing) {
  write_token_file(folder / "ones.h5", 20, Documents(10, {5}));
  for (bool pack : {false, true}) {
    LoaderConfig ones = config(pack);
    ones.files = {{folder / "ones.h5", 1.0}};
    ones.context = 4;
    ones.samples_per_step = 2;
    const Batch batch = Loader(ones).next();
    EXPECT_EQ(batch.target_count(), 0);
    EXPECT_EQ(batch.cu_seqlens, (std::vector<int32_t>{0, 1, 2, 3, 4, 5, 6, 7, 8}));
    EXPECT_EQ(batch.positions, std::vector<int32_t>(8, 0));
  }
}

TEST_F(LoaderTest, KnowsItsVocabulary) {
  Loader loader(config());
  EXPECT_EQ(loader.vocabulary_size(), 20000u);
  EXPECT_EQ(loader.tokenizer_hash(), NumberTokenizer(20000).hash());
  loader.check_vocabulary(20000);
  const std::string text = error_of([&] { loader.check_vocabulary(19999); });
  EXPECT_TRUE(contains(text, (folder / "a.h5").string() + " has a vocabulary of 20000 ids"));
}

TEST_F(LoaderTest, BadSettingsAndFiles) {
  const auto error = [&](auto&& change) {
    LoaderConfig bad = config();
    change(bad);
    return error_of([&] { Loader loader(bad); });
  };
  EXPECT_TRUE(contains(error([](auto& c) { c.files.clear(); }), "no token files"));
  EXPECT_TRUE(contains(error([](auto& c) { c.context = 0; }), "the context is 0"));
  EXPECT_TRUE(contains(error([](auto& c) { c.rank = 1; }), "rank 1 of 1"));
  EXPECT_TRUE(
      contains(error([](auto& c) { c.ranks = 3; }), "8 samples per step cannot be shared by 3"));
  EXPECT_TRUE(contains(error([](auto& c) { c.samples_per_step = 0; }), "0 samples per step"));
  EXPECT_TRUE(
      contains(error([](auto& c) { c.context = int64_t{1} << 40; }), "than a batch can hold"));
  EXPECT_TRUE(contains(error([](auto& c) { c.prefetch = -1; }), "prefetch is -1"));
  EXPECT_TRUE(contains(error([](auto& c) { c.files[1].weight = -1; }), "has weight -1"));
  EXPECT_TRUE(contains(error([](auto& c) { c.files[1].weight = NAN; }), "has weight nan"));
  EXPECT_TRUE(
      contains(error([](auto& c) { c.files[0].weight = c.files[1].weight = 0; }), "weight 0"));
  EXPECT_TRUE(
      contains(error([&](auto& c) { c.files[1].path = folder / "no.h5"; }), "does not exist"));
  const std::string short_file = error([](auto& c) { c.context = 1202; });
  EXPECT_TRUE(
      contains(short_file, "b.h5 has 1202 training tokens, fewer than the 1203 of one sample"));
  write_token_file(folder / "other.h5", 300, counting_documents({100}));
  const std::string mixed = error([&](auto& c) { c.files[1].path = folder / "other.h5"; });
  EXPECT_TRUE(contains(mixed, "cannot be mixed"));
}

// An id outside the vocabulary is met by the reading thread and reaches the caller, again and
// again.
TEST_F(LoaderTest, ErrorsOfTheThreadReachTheCaller) {
  {
    const hdf5::Handle file(H5Fopen((folder / "a.h5").c_str(), H5F_ACC_RDWR, H5P_DEFAULT));
    const hdf5::Handle tokens(H5Dopen2(file.get(), "train/tokens", H5P_DEFAULT));
    const std::vector<uint16_t> bad(5000, 20000);
    const hsize_t first = 0, count = bad.size();
    const hdf5::Handle space(H5Dget_space(tokens.get()));
    H5Sselect_hyperslab(space.get(), H5S_SELECT_SET, &first, nullptr, &count, nullptr);
    const hdf5::Handle memory(H5Screate_simple(1, &count, nullptr));
    ASSERT_GE(H5Dwrite(tokens.get(), H5T_NATIVE_UINT16, memory.get(), space.get(), H5P_DEFAULT,
                       bad.data()),
              0);
  }
  for (int prefetch : {0, 4}) {
    LoaderConfig damaged = config();
    damaged.files.pop_back();
    damaged.prefetch = prefetch;
    Loader loader(damaged);
    for (int repeat = 0; repeat < 2; ++repeat) {
      EXPECT_TRUE(contains(error_of([&] {
                             for (int s = 0; s < 1000; ++s) loader.next();
                           }),
                           "is token id 20000"));
    }
  }
}

TEST_F(LoaderTest, LeavesCleanlyWhileReadingAhead) {
  for (int repeat = 0; repeat < 50; ++repeat) {
    Loader loader(config(repeat % 2 == 0));
    if (repeat % 3 != 0) loader.next();
    Loader moved = std::move(loader);
    moved.next();
  }
}

TEST(Prefetcher, HoldsAtMostItsDepth) {
  std::atomic<int> made = 0;
  Prefetcher<int> prefetcher([&] { return made++; }, 3);
  EXPECT_EQ(prefetcher.next(), 0);
  while (made < 4) std::this_thread::yield();
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_EQ(made, 4);
  for (int i = 1; i < 100; ++i) EXPECT_EQ(prefetcher.next(), i);
}

TEST(Prefetcher, ResultsBeforeAnErrorArrive) {
  for (size_t depth : {0, 2}) {
    int made = 0;
    Prefetcher<int> prefetcher(
        [&] {
          check(made < 3, "enough");
          return made++;
        },
        depth);
    for (int i = 0; i < 3; ++i) EXPECT_EQ(prefetcher.next(), i);
    for (int i = 0; i < 2; ++i) EXPECT_EQ(error_of([&] { prefetcher.next(); }), "enough");
  }
}

}  // namespace
}  // namespace tessera
