#include "core/config/printer.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/core/config/sample_config.h"

namespace tessera::sample {
namespace {

Config filled() {
  Config config = read(R"(
run: {name: "12: \"#\"\n\t, null", folder: /tmp/a, seed: 18446744073709551615, quiet: true}
optimizer: {lr: 1.2345678901234567e-05, beta: 0.1}
data:
  train: [{path: "with space.h5", weight: 0.1}, {path: "null"}]
  widths: [3]
  window: 4
  clip: {norm: 2}
)");
  return config;
}

TEST(ConfigPrinter, PrintsKeysWithHelp) {
  Config config;
  config.data.train = {{"a.h5", 2}};
  EXPECT_EQ(to_yaml(config, Comments::help), R"(run:  # who and where
  name: first         # shown in logs
  folder: runs/first  # output
  seed: 7             # of everything random
  quiet: false        # print less
  mode: fp32          # arithmetic (fp32 | bf16)
  size: small         # of the model (small | large)

optimizer:  # AdamW
  lr: 0.0003  # peak learning rate (> 0)
  beta: 0.5   # moving average (>= 0 and < 1)

data:  # what to read
  train:          # files
    - {path: a.h5, weight: 2}
  widths: [1, 2]  # sizes (> 0)
  window: null    # reach (>= 1, or null)
  clip: null      # limits (or null)
  context: 1024   # tokens (>= 2)
  small: 3        # a byte
)");
}

TEST(ConfigPrinter, ReadsBackToTheSameText) {
  for (const Comments comments : {Comments::none, Comments::help}) {
    const std::string text = to_yaml(filled(), comments);
    const Config again = read(text);
    EXPECT_EQ(to_yaml(again, comments), text);
    EXPECT_EQ(again.run.name, "12: \"#\"\n\t, null");
    EXPECT_EQ(again.optimizer.lr, 1.2345678901234567e-05);
    EXPECT_EQ(again.optimizer.beta, 0.1f);
    EXPECT_EQ(again.data.train[1].path, "null");
    EXPECT_EQ(again.data.clip->norm, 2);
    EXPECT_EQ(again.data.window, 4);
  }
}

TEST(ConfigPrinter, QuotesTextThatWouldReadAsSomethingElse) {
  for (const std::string text :
       {"",    "null",  "~",  "true", "No",  "1", "-1", ".5", "a: b",     "a #b",           "[a]",
        "{",   "*x",    "&x", "!t",   "a,b", "'", "\"", "\\", "\x01\x7f", "tab\tnewline\n", "- a",
        "---", "Grüße", "@",  "%",    "`",   "|"}) {
    Config config;
    config.run.folder = text;
    config.data.train = {{"a", 1}};
    EXPECT_EQ(read(to_yaml(config)).run.folder.string(), text);
  }
}

TEST(ConfigPrinter, HelpNamesTypeAndDefault) {
  const std::string help = config_help<Config>();
  EXPECT_NE(help.find("\noptimizer: AdamW\n"
                      "  optimizer.lr: peak learning rate; a number > 0; default 0.0003\n"),
            std::string::npos)
      << help;
  EXPECT_NE(help.find("  data.train: files; a list, each {path, weight}; default []\n"),
            std::string::npos)
      << help;
  EXPECT_NE(help.find("  data.window: reach; an integer >= 1 or null; default null\n"),
            std::string::npos)
      << help;
}

TEST(ConfigSchema, DescribesEveryKey) {
  using nlohmann::json;
  const json schema = json::parse(config_schema<Config>("A run"));
  EXPECT_EQ(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
  EXPECT_EQ(schema["title"], "A run");
  EXPECT_EQ(schema["type"], "object");
  EXPECT_EQ(schema["additionalProperties"], false);
  EXPECT_EQ(schema["properties"].size(), 3u);
  const json& optimizer = schema["properties"]["optimizer"];
  EXPECT_EQ(optimizer["description"], "AdamW");
  EXPECT_EQ(optimizer["additionalProperties"], false);
  EXPECT_EQ(optimizer["properties"]["lr"], json::parse(R"({"type": "number",
      "exclusiveMinimum": 0.0, "description": "peak learning rate", "default": 0.0003})"));
  EXPECT_EQ(optimizer["properties"]["beta"], json::parse(R"({"type": "number", "minimum": 0.0,
      "exclusiveMaximum": 1.0, "description": "moving average", "default": 0.5})"));
  const json& run = schema["properties"]["run"]["properties"];
  EXPECT_EQ(run["mode"], json::parse(R"({"type": "string", "enum": ["fp32", "bf16"],
      "description": "arithmetic", "default": "fp32"})"))
      << "fp8 is not available, so editors do not offer it";
  EXPECT_EQ(run["size"]["enum"], json::parse(R"(["small", "large"])"));
  EXPECT_EQ(run["quiet"]["type"], "boolean");
  EXPECT_EQ(run["quiet"]["default"], false);
  EXPECT_EQ(run["name"]["minLength"], 1);
  const json& data = schema["properties"]["data"]["properties"];
  EXPECT_EQ(data["train"]["type"], "array");
  EXPECT_EQ(data["train"]["minItems"], 1);
  EXPECT_EQ(data["train"]["items"]["properties"]["path"]["type"], "string");
  EXPECT_EQ(data["widths"]["items"]["exclusiveMinimum"], 0.0);
  EXPECT_EQ(data["window"]["anyOf"],
            json::parse(R"([{"type": "integer", "minimum": 1.0}, {"type": "null"}])"));
  EXPECT_EQ(data["context"]["anyOf"][1],
            json::parse(R"({"type": "string", "pattern": "^[0-9]+[KMG]$"})"));
}

}  // namespace
}  // namespace tessera::sample
