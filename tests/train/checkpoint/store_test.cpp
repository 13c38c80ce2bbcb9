#include "tests/train/checkpoint/fixture.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;
using Names = std::vector<std::string>;

TEST_F(CheckpointTest, KeepsTheNewest) {
  CheckpointStore store(folder_, 2);
  EXPECT_FALSE(find_latest_checkpoint(folder_).directory);
  for (int64_t step : {5, 10, 100, 20}) store.save(meta(step), model(step));
  // 100 is newer than the last one saved: not this run's to remove.
  EXPECT_EQ(names(), (Names{"latest", "step_10", "step_100", "step_20"}));
  EXPECT_EQ(fs::read_symlink(folder_ / "latest"), "step_20");
  store.save(meta(110), model(110));
  EXPECT_EQ(names(), (Names{"latest", "step_100", "step_110"}));
  EXPECT_EQ(find_latest_checkpoint(folder_).directory, folder_ / "step_110");
  expect_intact(folder_ / "latest", 110);
  expect_intact(folder_ / "step_100", 100);
}

TEST_F(CheckpointTest, TheSameStepIsReplaced) {
  CheckpointStore store(folder_, 2);
  store.save(meta(5), model(4));
  store.save(meta(5), model(5));
  EXPECT_EQ(names(), (Names{"latest", "step_5"}));
  expect_intact(folder_ / "step_5", 5);
}

TEST_F(CheckpointTest, EveryDamagedFileIsPassedOver) {
  save(2, 5);
  save(2, 10);
  for (const auto& entry : fs::directory_iterator(folder_ / "step_10")) {
    const fs::path file = entry.path();
    const std::string good = read_text_file(file);
    const auto expect_passed_over = [&](const std::string& how) {
      const LatestCheckpoint latest = find_latest_checkpoint(folder_);
      EXPECT_EQ(latest.directory, folder_ / "step_5") << file << ' ' << how;
      ASSERT_EQ(latest.damaged.size(), 1u) << file << ' ' << how;
      EXPECT_NE(latest.damaged[0].find(file.filename().string()), std::string::npos)
          << latest.damaged[0];
      EXPECT_EQ(latest.damaged[0].find('\n'), std::string::npos) << latest.damaged[0];
    };
    for (size_t at : {size_t{0}, good.size() / 3, good.size() / 2, good.size() - 1}) {
      std::string flipped = good;
      flipped[at] = char(flipped[at] ^ 1);
      write_text_file(file, flipped);
      expect_passed_over(fmt::format("flipped at {}", at));
      write_text_file(file, good.substr(0, at));
      expect_passed_over(fmt::format("cut at {}", at));
    }
    fs::remove(file);
    expect_passed_over("removed");
    write_text_file(file, good);
    EXPECT_EQ(find_latest_checkpoint(folder_).directory, folder_ / "step_10");
  }
}

TEST_F(CheckpointTest, ADamagedOneIsReplacedOnceItsStepComesAgain) {
  for (int64_t step : {5, 10}) save(2, step);
  fs::resize_file(folder_ / "step_10" / "rank_0.h5", 100);
  save(2, 7);
  EXPECT_EQ(names(), (Names{"latest", "step_10", "step_5", "step_7"}));
  EXPECT_EQ(find_latest_checkpoint(folder_).directory, folder_ / "step_7");
  save(2, 10);
  EXPECT_EQ(names(), (Names{"latest", "step_10", "step_7"}));
  expect_intact(folder_ / "latest", 10);
}

TEST_F(CheckpointTest, TensorsThatCannotBeSavedAreNamed) {
  CheckpointStore store(folder_, 1);
  store.save(meta(1), model(1));
  Context planned(ContextOptions{.device = Device::meta});
  const Tensor tensor = random({3, 4}, DType::f32, 0);
  const auto error = [&](const std::vector<NamedTensor>& tensors) {
    return error_of([&] { store.save(meta(2), tensors); });
  };
  const std::string start =
      "checkpoint " + (folder_ / "step_2").string() + " was not saved: tensor";
  EXPECT_EQ(error({{"t", tensor.transpose(0, 1)}}),
            start + " t is not a contiguous tensor with data");
  EXPECT_EQ(error({{"t", planned.empty({3}, DType::f32)}}),
            start + " t is not a contiguous tensor with data");
  EXPECT_EQ(error({{"/t", tensor}}), start + " name '/t' is empty or begins with /");
  EXPECT_NE(error({{"t", tensor}, {"t", tensor}}).find("two tensors have the name t"),
            std::string::npos);
  EXPECT_NE(error({{"t", tensor}, {"t/a", tensor}}).find("cannot store tensor t/a: "),
            std::string::npos);
  EXPECT_EQ(names(), (Names{"latest", "step_1"}));
}

}  // namespace
}  // namespace tessera
