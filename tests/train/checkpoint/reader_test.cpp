#include <sys/resource.h>

#include "core/hdf5/attribute.h"
#include "core/hdf5/file.h"
#include "tests/train/checkpoint/fixture.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

TEST_F(CheckpointTest, RoundTripIsBitwise) {
  std::vector<NamedTensor> tensors;
  for (DType dtype : {DType::f32, DType::f64, DType::f16, DType::bf16, DType::e4m3, DType::e5m2,
                      DType::i32, DType::i64, DType::u8})
    for (const Shape& shape : {Shape{}, Shape{1}, Shape{0, 3}, Shape{31, 33}, Shape{2, 1, 3, 1, 5}})
      tensors.push_back({fmt::format("group.{}/{}", name_of(dtype), shape),
                         random(shape, dtype, tensors.size())});
  tensors.push_back({"large", random({257, 1021}, DType::f32, 99)});
  const CheckpointMeta saved{7, 1234567890123, "a: \"\xc3\xa9\"\n", "", "{}"};
  CheckpointStore(folder_, 1).save(saved, tensors);

  for (Verify verify : {Verify::at_once, Verify::as_read}) {
    const CheckpointReader reader(folder_ / "step_7", verify);
    EXPECT_EQ(reader.meta().step, saved.step);
    EXPECT_EQ(reader.meta().tokens, saved.tokens);
    EXPECT_EQ(reader.meta().config_yaml, saved.config_yaml);
    EXPECT_EQ(reader.meta().tokenizer_json, saved.tokenizer_json);
    EXPECT_EQ(reader.meta().state_json, saved.state_json);
    const std::vector<TensorInfo> infos = reader.tensors();
    ASSERT_EQ(infos.size(), tensors.size());
    for (size_t i = 0; i < tensors.size(); ++i) {
      const auto& [name, tensor] = tensors[i];
      EXPECT_EQ(infos[i].name, name);
      EXPECT_EQ(infos[i].shape, tensor.shape());
      EXPECT_EQ(infos[i].dtype, tensor.dtype());
      EXPECT_TRUE(reader.contains(name));
      const Tensor read = ctx_.zeros(tensor.shape(), tensor.dtype());
      reader.read(name, read);
      EXPECT_TRUE(same_bits(read, tensor)) << name;
    }
    EXPECT_FALSE(reader.contains("group.f32"));
  }
}

TEST_F(CheckpointTest, MasterFileShowsEveryTensorWhole) {
  save(1, 5);
  const hdf5::Handle master = hdf5::open_file(folder_ / "step_5" / "master.h5");
  EXPECT_EQ(hdf5::read_integer_attribute(master.get(), "step"), 5);
  for (const auto& [name, tensor] : model(5)) {
    const hdf5::Handle dataset(H5Dopen2(master.get(), name.c_str(), H5P_DEFAULT));
    ASSERT_TRUE(dataset) << name;
    EXPECT_EQ(hdf5::read_text_attribute(dataset.get(), "dtype"), name_of(tensor.dtype()));
    if (tensor.dtype() != DType::f32) continue;
    const Tensor read = ctx_.zeros(tensor.shape(), DType::f32);
    ASSERT_GE(H5Dread(dataset.get(), H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, read.raw()),
              0);
    EXPECT_TRUE(same_bits(read, tensor)) << name;
  }
}

TEST_F(CheckpointTest, SavingAndReadingCopyNoTensor) {
  const Tensor tensor = random({16 << 20}, DType::u8, 1);
  const auto peak = [] {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;  // KiB
  };
  CheckpointStore(folder_, 1).save(meta(0), model(0));  // loads what HDF5 needs
  const long before = peak();
  CheckpointStore(folder_, 1).save(meta(1), std::vector{NamedTensor{"t", tensor}});
  CheckpointReader(folder_ / "latest").read("t", tensor);
  EXPECT_LT(peak() - before, 8 << 10);
}

TEST_F(CheckpointTest, AnotherModelIsNamed) {
  save(1, 5);
  const CheckpointReader reader(folder_ / "latest");
  const std::string directory = (folder_ / "step_5").string();
  EXPECT_EQ(error_of([&] { reader.read("parameters/bias", ctx_.zeros({31}, DType::f32)); }),
            directory +
                " has no tensor parameters/bias: it is a checkpoint of another model; use the "
                "settings in its config.yaml");
  EXPECT_EQ(
      error_of([&] { reader.read("parameters/layers.0.norm", ctx_.zeros({32}, DType::f32)); }),
      directory +
          "/rank_0.h5: tensor parameters/layers.0.norm has shape [31], the model needs [32]: it "
          "is a checkpoint of another shape; use the model sizes in its config.yaml");
  EXPECT_EQ(
      error_of([&] { reader.read("parameters/layers.0.norm", ctx_.zeros({31}, DType::bf16)); }),
      directory +
          "/rank_0.h5: tensor parameters/layers.0.norm is f32, the model needs bf16: use the "
          "precision in its config.yaml");
}

TEST_F(CheckpointTest, WhatIsNoCheckpointIsNamed) {
  EXPECT_EQ(error_of([&] { CheckpointReader(folder_ / "step_3"); }),
            "checkpoint " + (folder_ / "step_3").string() + " does not exist");
  save(1, 5);
  EXPECT_EQ(error_of([&] { CheckpointReader reader(folder_); }),
            folder_.string() +
                " is not a checkpoint: it has no manifest.json; give a step_N directory or latest");
}

TEST_F(CheckpointTest, ForeignHdf5IsRefused) {
  save(1, 5);
  const fs::path file = folder_ / "step_5" / "rank_0.h5";
  hdf5::FileWriter(file).close();
  EXPECT_NE(error_of([&] { CheckpointReader(folder_ / "step_5"); }).find(file.string()),
            std::string::npos);
  const std::string error = error_of([&] {
    const CheckpointReader reader(folder_ / "step_5", Verify::as_read);
    reader.read("parameters/layers.0.norm", ctx_.zeros({31}, DType::f32));
  });
  EXPECT_EQ(error.find(file.string() + ": tensor parameters/layers.0.norm: it cannot be opened"),
            0u)
      << error;
  write_text_file(folder_ / "step_5" / "master.h5", "no HDF5");
  EXPECT_EQ(error_of([&] { CheckpointReader(folder_ / "step_5", Verify::as_read); }),
            fs::absolute(folder_ / "step_5" / "master.h5").string() + " is not an HDF5 file");
}

TEST_F(CheckpointTest, ADamagedTensorIsFoundWhenItIsRead) {
  save(1, 5);
  const fs::path file = folder_ / "step_5" / "rank_0.h5";
  std::string contents = read_text_file(file);
  const Tensor norm = model(5)[1].tensor;
  const std::string bits(reinterpret_cast<const char*>(norm.raw()), norm.bytes());
  const size_t at = contents.find(bits);
  ASSERT_NE(at, std::string::npos);
  contents[at + 17] = char(contents[at + 17] ^ 4);
  write_text_file(file, contents);
  const CheckpointReader reader(folder_ / "step_5", Verify::as_read);
  EXPECT_EQ(
      error_of([&] { reader.read("parameters/layers.0.norm", ctx_.zeros({31}, DType::f32)); }),
      file.string() +
          ": tensor parameters/layers.0.norm: its checksum does not match: the checkpoint is "
          "damaged");
  reader.read("parameters/layers.0.weight", ctx_.zeros({33, 31}, DType::f32));
}

TEST_F(CheckpointTest, AnotherFormatVersionIsNamed) {
  save(1, 5);
  const fs::path file = folder_ / "step_5" / "manifest.json";
  std::string text = read_text_file(file);
  const std::string version = "\"format_version\": 1";
  ASSERT_NE(text.find(version), std::string::npos);
  text.replace(text.find(version), version.size(), "\"format_version\": 9");
  write_text_file(file, text);
  EXPECT_EQ(error_of([&] { CheckpointReader(folder_ / "step_5"); }),
            file.string() + ": its format version is 9, this program reads version 1");
}

}  // namespace
}  // namespace tessera
