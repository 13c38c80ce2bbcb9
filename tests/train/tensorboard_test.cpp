// TensorBoard's files, read back by the format's description.
#include <gtest/gtest.h>

#include <cstring>
#include <map>

#include "tests/data/support.h"
#include "train/metrics/tensorboard.h"
#include "train/metrics/tfrecord.h"

namespace tessera::test {
namespace {

TEST(Crc32cTest, KnownAnswers) {  // RFC 3720, appendix B.4
  EXPECT_EQ(crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43u);
  EXPECT_EQ(crc32c(""), 0u);
}

template <class T>
T read_number(std::string_view bytes, size_t at) {
  T value;
  std::memcpy(&value, bytes.substr(at, sizeof(T)).data(), sizeof(T));
  return value;
}

uint32_t unmasked(uint32_t crc) {
  const uint32_t rotated = crc - 0xa282ead8u;
  return (rotated >> 17) | (rotated << 15);
}

// The contents of the records of a file; fails where a CRC is wrong.
std::vector<std::string> records_of(const std::filesystem::path& path) {
  const std::string file = read_text_file(path);
  std::vector<std::string> records;
  size_t at = 0;
  while (at < file.size()) {
    const auto length = read_number<uint64_t>(file, at);
    EXPECT_EQ(unmasked(read_number<uint32_t>(file, at + 8)), crc32c(file.substr(at, 8)));
    records.push_back(file.substr(at + 12, length));
    EXPECT_EQ(records.back().size(), length);
    EXPECT_EQ(unmasked(read_number<uint32_t>(file, at + 12 + length)), crc32c(records.back()));
    at += 12 + length + 4;
  }
  return records;
}

struct Fields {
  std::map<uint32_t, std::vector<std::string>> texts;  // submessages too
  std::map<uint32_t, uint64_t> integers;
  std::map<uint32_t, double> numbers;
};

uint64_t read_varint(std::string_view bytes, size_t& at) {
  uint64_t value = 0;
  for (int shift = 0;; shift += 7) {
    const auto byte = uint8_t(bytes.at(at++));
    value |= uint64_t(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
}

Fields parse_message(std::string_view bytes) {
  Fields fields;
  for (size_t at = 0; at < bytes.size();) {
    const uint64_t key = read_varint(bytes, at);
    const auto field = uint32_t(key >> 3);
    switch (key & 7) {
      case 0:
        fields.integers[field] = read_varint(bytes, at);
        break;
      case 1:
        fields.numbers[field] = read_number<double>(bytes, at);
        at += 8;
        break;
      case 2: {
        const uint64_t size = read_varint(bytes, at);
        fields.texts[field].emplace_back(bytes.substr(at, size));
        at += size;
        break;
      }
      case 5:
        fields.numbers[field] = read_number<float>(bytes, at);
        at += 4;
        break;
      default:
        ADD_FAILURE() << "wire type " << (key & 7);
        return fields;
    }
  }
  return fields;
}

// tag -> value
std::map<std::string, double> scalars_of(const Fields& event) {
  std::map<std::string, double> scalars;
  const auto summary = event.texts.find(5);
  if (summary == event.texts.end()) return scalars;
  const Fields values = parse_message(summary->second.at(0));
  for (const std::string& text : values.texts.at(1)) {
    const Fields value = parse_message(text);
    scalars[value.texts.at(1).at(0)] = value.numbers.at(2);
  }
  return scalars;
}

std::vector<std::filesystem::path> files_in(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) files.push_back(entry);
  std::ranges::sort(files);
  return files;
}

TEST(TensorBoardFileTest, HoldsStepsAndEvaluations) {
  const TemporaryFolder folder;
  {
    TensorBoardFile file(folder / "tensorboard", 0);
    StepRecord step{.step = 300, .tokens = 3000, .loss = 2.5, .grad_norm = 0.75, .lr = 1e-3};
    step.peak_bytes = 4096;
    step.peak_by_tag[0] = 1024;
    file.write(step);
    file.write(EvaluationRecord{.step = 300, .loss = 2.75});
  }
  const auto files = files_in(folder / "tensorboard");
  ASSERT_EQ(files.size(), 1u);
  EXPECT_TRUE(files[0].filename().string().starts_with("events.out.tfevents."));
  const std::vector<std::string> records = records_of(files[0]);
  ASSERT_EQ(records.size(), 4u);
  EXPECT_EQ(parse_message(records[0]).texts.at(3).at(0), "brain.Event:2");
  const Fields step = parse_message(records[2]);
  EXPECT_EQ(step.integers.at(2), 300u);
  EXPECT_GT(step.numbers.at(1), 1.7e9);  // seconds since 1970
  const auto scalars = scalars_of(step);
  EXPECT_EQ(scalars.at("loss/train"), 2.5);
  EXPECT_EQ(scalars.at("optimizer/grad_norm"), 0.75);
  EXPECT_EQ(scalars.at("optimizer/lr"), double(1e-3f));
  EXPECT_EQ(scalars.at("memory/peak_bytes"), 4096);
  EXPECT_EQ(scalars.at("memory/" + std::string(name_of(MemoryTag(0)))), 1024);
  EXPECT_EQ(scalars_of(parse_message(records[3])),
            (std::map<std::string, double>{{"loss/validation", 2.75}}));
}

TEST(TensorBoardFileTest, AResumedRunVoidsWhatItWritesAgain) {
  const TemporaryFolder folder;
  TensorBoardFile(folder / "tensorboard", 0).write(EvaluationRecord{.step = 20, .loss = 1});
  const TensorBoardFile resumed(folder / "tensorboard", 10);
  const auto files = files_in(folder / "tensorboard");
  ASSERT_EQ(files.size(), 2u);
  const std::vector<std::string> records = records_of(files[1]);
  ASSERT_EQ(records.size(), 2u);
  const Fields start = parse_message(records[1]);
  EXPECT_EQ(start.integers.at(2), 11u);
  EXPECT_EQ(parse_message(start.texts.at(7).at(0)).integers.at(1), 1u);  // SessionLog.START
}

}  // namespace
}  // namespace tessera::test
