// A scratch folder and tensors whose contents follow from a number.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "core/context.h"
#include "core/files/file.h"
#include "train/checkpoint/checkpoint.h"

namespace tessera {

class CheckpointTest : public testing::Test {
 protected:
  CheckpointTest() { std::filesystem::create_directories(root_); }
  ~CheckpointTest() override {
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
  }

  // Random bits, NaNs with payloads among them, that differ from tensor to tensor.
  Tensor random(const Shape& shape, DType dtype, uint64_t seed) {
    Tensor tensor = ctx_.empty(shape, dtype);
    const Philox bits(seed, purpose_id("checkpoint test"), 0);
    for (size_t i = 0; i < tensor.bytes(); i += 16)
      std::memcpy(tensor.raw() + i, bits.block(i).data(), std::min(tensor.bytes() - i, size_t{16}));
    return tensor;
  }

  // A small model; what it holds depends on the step.
  std::vector<NamedTensor> model(int64_t step) {
    const auto seed = uint64_t(step) * 3;
    return {{"parameters/layers.0.weight", random({33, 31}, DType::f32, seed)},
            {"parameters/layers.0.norm", random({31}, DType::f32, seed + 1)},
            {"optimizer/m/layers.0.weight", random({33, 31}, DType::bf16, seed + 2)}};
  }

  static CheckpointMeta meta(int64_t step) {
    return {step, step * 512, "model:\n  width: 31\n", R"({"kind": "byte"})",
            fmt::format(R"({{"position": {}}})", step)};
  }

  void save(int keep, int64_t step) {
    CheckpointStore(folder_, keep).save(meta(step), model(step));
  }

  static bool same_bits(const Tensor& a, const Tensor& b) {
    return a.bytes() == b.bytes() &&
           (a.bytes() == 0 || std::memcmp(a.raw(), b.raw(), a.bytes()) == 0);
  }

  // Every tensor and text of the directory is what save(step) was given.
  void expect_intact(const std::filesystem::path& directory, int64_t step) {
    const CheckpointReader reader(directory);
    EXPECT_EQ(reader.meta().step, step);
    EXPECT_EQ(reader.meta().state_json, meta(step).state_json);
    for (const auto& [name, tensor] : model(step)) {
      const Tensor read = ctx_.empty(tensor.shape(), tensor.dtype());
      reader.read(name, read);
      EXPECT_TRUE(same_bits(read, tensor)) << name << " of step " << step;
    }
  }

  std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(folder_))
      found.push_back(entry.path().filename());
    std::sort(found.begin(), found.end());
    return found;
  }

  template <class Body>
  static std::string error_of(Body&& body) {
    try {
      body();
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }

  Context ctx_{ContextOptions{}};
  std::filesystem::path root_ =
      std::filesystem::path(testing::TempDir()) / fmt::format("tessera_checkpoint_{}", ::getpid());
  std::filesystem::path folder_ = root_ / "checkpoints";
};

}  // namespace tessera
