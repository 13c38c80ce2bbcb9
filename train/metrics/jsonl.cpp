#include "train/metrics/jsonl.h"

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "core/check.h"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

// The lines of `path` up to `last_step`; a line cut short by a crash is dropped too.
std::string kept_lines(const std::filesystem::path& path, int64_t last_step) {
  std::ifstream in(path);
  std::string kept, line;
  while (std::getline(in, line)) {
    const Json record = Json::parse(line, nullptr, false);
    if (record.is_object() && record.value("step", int64_t{0}) <= last_step) kept += line + '\n';
  }
  return kept;
}

}  // namespace

MetricsFile::MetricsFile(const std::filesystem::path& path, int64_t last_step) {
  const std::string kept = kept_lines(path, last_step);
  const std::filesystem::path fresh = path.string() + ".new";
  file_ = File::create(fresh);
  const std::error_code error = file_.write_at(0, std::as_bytes(std::span(kept)));
  check(!error, "cannot write {}: {}", fresh.string(), error.message());
  file_.sync();
  size_ = kept.size();
  std::filesystem::rename(fresh, path);
}

void MetricsFile::write(const StepRecord& r) {
  Json memory;
  for (size_t tag = 0; tag < kMemoryTags; ++tag)
    memory[std::string(name_of(MemoryTag(tag)))] = r.peak_by_tag[tag];
  append(Json{{"step", r.step},
              {"tokens", r.tokens},
              {"loss", r.loss},
              {"grad_norm", r.grad_norm},
              {"lr", r.lr},
              {"tokens_per_second", r.tokens_per_second},
              {"model_flops_utilization", r.model_flops_utilization},
              {"step_ms", r.step_ms},
              {"peak_bytes", r.peak_bytes},
              {"peak_bytes_by_tag", memory}}
             .dump());
}

void MetricsFile::write(const EvaluationRecord& r) {
  append(Json{
      {"step", r.step}, {"tokens", r.tokens}, {"validation_loss", r.loss}, {"seconds", r.seconds}}
             .dump());
}

void MetricsFile::append(const std::string& line) {
  // A full disk must not stop training; what was written of a line that does not fit goes again.
  const std::string whole = line + '\n';
  if (!file_.write_at(size_, std::as_bytes(std::span(whole)))) {
    size_ += whole.size();
  } else {
    file_.truncate(size_);
  }
}

}  // namespace tessera
