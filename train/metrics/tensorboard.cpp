#include "train/metrics/tensorboard.h"

#include <fmt/format.h>
#include <unistd.h>

#include <bit>
#include <chrono>

#include "core/check.h"
#include "train/metrics/tfrecord.h"

namespace tessera {
namespace {

// Fields of a protocol buffer ("Encoding", protobuf.dev): a key of number and wire type, a value.
class Message {
 public:
  Message& integer(uint32_t field, uint64_t value) {
    varint(field << 3);
    varint(value);
    return *this;
  }
  Message& number(uint32_t field, double value) {
    return fixed(field << 3 | 1, std::bit_cast<uint64_t>(value), 8);
  }
  Message& number(uint32_t field, float value) {
    return fixed(field << 3 | 5, std::bit_cast<uint32_t>(value), 4);
  }
  Message& text(uint32_t field, std::string_view value) {
    varint(field << 3 | 2);
    varint(value.size());
    bytes_ += value;
    return *this;
  }
  const std::string& bytes() const { return bytes_; }

 private:
  Message& fixed(uint32_t key, uint64_t bits, int size) {
    varint(key);
    for (int byte = 0; byte < size; ++byte) bytes_ += char(bits >> (8 * byte) & 0xff);
    return *this;
  }
  void varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_ += char((value & 0x7f) | 0x80);
    bytes_ += char(value);
  }

  std::string bytes_;
};

// Field numbers are those of Event, Summary and SessionLog in
// tensorflow/core/framework/summary.proto and tensorflow/core/util/event.proto.
Message event(int64_t step) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return Message().number(1, std::chrono::duration<double>(now).count()).integer(2, uint64_t(step));
}

class Summary {
 public:
  Summary& scalar(std::string_view tag, double value) {
    values_.text(1, Message().text(1, tag).number(2, float(value)).bytes());
    return *this;
  }
  std::string at(int64_t step) const { return event(step).text(5, values_.bytes()).bytes(); }

 private:
  Message values_;
};

// As TensorBoard's own writers name them, so that its reader takes them in order of time.
File create_event_file(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  check(!error, "{}: cannot be made: {}", folder.string(), error.message());
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const int64_t seconds = std::chrono::duration_cast<std::chrono::seconds>(now).count();
  for (int number = 0;; ++number) {
    const std::filesystem::path path =
        folder / fmt::format("events.out.tfevents.{:010}.{}.{}", seconds, getpid(), number);
    if (!std::filesystem::exists(path)) return File::create(path);
  }
}

}  // namespace

TensorBoardFile::TensorBoardFile(const std::filesystem::path& folder, int64_t last_step)
    : file_(create_event_file(folder)) {
  append(event(0).text(3, "brain.Event:2").bytes());
  constexpr uint64_t kStart = 1;  // SessionLog.START: earlier events from this step on are void
  append(event(last_step + 1).text(7, Message().integer(1, kStart).bytes()).bytes());
}

void TensorBoardFile::write(const StepRecord& r) {
  Summary summary;
  summary.scalar("loss/train", r.loss)
      .scalar("optimizer/grad_norm", r.grad_norm)
      .scalar("optimizer/lr", r.lr)
      .scalar("speed/tokens_per_second", r.tokens_per_second)
      .scalar("speed/model_flops_utilization", r.model_flops_utilization)
      .scalar("speed/step_ms", r.step_ms)
      .scalar("memory/peak_bytes", double(r.peak_bytes));
  for (size_t tag = 0; tag < kMemoryTags; ++tag)
    if (r.peak_by_tag[tag] > 0)
      summary.scalar(fmt::format("memory/{}", name_of(MemoryTag(tag))), double(r.peak_by_tag[tag]));
  append(summary.at(r.step));
}

void TensorBoardFile::write(const EvaluationRecord& r) {
  append(Summary().scalar("loss/validation", r.loss).at(r.step));
}

void TensorBoardFile::append(std::string_view event) {
  const std::string record = tfrecord(event);
  // A full disk must not stop training: what does not fit is written over by the next record.
  if (!file_.write_at(size_, std::as_bytes(std::span(record)))) size_ += record.size();
}

}  // namespace tessera
