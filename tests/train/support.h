// What the tests of whole runs share: a small text, a small model, and what a run reports.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "data/prepare.h"
#include "tests/data/support.h"
#include "train/config.h"

namespace tessera::test {

// A text with an obvious rule, long enough for both splits.
inline std::string counting_text() {
  std::string text;
  for (int i = 0; text.size() < 20'000; ++i)
    text += fmt::format("{} and {} make {}.\n", i % 7, i % 5, i % 7 + i % 5);
  return text;
}

class SmallRuns : public testing::Test {
 protected:
  SmallRuns() {
    write_text(folder_ / "text.txt", counting_text());
    prepare_text("text.h5", "byte");
  }

  void prepare_text(const std::string& output, const std::string& tokenizer,
                    const std::string& input = "text.txt") const {
    PrepareConfig config;
    config.corpus.inputs = {(folder_ / input).string()};
    config.output = folder_ / output;
    config.tokenizer = tokenizer;
    config.split = SplitRule::tail;
    prepare(config, [](const PrepareProgress&) {});
  }

  RunConfig config(const std::string& run, std::vector<std::string> overrides = {}) const {
    const std::string yaml = fmt::format(R"(
run: {{output_dir: {}, threads: 2}}
model: {{vocab_size: 257, layers: 2, width: 32, heads: 4, kv_heads: 2, ffn_width: 64, context: 32}}
data: {{sources: [{{path: {}}}]}}
optimizer: {{lr: 5e-3}}
schedule: {{warmup_steps: 5}}
training: {{steps: 40, batch: 4}}
checkpoint: {{every: 10, keep: 100}}
evaluation: {{every: 20, batches: 2}}
logging: {{console: false}}
)",
                                         (folder_ / run).string(), (folder_ / "text.h5").string());
    return read_run_config({"test.yaml", yaml}, overrides);
  }

  // The values of `key` in metrics.jsonl, in order; records without it are passed over.
  std::vector<double> metric(const std::string& run, const std::string& key) const {
    std::vector<double> values;
    std::ifstream in(folder_ / run / "metrics.jsonl");
    for (std::string line; std::getline(in, line);) {
      const auto record = nlohmann::json::parse(line);
      if (record.contains(key)) values.push_back(record.at(key));
    }
    return values;
  }

  TemporaryFolder folder_;
};

}  // namespace tessera::test
