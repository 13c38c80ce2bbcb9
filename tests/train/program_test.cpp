// The programs as a user runs them: bad input ends with one clear line and status 1, killing one at
// any moment loses nothing but the steps since the last checkpoint.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "core/random.h"
#include "tests/data/support.h"

namespace tessera {
namespace {

using test::contains;
using test::read_text;
using test::write_text;

struct Outcome {
  int status = -1;
  std::string out, err;
};

class ProgramTest : public testing::Test {
 protected:
  ProgramTest() {
    std::string text;
    for (int i = 0; text.size() < 20'000; ++i)
      text += fmt::format("{} and {} make {}.\n", i % 7, i % 5, i % 7 + i % 5);
    write_text(folder_ / "text.txt", text);
    write_text(folder_ / "run.yaml", fmt::format(R"(
run: {{output_dir: {0}/run, threads: 1}}
model: {{vocab_size: 257, layers: 2, width: 32, heads: 4, kv_heads: 2, ffn_width: 64, context: 32}}
data:
  sources: [{{path: {0}/text.h5}}]
schedule: {{warmup_steps: 5}}
training: {{steps: 60, batch: 4}}
checkpoint: {{every: 2, keep: 2}}
evaluation: {{every: 0}}
)",
                                                 folder_.path().string()));
    const Outcome prepared =
        run("prepare-data", "--tokenizer byte --split tail -o text.h5 text.txt");
    EXPECT_EQ(prepared.status, 0) << prepared.err;
  }

  // Starts a shell command in the folder; `exec` makes the program take the shell's place.
  pid_t start(const std::string& command) const {
    const pid_t child = fork();
    if (child == 0) {
      for (int number : {SIGINT, SIGTERM, SIGHUP}) signal(number, SIG_DFL);  // under nohup, too
      if (chdir(folder_.path().c_str()) != 0) _exit(126);
      const std::string line = command + " >out 2>err";
      execl("/bin/bash", "bash", "-c", line.c_str(), nullptr);
      _exit(127);
    }
    return child;
  }

  Outcome wait_for(pid_t child) const {
    int status = 0;
    waitpid(child, &status, 0);
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status), read_text(folder_ / "out"),
            read_text(folder_ / "err")};
  }

  static std::string command(const std::string& program, const std::string& arguments) {
    return fmt::format("exec '{}/{}' {}", TESSERA_PROGRAMS, program, arguments);
  }
  Outcome run(const std::string& program, const std::string& arguments,
              const std::string& prefix = "") const {
    return wait_for(start(prefix + command(program, arguments)));
  }

  void expect_error(const std::string& program, const std::string& arguments,
                    const std::string& part) const {
    const Outcome outcome = run(program, arguments);
    EXPECT_EQ(outcome.status, 1) << arguments;
    EXPECT_TRUE(outcome.err.starts_with(program + ": ")) << outcome.err;
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
    EXPECT_TRUE(contains(outcome.err, part)) << arguments;
  }

  nlohmann::json last_record() const {
    std::istringstream lines(read_text(folder_ / "run/metrics.jsonl"));
    std::string line, last;
    while (std::getline(lines, line)) last = line;
    return nlohmann::json::parse(last);
  }

  double last_loss() const {
    const auto record = last_record();
    EXPECT_EQ(record.at("step"), 60);
    return record.at("loss");
  }

  test::TemporaryFolder folder_;
};

TEST_F(ProgramTest, BadInputEndsWithOneLineAndWritesNothing) {
  expect_error("train", "", "no configuration given");
  expect_error("train", "none.yaml", "none.yaml");
  expect_error("train", "run.yaml --set optimizer.lrr=1", "optimizer.lr");
  expect_error("train", "run.yaml --set optimizer.lr=fast", "optimizer.lr");
  expect_error("train", "run.yaml --set optimizer.lr=-1", "optimizer.lr");
  expect_error("train", "run.yaml --set model.kv_heads=3", "kv_heads");
  expect_error("train", "run.yaml --set precision.mode=fp8", "fp8");
  expect_error("train", "run.yaml --set run.device=cuda", "cuda");
  expect_error("train", "run.yaml --set 'data.sources=[{path: none.h5}]'", "none.h5");
  expect_error("train", "run.yaml --set 'data.sources=[{path: text.txt}]'", "text.txt");
  expect_error("train", "run.yaml --set model.vocab_size=100", "vocab");
  expect_error("train", "run.yaml --set model.context=50000", "50000");
  expect_error("train", "run.yaml --set run.output_dir=/proc/none", "/proc/none");
  expect_error("train",
               "run.yaml --set attention.backend=cudnn --set precision.mode=bf16 "
               "--set run.device=cpu",
               "cudnn runs on cuda alone");
  // Hides a GPU, if there is one.
  setenv("CUDA_VISIBLE_DEVICES", "", 1);
  expect_error("train", "run.yaml --set attention.backend=cudnn --set precision.mode=bf16",
               "run.device auto found no GPU");
  unsetenv("CUDA_VISIBLE_DEVICES");
  expect_error("train", "run.yaml --sett a=b", "--help");
  std::filesystem::resize_file(folder_ / "text.h5",
                               std::filesystem::file_size(folder_ / "text.h5") / 2);
  expect_error("train", "run.yaml", "text.h5");
  expect_error("plan", "none.yaml", "none.yaml");
  expect_error("generate", "run", "run");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "run"));
}

TEST_F(ProgramTest, TrainsGeneratesAndPlans) {
  EXPECT_EQ(run("train", "run.yaml").status, 0);
  const Outcome text = run("generate", "run --prompt '3 and ' -n 20 --temperature 0");
  EXPECT_EQ(text.status, 0) << text.err;
  EXPECT_TRUE(text.out.starts_with("3 and ")) << text.out;
  const Outcome plan = run("plan", "run.yaml --json");
  EXPECT_EQ(plan.status, 0) << plan.err;
  EXPECT_GT(nlohmann::json::parse(plan.out).at("peak_bytes").get<int64_t>(), 0);
  EXPECT_EQ(run("train", "--schema").status, 0);
  EXPECT_EQ(run("train", "run/config.yaml --print-config").status, 0);
  expect_error("train", "run.yaml", "--resume");
  expect_error("train", "run.yaml --resume --set model.width=64", "shape");
  expect_error("generate", "run --prompt x --temperature -1", "--temperature");
  expect_error("generate", "run --prompt x --temperature nan", "--temperature");
  expect_error("generate", "run --prompt x --precision fp16", "fp16 not in {fp32,bf16}");
}

TEST_F(ProgramTest, Evaluates) {
  ASSERT_EQ(run("train", "run.yaml --set training.steps=10").status, 0);
  const Outcome outcome = run("evaluate",
                              "run text.h5 --batch 3 --context 128 --set model.rope.scaling=ntk "
                              "--set model.rope.factor=4 --json result.json");
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");  // no progress line where there is no terminal
  EXPECT_TRUE(contains(outcome.out, "bits per byte")) << outcome.out;
  EXPECT_TRUE(contains(outcome.out, "[64, 128)")) << outcome.out;
  const auto result = nlohmann::json::parse(read_text(folder_ / "result.json"));
  EXPECT_EQ(result.at("context"), 128);
  EXPECT_EQ(result.at("positions").size(), 2u);
  EXPECT_EQ(result.at("tokens"), result.at("windows").get<int64_t>() * 128);
  EXPECT_NEAR(result.at("perplexity").get<double>(), std::exp(result.at("loss").get<double>()),
              1e-9);
  const Outcome few = run("evaluate", "run text.h5 --max-tokens 100 --split train");
  EXPECT_TRUE(few.out.starts_with("128 tokens in 4 windows")) << few.out << few.err;
  // 64 windows that have 16 targets each, and the first one 32.
  const Outcome strides = run("evaluate", "run text.h5 --max-tokens 1K --stride 16 --split train");
  EXPECT_TRUE(strides.out.starts_with("1040 tokens in 64 windows")) << strides.out << strides.err;
  EXPECT_TRUE(
      contains(run("evaluate", "run text.h5 --stride 33").err, "between 1 and the context"));
  EXPECT_TRUE(contains(run("evaluate", "run text.h5 --max-tokens 1X").err, "expected an integer"));
}

// What a model was published as evaluates, generates and is learned from like the run itself.
TEST_F(ProgramTest, ConvertedModelsGoOnLikeTheRun) {
  ASSERT_EQ(run("train", "run.yaml").status, 0);
  const Outcome exported = run("convert-checkpoint", "run hf --dtype f32");
  ASSERT_EQ(exported.status, 0) << exported.err;
  EXPECT_TRUE(exported.out.starts_with("hf: huggingface in f32, ")) << exported.out;
  ASSERT_EQ(run("convert-checkpoint", "hf model.gguf").status, 0);
  ASSERT_EQ(run("convert-checkpoint", "model.gguf back --to checkpoint").status, 0);
  // Without the first line, which has the speed.
  const auto losses = [&](const std::string& model) {
    const std::string out = run("evaluate", model + " text.h5").out;
    return out.substr(out.find('\n') + 1);
  };
  const std::string expected = losses("run");
  EXPECT_TRUE(expected.starts_with("loss ")) << expected;
  const std::string text = run("generate", "run --prompt '1 and ' -n 20 --temperature 0").out;
  for (const std::string model : {"hf", "model.gguf", "back"}) {
    EXPECT_EQ(losses(model), expected) << model;
    EXPECT_EQ(run("generate", model + " --prompt '1 and ' -n 20 --temperature 0").out, text);
  }
  write_text(folder_ / "tuned.yaml", fmt::format(R"(
run: {{output_dir: {0}/tuned, threads: 1}}
model: {{init_from: {0}/hf}}
data: {{sources: [{{path: {0}/text.h5}}]}}
training: {{steps: 2, batch: 4}}
evaluation: {{every: 0}}
)",
                                                 folder_.path().string()));
  const Outcome tuned = run("train", "tuned.yaml");
  EXPECT_EQ(tuned.status, 0) << tuned.err;
  expect_error("convert-checkpoint", "run hf", "hf: already exists");
  expect_error("convert-checkpoint", "none other", "none");
  expect_error("convert-checkpoint", "run other --to onnx", "--to");
  expect_error("convert-checkpoint", "run other --to checkpoint --dtype bf16",
               "a checkpoint holds f32");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "other"));
}

TEST_F(ProgramTest, GenerateObeysTheModelsOwnEndTokens) {
  ASSERT_EQ(run("train", "run.yaml").status, 0);
  ASSERT_EQ(run("convert-checkpoint", "run hf").status, 0);
  const std::string prompt = "1 and ", options = " --prompt '1 and ' -n 20 --temperature 0";
  const std::string text = run("generate", "hf" + options).out;
  const char end = text.at(prompt.size() + 3);
  auto config = nlohmann::json::parse(read_text(folder_ / "hf/config.json"));
  config["eos_token_id"] = {int(end), 256};
  write_text(folder_ / "hf/config.json", config.dump());
  EXPECT_EQ(run("generate", "hf" + options).out,
            text.substr(0, text.find(end, prompt.size())) + "\n");
  expect_error("generate", "run --prompt x --tokenizer tokenizer.json", "carries its own");
  ASSERT_TRUE(std::filesystem::remove(folder_ / "hf/tessera_tokenizer.json"));
  expect_error("generate", "hf --prompt x", "give one with --tokenizer");
}

TEST_F(ProgramTest, EvaluateNamesWhatDoesNotFit) {
  ASSERT_EQ(run("train", "run.yaml --set training.steps=5").status, 0);
  ASSERT_EQ(run("prepare-data", "--tokenizer char --split tail -o char.h5 text.txt").status, 0);
  expect_error("evaluate", "run", "TOKENS");
  expect_error("evaluate", "run char.h5", "prepared with tokenizer char");
  expect_error("evaluate", "run none.h5", "none.h5 does not exist");
  expect_error("evaluate", "none text.h5", "none");
  expect_error("evaluate", "run text.h5 --context 4K", "fewer than the 4097");
  expect_error("evaluate", "run text.h5 --context many", "model.context");
  expect_error("evaluate", "run text.h5 --set model.layers=3", "does not agree with run");
  expect_error("evaluate", "run text.h5 --split test", "--split");
  expect_error("evaluate", "run text.h5 --json .", "it is a folder");
}

TEST_F(ProgramTest, GeneratesForManyPromptsAsForEach) {
  ASSERT_EQ(run("train", "run.yaml").status, 0);
  write_text(folder_ / "prompts.txt", "3 and \n\n1 and 2 make\n6\n0 and 4 \n");
  const std::string common = "-n 40 --temperature 0.5 --seed 3 ";
  const Outcome all = run("generate", "run --prompts prompts.txt --batch 3 " + common);
  ASSERT_EQ(all.status, 0) << all.err;
  EXPECT_TRUE(contains(all.err, "4 prompts of ")) << all.err;
  std::istringstream lines(all.out);
  std::string line;
  for (const std::string prompt : {"3 and ", "1 and 2 make", "6", "0 and 4 "}) {
    ASSERT_TRUE(std::getline(lines, line));
    const auto result = nlohmann::json::parse(line);
    EXPECT_EQ(result.at("prompt"), prompt);
    const Outcome one = run("generate", "run --prompt '" + prompt + "' " + common);
    EXPECT_EQ(one.out, prompt + result.at("text").get<std::string>() + "\n");
  }
  EXPECT_FALSE(std::getline(lines, line));
  write_text(folder_ / "prompts.jsonl", "{\"q\": \"3 and \"}\n");
  const Outcome file =
      run("generate", "run --prompts prompts.jsonl --prompt-field q --output out.jsonl " + common);
  EXPECT_EQ(file.out, "");
  EXPECT_TRUE(all.out.starts_with(read_text(folder_ / "out.jsonl"))) << file.err;
}

TEST_F(ProgramTest, GenerateNamesBadPrompts) {
  ASSERT_EQ(run("train", "run.yaml --set training.steps=5").status, 0);
  write_text(folder_ / "empty.txt", "\n");
  write_text(folder_ / "bad.jsonl", "{\"prompt\": \"x\"}\n{\"text\": 1}\n");
  write_text(folder_ / "long.txt", "x\n" + std::string(40, 'x') + "\n");
  expect_error("generate", "run --prompts none.txt", "none.txt cannot be read");
  expect_error("generate", "run --prompts empty.txt", "has no prompt");
  expect_error("generate", "run --prompts bad.jsonl", "bad.jsonl:2: no text field 'prompt'");
  expect_error("generate", "run --prompts long.txt", "prompt 2 has 40 tokens");
  expect_error("generate", "run --prompt x --prompts long.txt", "--prompt");
  expect_error("generate", "run --prompt x --chat chatml", "<|im_start|>");
  expect_error("generate", "run --prompt x --chat alpaca", "--chat");
}

// Prompt and response to an answer: the token that ends a response is learned, too.
TEST_F(ProgramTest, LearnsToAnswer) {
  std::string lines;
  for (int i = 0; i < 400; ++i)
    lines += fmt::format(R"({{"prompt": "{}?", "response": "{}!"}})", i % 4, i % 4) + "\n";
  write_text(folder_ / "chat.jsonl", lines);
  const Outcome prepared =
      run("prepare-data", "--tokenizer byte --template plain -o chat.h5 chat.jsonl");
  ASSERT_EQ(prepared.status, 0) << prepared.err;
  EXPECT_TRUE(contains(prepared.out, "loss       on 1200 of 2400 tokens (50.0%)")) << prepared.out;
  const Outcome trained =
      run("train",
          "run.yaml --set 'data.sources=[{path: chat.h5}]' --set data.pack=true --set "
          "data.document_mask=true --set optimizer.lr=1e-2 --set training.steps=150");
  ASSERT_EQ(trained.status, 0) << trained.err;
  const Outcome answer = run("generate", "run --chat plain --prompt '2?' -n 20 --temperature 0");
  EXPECT_EQ(answer.out, "2!\n") << answer.err;
}

TEST_F(ProgramTest, KilledAtAnyMomentItResumesToTheSameLoss) {
  ASSERT_EQ(run("train", "run.yaml").status, 0);
  const double expected = last_loss();
  std::filesystem::remove_all(folder_ / "run");
  const Philox random(11, purpose_id("kill"), 0);
  for (int i = 0; i < 20; ++i) {
    const pid_t child = start(command("train", "run.yaml --resume"));
    std::this_thread::sleep_for(std::chrono::milliseconds(100 + random.below(uint64_t(i), 500)));
    kill(child, SIGKILL);
    wait_for(child);
  }
  const Outcome last = run("train", "run.yaml --resume");
  EXPECT_EQ(last.status, 0) << last.err;
  EXPECT_FALSE(contains(last.out, "warning")) << last.out;
  EXPECT_EQ(last_loss(), expected);
}

// The lines of a /proc/PID/status file whose values are signal sets, as bits: signal n is bit n
// - 1.
uint64_t signal_set(const std::string& status, const std::string& name) {
  const size_t at = status.find(name + ":");
  return at == std::string::npos ? 0
                                 : std::stoull(status.substr(at + name.size() + 1), nullptr, 16);
}

// A handler's frame would land in the buffers of oneDNN's products, into which they point the stack
// pointer for a while.
TEST_F(ProgramTest, StopSignalsHaveNoHandlerAndWaitInEveryThread) {
  const pid_t child =
      start(command("train", "run.yaml --set training.steps=100000 --set run.threads=2"));
  for (int i = 0; i < 600 && !std::filesystem::exists(folder_ / "run/metrics.jsonl"); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const uint64_t stop = uint64_t{1} << (SIGTERM - 1) | uint64_t{1} << (SIGINT - 1);
  int threads = 0;
  for (const auto& task :
       std::filesystem::directory_iterator(fmt::format("/proc/{}/task", child))) {
    const std::string status = read_text(task.path() / "status");
    EXPECT_EQ(signal_set(status, "SigBlk") & stop, stop) << status;
    EXPECT_EQ(signal_set(status, "SigCgt") & stop, 0u) << status;
    ++threads;
  }
  EXPECT_GE(threads, 2);
  kill(child, SIGTERM);
  EXPECT_EQ(wait_for(child).status, 0);
  EXPECT_TRUE(std::filesystem::exists(folder_ / "run/checkpoints/latest"));
}

// As Ctrl-C does in `train ... | tee log`, which ends tee too.
TEST_F(ProgramTest, ADeadReaderOfTheOutputDoesNotEndTheRun) {
  const std::string command =
      fmt::format("{{ '{}/train' run.yaml; echo $? >status; }} | head -n 1", TESSERA_PROGRAMS);
  const Outcome outcome = wait_for(start(command));
  EXPECT_EQ(read_text(folder_ / "status"), "0\n") << outcome.err;
  EXPECT_TRUE(std::filesystem::exists(folder_ / "run/checkpoints/step_60"));
}

TEST_F(ProgramTest, ASignalStopsAnEvaluation) {
  std::string text;  // 32768 windows of validation take long
  for (int i = 0; text.size() < 2 << 20; ++i) text += fmt::format("{}\n", i);
  write_text(folder_ / "long.txt", text);
  ASSERT_EQ(
      run("prepare-data", "-t byte --split tail --val-fraction 0.5 -o long.h5 long.txt").status, 0);
  const pid_t child = start(
      command("train", "run.yaml --set 'data.sources=[{path: long.h5}]' --set evaluation.every=1"));
  const auto metrics = folder_ / "run/metrics.jsonl";
  for (int i = 0; i < 1200; ++i) {
    std::error_code missing;
    if (const auto size = std::filesystem::file_size(metrics, missing); !missing && size > 0) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  kill(child, SIGTERM);
  const Outcome outcome = wait_for(child);
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_TRUE(contains(outcome.out, "the evaluation of step 1 was stopped")) << outcome.out;
  EXPECT_FALSE(contains(read_text(metrics), "validation_loss"));
  EXPECT_TRUE(std::filesystem::exists(folder_ / "run/checkpoints/step_1"));
}

#if !defined(__SANITIZE_ADDRESS__)  // which takes terabytes of addresses
// The activations of the first feed-forward network need 3 GiB, the program may have 1.5.
TEST_F(ProgramTest, LackOfMemorySaysWhatGrewWhatIsThereAndWhatToChange) {
  std::vector<std::string> devices{"cpu"};
#ifdef TESSERA_TEST_SIMT
  devices.push_back("simt");
#endif
  for (const std::string& device : devices) {
    const Outcome outcome =
        run("train",
            fmt::format("run.yaml --set model.layers=1 --set model.ffn_width=50000 --set "
                        "training.batch=256 --set run.device={0} --set run.output_dir={0}",
                        device),
            "ulimit -v 1500000; ");
    EXPECT_EQ(outcome.status, 1);
    EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1) << outcome.err;
    for (const std::string& part :
         {fmt::format("memory: {} has no room for 3125.0 MiB of activations; in use: ", device),
          std::string("parameters 18.4 MiB, optimizer 36.8 MiB"),
          std::string("largest blocks 12.2 MiB (optimizer)"),
          std::string("use a smaller training.batch or model.context, or memory.recompute: block"),
          std::string("a f32 tensor of shape [8192, 100000] in layers.0.mlp")}) {
      EXPECT_TRUE(contains(outcome.err, part)) << outcome.err;
    }
  }
}
#endif

// The last weights of all are another matter: a run that lost them has not succeeded.
TEST_F(ProgramTest, AFullDiskCostsTheCheckpointNotTheRun) {
  ASSERT_EQ(run("train", "run.yaml --set training.steps=6 --set schedule.type=constant").status, 0);
  // No file may grow beyond 64 KiB; the tensors need more.
  const Outcome full = run("train", "run.yaml --resume --set schedule.type=constant",
                           "ulimit -f 64; trap '' XFSZ; ");
  EXPECT_TRUE(contains(full.out, "warning: no checkpoint of step 8")) << full.out;
  EXPECT_TRUE(contains(full.out, "that of step 6 is kept; training goes on")) << full.out;
  EXPECT_EQ(last_record().at("step"), 60);
  EXPECT_EQ(full.status, 1);
  EXPECT_TRUE(full.err.starts_with("train: no checkpoint of step 60: ")) << full.err;
  EXPECT_TRUE(contains(full.err, "that of step 6 is kept; make room and go on with --resume"));
  EXPECT_FALSE(contains(full.out, "done: ")) << full.out;
  EXPECT_TRUE(std::filesystem::exists(folder_ / "run/checkpoints/step_6/manifest.json"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "run/checkpoints/step_60"));
  EXPECT_EQ(run("train", "run.yaml --resume --set schedule.type=constant").status, 0);
}

TEST_F(ProgramTest, AFullDiskLeavesTheConfigurationWhole) {
  ASSERT_EQ(run("train", "run.yaml --set training.steps=6").status, 0);
  const std::string before = read_text(folder_ / "run/config.yaml");
  const Outcome full = run("train", "run.yaml --resume", "ulimit -f 1; trap '' XFSZ; ");
  EXPECT_EQ(full.status, 1);
  EXPECT_TRUE(contains(full.err, "config.yaml")) << full.err;
  EXPECT_EQ(read_text(folder_ / "run/config.yaml"), before);
}

}  // namespace
}  // namespace tessera
