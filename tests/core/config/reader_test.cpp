#include "core/config/reader.h"

#include <gtest/gtest.h>

#include <fstream>

#include "tests/core/config/sample_config.h"

namespace tessera::sample {
namespace {

TEST(ConfigReader, ReadsEveryKindOfMember) {
  const Config config = read(R"(
run: {name: second, folder: "a b/c", seed: 18446744073709551615, quiet: true,
      mode: bf16, size: large}
optimizer:
  lr: 1e-3
  beta: +0.25
data:
  train:
    - path: a.h5
      weight: 2.5
    - {path: b.h5}
  widths: [3, 4, 5]
  window: 16
  clip: {norm: 0.5}
  context: 64K
  small: -128
)");
  EXPECT_EQ(config.run.name, "second");
  EXPECT_EQ(config.run.folder, "a b/c");
  EXPECT_EQ(config.run.seed, UINT64_MAX);
  EXPECT_TRUE(config.run.quiet);
  EXPECT_EQ(config.run.mode, Mode::bf16);
  EXPECT_EQ(config.run.size, "large");
  EXPECT_EQ(config.optimizer.lr, 1e-3);
  EXPECT_EQ(config.optimizer.beta, 0.25f);
  ASSERT_EQ(config.data.train.size(), 2u);
  EXPECT_EQ(config.data.train[0].path, "a.h5");
  EXPECT_EQ(config.data.train[0].weight, 2.5);
  EXPECT_EQ(config.data.train[1].path, "b.h5");
  EXPECT_EQ(config.data.train[1].weight, 1);
  EXPECT_EQ(config.data.widths, (std::vector<int>{3, 4, 5}));
  EXPECT_EQ(config.data.window, 16);
  ASSERT_TRUE(config.data.clip);
  EXPECT_EQ(config.data.clip->norm, 0.5);
  EXPECT_EQ(config.data.context, 65536);
  EXPECT_EQ(config.data.small, -128);
}

TEST(ConfigReader, KeepsDefaultsOfKeysNotGiven) {
  const Config config = read("optimizer:\nrun:\n  seed: 1e6\n");
  EXPECT_EQ(config.run.seed, 1000000u);
  EXPECT_EQ(config.run.name, "first");
  EXPECT_EQ(config.optimizer.lr, 3e-4);
  EXPECT_EQ(config.data.widths, (std::vector<int>{1, 2}));
  EXPECT_FALSE(config.data.window);
}

TEST(ConfigReader, OverridesComeAfterTheFile) {
  const Config config =
      read("optimizer: {lr: 1}\ndata: {window: 4, train: [{path: a}]}",
           {"optimizer.lr=2e-3", "data.train=[{path: b}, {path: c, weight: 3}]", "data.widths=[9]",
            "data.window=null", "data.clip.norm=3", "run={name: other, seed: 3}", "run.seed=4"});
  EXPECT_EQ(config.optimizer.lr, 2e-3);
  ASSERT_EQ(config.data.train.size(), 2u);
  EXPECT_EQ(config.data.train[1].path, "c");
  EXPECT_EQ(config.data.widths, std::vector<int>{9});
  EXPECT_FALSE(config.data.window);
  ASSERT_TRUE(config.data.clip);
  EXPECT_EQ(config.data.clip->norm, 3);
  EXPECT_EQ(config.run.name, "other");
  EXPECT_EQ(config.run.seed, 4u);
}

TEST(ConfigReader, TellsWhereKeysWereGiven) {
  Config config;
  const ConfigOrigins origins =
      read_config(config, {"x.yaml", "run:\n  name: a\n\noptimizer:\n  lr: 1\n"}, {"run.seed=1"});
  EXPECT_EQ(origins.find("run.name").place, "x.yaml:2");
  EXPECT_EQ(origins.find("optimizer.lr").place, "x.yaml:5");
  EXPECT_EQ(origins.find("optimizer.beta").place, "x.yaml:5") << "the section's place";
  EXPECT_EQ(origins.find("run.seed").place, "--set run.seed");
  EXPECT_EQ(origins.find("data.train").place, "x.yaml");
  EXPECT_STREQ(origins.located(ConfigError("run.name", "is odd")).what(),
               "x.yaml:2: run.name: is odd");
  EXPECT_STREQ(origins.located(ConfigError("run.seed", "is odd")).what(), "--set run.seed: is odd");
}

TEST(ConfigReader, AReplacedListForgetsWhereItsOldElementsWere) {
  Config config;
  const ConfigOrigins origins = read_config(
      config, {"x.yaml", "data: {train: [{path: a}, {path: b}]}"}, {"data.train=[{weight: 1}]"});
  EXPECT_EQ(origins.find("data.train[0].path").place, "--set data.train");
  EXPECT_EQ(origins.find("data.train[1]").place, "--set data.train");
}

TEST(ConfigReader, ASectionGivenAgainTakesNoBlameForKeysItDoesNotName) {
  Config config;
  const ConfigOrigins origins = read_config(
      config,
      {"x.yaml", "run:\n  name: a\n  seed: 2\noptimizer:\n  lr: 1\ndata:\n  clip:\n    norm: 2\n"},
      {"run={seed: 1}", "optimizer=", "data.clip={}"});
  EXPECT_EQ(origins.find("run.name").place, "x.yaml:2");
  EXPECT_EQ(origins.find("run.seed").place, "--set run");
  EXPECT_EQ(origins.find("optimizer.lr").place, "x.yaml:5");
  EXPECT_EQ(origins.find("data.clip.norm").place, "x.yaml:8");
}

TEST(ConfigReader, ARemovedSectionForgetsWhereItsKeysWere) {
  Config config;
  const ConfigOrigins origins =
      read_config(config, {"x.yaml", "data: {clip: {norm: 2}}"}, {"data.clip=null"});
  EXPECT_EQ(origins.find("data.clip.norm").place, "--set data.clip");
}

TEST(ConfigReader, SuggestsTheNearestKey) {
  EXPECT_EQ(error_of("run:\n  seed: 1\noptimizer:\n  lrr: 1"),
            "x.yaml:4: optimizer.lrr: unknown key; did you mean optimizer.lr?");
  EXPECT_EQ(error_of("optimzier: {}"), "x.yaml:1: optimzier: unknown key; did you mean optimizer?");
  EXPECT_EQ(error_of("optim: {}"), "x.yaml:1: optim: unknown key; did you mean optimizer?");
  EXPECT_EQ(error_of("run: {lr: 1}"), "x.yaml:1: run.lr: unknown key; did you mean optimizer.lr?");
  EXPECT_EQ(error_of("lr: 1"), "x.yaml:1: lr: unknown key; did you mean optimizer.lr?");
  EXPECT_EQ(error_of("run: {Quiet: true}"),
            "x.yaml:1: run.Quiet: unknown key; did you mean run.quiet?");
  EXPECT_EQ(error_of("optimizer: {momentum: 1}"),
            "x.yaml:1: optimizer.momentum: unknown key; optimizer has lr, beta");
  EXPECT_EQ(error_of("frobnicate: 1"),
            "x.yaml:1: frobnicate: unknown key; the file has run, optimizer, data");
  EXPECT_EQ(error_of("data:\n  train:\n    - pth: a"),
            "x.yaml:3: data.train[0].pth: unknown key; did you mean data.train[0].path?");
}

TEST(ConfigReader, NamesWrongTypesWithWhatWasExpected) {
  EXPECT_EQ(error_of("optimizer:\n  lr: fast"),
            "x.yaml:2: optimizer.lr: expected a number > 0, got \"fast\"");
  EXPECT_EQ(error_of("optimizer: {lr: \"1\"}"),
            "x.yaml:1: optimizer.lr: expected a number > 0, got \"1\"");
  EXPECT_EQ(error_of("optimizer: {lr: .nan}"),
            "x.yaml:1: optimizer.lr: expected a number > 0, got \".nan\"");
  EXPECT_EQ(error_of("optimizer: {lr: inf}"),
            "x.yaml:1: optimizer.lr: expected a number > 0, got \"inf\"");
  EXPECT_EQ(error_of("optimizer:\n  lr:"),
            "x.yaml:2: optimizer.lr: expected a number > 0, got nothing");
  EXPECT_EQ(error_of("optimizer: {lr: +-5}"),
            "x.yaml:1: optimizer.lr: expected a number > 0, got \"+-5\"");
  EXPECT_EQ(error_of("run: {seed: +-5}"), "x.yaml:1: run.seed: expected an integer, got \"+-5\"");
  EXPECT_EQ(error_of("optimizer: {lr: [1]}"),
            "x.yaml:1: optimizer.lr: expected a number > 0, got a list");
  EXPECT_EQ(error_of("optimizer: {lr: {a: 1}}"),
            "x.yaml:1: optimizer.lr: expected a number > 0, got a section");
  EXPECT_EQ(error_of("optimizer: adamw"),
            "x.yaml:1: optimizer: expected a section of `key: value` lines, got \"adamw\"");
  EXPECT_EQ(error_of("run: {quiet: yes}"),
            "x.yaml:1: run.quiet: expected true or false, got \"yes\"");
  EXPECT_EQ(error_of("run: {seed: 1.5}"), "x.yaml:1: run.seed: expected an integer, got \"1.5\"");
  EXPECT_EQ(error_of("run: {seed: 64K}"), "x.yaml:1: run.seed: expected an integer, got \"64K\"");
  EXPECT_EQ(error_of("run: {name: }"), "x.yaml:1: run.name: expected text, got nothing");
  EXPECT_EQ(error_of("run: {name: ''}"), "x.yaml:1: run.name: must not be empty");
  EXPECT_EQ(error_of("data: {train: a.h5}"), "x.yaml:1: data.train: expected a list, got \"a.h5\"");
  EXPECT_EQ(error_of("data: {train: []}"), "x.yaml:1: data.train: the list must not be empty");
  EXPECT_EQ(error_of("data: {widths: [1, x]}"),
            "x.yaml:1: data.widths[1]: expected an integer > 0, got \"x\"");
}

TEST(ConfigReader, NamesValuesOutOfRange) {
  EXPECT_EQ(error_of("run:\noptimizer:\n\n  lr: -1e-3"),
            "x.yaml:4: optimizer.lr: -1e-3 is out of range; allowed is > 0");
  EXPECT_EQ(error_of("optimizer: {beta: 1}"),
            "x.yaml:1: optimizer.beta: 1 is out of range; allowed is >= 0 and < 1");
  EXPECT_EQ(error_of("data: {context: 1}"),
            "x.yaml:1: data.context: 1 is out of range; allowed is >= 2");
  EXPECT_EQ(error_of("data: {context: 99999999999G}"),
            "x.yaml:1: data.context: 99999999999G is out of range; allowed is >= 2 and a 64-bit "
            "integer");
  EXPECT_EQ(error_of("data: {context: -99999999999G}"),
            "x.yaml:1: data.context: -99999999999G is out of range; allowed is >= 2");
  EXPECT_EQ(error_of("data: {small: 128}"),
            "x.yaml:1: data.small: 128 is out of range; allowed is >= -128 and <= 127");
  EXPECT_EQ(error_of("run: {seed: -1}"),
            "x.yaml:1: run.seed: -1 is out of range; allowed is >= 0 and <= 18446744073709551615");
  EXPECT_EQ(
      error_of("run: {seed: 18446744073709551616}"),
      "x.yaml:1: run.seed: 18446744073709551616 is out of range; allowed is a 64-bit integer");
  EXPECT_EQ(error_of("data: {window: 0}"),
            "x.yaml:1: data.window: 0 is out of range; allowed is >= 1");
}

TEST(ConfigReader, NamesUnknownAndUnavailableChoices) {
  EXPECT_EQ(error_of("run: {mode: bf61}"),
            "x.yaml:1: run.mode: expected one of fp32, bf16, got \"bf61\"; did you mean bf16?");
  EXPECT_EQ(error_of("run: {mode: half}"),
            "x.yaml:1: run.mode: expected one of fp32, bf16, got \"half\"");
  EXPECT_EQ(
      error_of("run: {mode: fp8}"),
      "x.yaml:1: run.mode: fp8 is not available in this build (needs CUDA); use fp32 or bf16");
  EXPECT_EQ(error_of("run: {size: medium}"),
            "x.yaml:1: run.size: expected one of small, large, got \"medium\"");
}

TEST(ConfigReader, NamesKeysGivenTwice) {
  EXPECT_EQ(error_of("optimizer:\n  lr: 1\n  beta: 0\n  lr: 2"),
            "x.yaml:4: optimizer.lr: given twice (first at line 2)");
  EXPECT_EQ(error_of("run: {}\n\nrun: {}"), "x.yaml:3: run: given twice (first at line 1)");
}

TEST(ConfigReader, NamesBrokenDocuments) {
  EXPECT_EQ(error_of(""), "x.yaml:1: is empty; expected run, optimizer, data");
  EXPECT_EQ(error_of("# only a comment\n"), "x.yaml:1: is empty; expected run, optimizer, data");
  EXPECT_EQ(error_of("- 1\n- 2"),
            "x.yaml:1: expected `key: value` lines (run, optimizer, data), got a list");
  EXPECT_EQ(error_of("just words"),
            "x.yaml:1: expected `key: value` lines (run, optimizer, data), got \"just words\"");
  EXPECT_EQ(error_of("run:\n  name: [1, 2\nx: 3"),
            "x.yaml:3: YAML syntax: end of sequence flow not found");
  const std::string_view no_anchor = "x.yaml:2: YAML syntax: the referenced anchor is not defined";
  EXPECT_EQ(error_of("run:\n  name: *nowhere").substr(0, no_anchor.size()), no_anchor);
  EXPECT_EQ(error_of("run: {}\n---\nrun: {}"),
            "x.yaml:3: a second YAML document begins; keep one per file");
  EXPECT_EQ(error_of("? [a, b]\n: 1"), "x.yaml:1: keys must be plain names");
}

TEST(ConfigReader, NamesBrokenOverrides) {
  EXPECT_EQ(error_of_set("optimizer.lrr=1"),
            "--set optimizer.lrr: unknown key; did you mean optimizer.lr?");
  EXPECT_EQ(error_of_set("optim.lr=1"),
            "--set optim.lr: optim: unknown key; did you mean optimizer?");
  EXPECT_EQ(error_of_set("optimizer.lr=fast"),
            "--set optimizer.lr: expected a number > 0, got \"fast\"");
  EXPECT_EQ(error_of_set("optimizer.lr="),
            "--set optimizer.lr: expected a number > 0, got nothing");
  EXPECT_EQ(error_of_set("optimizer.lr=-1"),
            "--set optimizer.lr: -1 is out of range; allowed is > 0");
  EXPECT_EQ(error_of_set("optimizer.lr"), "--set optimizer.lr: expected section.key=value");
  EXPECT_EQ(error_of_set("=1"), "--set =1: expected section.key=value");
  EXPECT_EQ(error_of_set("optimizer.lr.x=1"),
            "--set optimizer.lr.x: optimizer.lr: is a single value; nothing lies below it");
  EXPECT_EQ(error_of_set("data.train.path=1"),
            "--set data.train.path: data.train: is a list; set all of it: data.train=[...]");
  EXPECT_EQ(error_of_set("data.train=[{pth: a}]"),
            "--set data.train: data.train[0].pth: unknown key; did you mean data.train[0].path?");
  EXPECT_EQ(error_of_set("optimizer={lr: 1, lr: 2}"), "--set optimizer: optimizer.lr: given twice");
  EXPECT_EQ(error_of_set("data.widths=[1"),
            "--set data.widths: YAML syntax: end of sequence flow not found");
}

TEST(ConfigReader, CutsLongValuesAndKeepsErrorsOnOneLine) {
  const std::string message = error_of("optimizer: {lr: \"a\\nb" + std::string(500, 'x') + "\"}");
  EXPECT_EQ(message.find('\n'), std::string::npos);
  EXPECT_LT(message.size(), 150u);
}

TEST(ConfigReader, NamesFilesThatCannotBeRead) {
  const std::filesystem::path folder = testing::TempDir();
  const auto load_error = [](const std::filesystem::path& path) -> std::string {
    try {
      load_config_text(path);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(load_error("no/such.yaml"),
            "no/such.yaml: cannot open the configuration: No such file or directory");
  EXPECT_EQ(load_error(folder), folder.string() + ": is a folder; give a YAML file");
  const std::filesystem::path large = folder / "large_config.yaml";
  std::ofstream(large) << std::string((1 << 20) + 1, '#');
  EXPECT_EQ(load_error(large), large.string() + ": is larger than 1 MiB; is it a configuration?");
  const std::filesystem::path good = folder / "good_config.yaml";
  std::ofstream(good) << "run: {}\n";
  EXPECT_EQ(load_config_text(good).text, "run: {}\n");
}

}  // namespace
}  // namespace tessera::sample
