// The whole model against the independent double-precision implementation.
#include "model/llama.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/autograd/engine.h"
#include "kernels/elementwise/kernel.h"
#include "kernels/launch/cpu/isa.h"
#include "kernels/linear/op.h"
#include "model/alibi.h"
#include "tests/support/reference_llama.h"

namespace tessera {
namespace {

using reference::LlamaBatch;
using reference::LlamaSpec;
using reference::Vec;

Context make_context(int threads = 2) {
  return Context({.threads = threads, .isa = best_isa(), .seed = 7, .poison = true});
}

ModelConfig config_of(const LlamaSpec& spec, int64_t context) {
  ModelConfig config;
  config.vocab_size = spec.vocab;
  config.layers = spec.layers;
  config.width = spec.width;
  config.heads = spec.heads;
  config.kv_heads = spec.kv_heads;
  config.head_dim = spec.head_dim;
  config.ffn_width = spec.ffn;
  config.context = context;
  config.sliding_window = spec.window;
  config.tied_embeddings = spec.tied;
  config.qk_norm = spec.qk_norm;
  config.qkv_bias = spec.qkv_bias;
  config.norm_eps = spec.eps;
  config.rope.theta = spec.rope.theta;
  config.positions = Positions(spec.positions);
  config.attention_sink = spec.sink;
  config.complete();
  return config;
}

void copy_in(const Tensor& to, const Vec& from) {
  ASSERT_EQ(to.elements(), int64_t(from.size()));
  dispatch_compute("test", to.dtype(), [&]<class T>() {
    for (size_t i = 0; i < from.size(); ++i) {
      if constexpr (std::is_same_v<T, double>) {
        to.data<T>()[i] = from[i];
      } else {
        to.data<T>()[i] = from_float<T>(float(from[i]));
      }
    }
  });
}

Vec copy_out(const Tensor& from) {
  Vec to(size_t(from.elements()));
  dispatch_compute("test", from.dtype(), [&]<class T>() {
    for (size_t i = 0; i < to.size(); ++i) {
      if constexpr (std::is_same_v<T, double>) {
        to[i] = from.data<T>()[i];
      } else {
        to[i] = to_float(from.data<T>()[i]);
      }
    }
  });
  return to;
}

Tensor ints(Context& ctx, const std::vector<int32_t>& values) {
  Tensor tensor = ctx.empty({int64_t(values.size())}, DType::i32);
  std::copy(values.begin(), values.end(), tensor.data<int32_t>());
  return tensor;
}

DeviceBatch device_batch(Context& ctx, const LlamaBatch& batch) {
  DeviceBatch device;
  device.sequences = 1;
  device.context = int64_t(batch.tokens.size());
  device.tokens = ints(ctx, batch.tokens);
  device.positions = ints(ctx, batch.positions);
  device.targets = ints(ctx, batch.targets);
  device.segments = ints(ctx, batch.cu_seqlens);
  return device;
}

LossOptions mean_loss(const LlamaSpec& spec, const LlamaBatch& batch) {
  const auto targets =
      std::count_if(batch.targets.begin(), batch.targets.end(), [](int32_t t) { return t >= 0; });
  return {.z_loss = spec.z_loss, .scale = 1.0 / double(targets), .chunk = 7};
}

// Two layers, grouped queries, a window shorter than the longest document.
LlamaSpec spec_of(bool tied, bool extras,
                  LlamaSpec::Positions positions = LlamaSpec::Positions::rope, bool sink = false) {
  LlamaSpec spec;
  spec.positions = positions;
  spec.sink = sink;
  spec.layers = 2;
  spec.width = 24;
  spec.heads = 6;
  spec.kv_heads = 2;
  spec.head_dim = 8;
  spec.ffn = 40;
  spec.vocab = 37;
  spec.tied = tied;
  spec.qk_norm = extras;
  spec.qkv_bias = extras;
  spec.window = 9;
  spec.z_loss = extras ? 1e-2 : 0;
  return spec;
}

const std::vector<int32_t> kDocuments = {13, 1, 31, 5};

struct Outcome {
  double loss;
  std::map<std::string, Vec> gradients;
};

Outcome run_model(const LlamaSpec& spec, const ComputeOptions& options, int threads = 2) {
  const auto parameters = reference::make_llama_parameters(spec);
  const LlamaBatch batch = reference::make_llama_batch(kDocuments, spec.vocab);
  Context ctx = make_context(threads);
  const Llama model(ctx, config_of(spec, 64), options);
  for (const Parameter& parameter : model.parameters())
    copy_in(parameter.value(), parameters.at(parameter.name));
  const Var loss = model.loss(ctx, device_batch(ctx, batch), mean_loss(spec, batch));
  backward(ctx, loss, add_into);
  Outcome outcome{copy_out(loss.value())[0], {}};
  for (const Parameter& parameter : model.parameters()) {
    outcome.gradients[parameter.name] = copy_out(parameter.leaf().grad());
  }
  return outcome;
}

// Norm of the difference over the norm of the reference.
double relative_error(const Vec& actual, const Vec& expected) {
  EXPECT_EQ(actual.size(), expected.size());
  double difference = 0, norm = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    difference += (actual[i] - expected[i]) * (actual[i] - expected[i]);
    norm += expected[i] * expected[i];
  }
  return std::sqrt(difference / norm);
}

void expect_close(const LlamaSpec& spec, const ComputeOptions& options, double bound) {
  const auto expected = reference::llama_step(spec, reference::make_llama_parameters(spec),
                                              reference::make_llama_batch(kDocuments, spec.vocab));
  const Outcome actual = run_model(spec, options);
  EXPECT_NEAR(actual.loss, expected.loss, bound * expected.loss);
  ASSERT_EQ(actual.gradients.size(), expected.gradients.size());
  for (const auto& [name, gradient] : expected.gradients) {
    EXPECT_LE(relative_error(actual.gradients.at(name), gradient), bound) << name;
  }
}

using Positions = LlamaSpec::Positions;

struct Case {
  const char* name;
  bool tied, extras;
  AttentionBackend attention;
  bool recompute;
  Positions positions = Positions::rope;
  bool sink = false;

  friend void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }
};

class LlamaTest : public testing::TestWithParam<Case> {
 protected:
  ComputeOptions options(DType dtype) const {
    return {.dtype = dtype,
            .attention = GetParam().attention,
            .recompute_blocks = GetParam().recompute};
  }
  LlamaSpec spec() const {
    return spec_of(GetParam().tied, GetParam().extras, GetParam().positions, GetParam().sink);
  }
};

// Kernels take RMSNorm's eps = 1e-5 as a float, 3e-8 off: 3e-13 / mean(x^2), with mean(x^2) of
// about 0.01 in the embedding.
TEST_P(LlamaTest, F64GradientsEqualTheReference) {
  expect_close(spec(), options(DType::f64), 1e-10);
}

// The figure that the project promises for f32: 1e-5, about 80 roundings of 2^-24 in a row.
TEST_P(LlamaTest, F32GradientsEqualTheReference) {
  expect_close(spec(), options(DType::f32), 1e-5);
}

// bf16 rounds activations to 2^-9 relative; the errors of some 30 roundings on the longest path add
// up at random: sqrt(30) * 2^-9 is about 1e-2, and weights are rounded too.
TEST_P(LlamaTest, Bf16GradientsAreNearTheReference) {
  expect_close(spec(), options(DType::bf16), 4e-2);
}

INSTANTIATE_TEST_SUITE_P(
    Variants, LlamaTest,
    testing::Values(
        Case{"plain", false, false, AttentionBackend::flash, false},
        Case{"tied_recomputed", true, false, AttentionBackend::flash, true},
        Case{"extras_recomputed", false, true, AttentionBackend::flash, true},
        Case{"tied_extras_standard", true, true, AttentionBackend::standard, false},
        Case{"alibi", false, false, AttentionBackend::flash, true, Positions::alibi, false},
        Case{"extras_sink", false, true, AttentionBackend::flash, true, Positions::rope, true},
        Case{"tied_alibi_sink_standard", true, false, AttentionBackend::standard, false,
             Positions::alibi, true},
        Case{"no_positions", false, false, AttentionBackend::flash, false, Positions::none, false}),
    [](const auto& test) { return std::string(test.param.name); });

TEST(Llama, RecomputingBlocksChangesNoBit) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const LlamaSpec spec = spec_of(true, true);
    const Outcome plain = run_model(spec, {.dtype = dtype});
    const Outcome recomputed = run_model(spec, {.dtype = dtype, .recompute_blocks = true});
    EXPECT_EQ(plain.loss, recomputed.loss);
    for (const auto& [name, gradient] : plain.gradients)
      EXPECT_EQ(gradient, recomputed.gradients.at(name)) << name;
  }
}

TEST(Llama, TheNumberOfThreadsChangesNoBitOfTheGradientsOfNorms) {
  const LlamaSpec spec = spec_of(false, false);
  const Outcome one = run_model(spec, {.dtype = DType::f32}, 1),
                two = run_model(spec, {.dtype = DType::f32}, 2);
  EXPECT_EQ(one.loss, two.loss);
  for (const auto& [name, gradient] : one.gradients)
    EXPECT_EQ(gradient, two.gradients.at(name)) << name;
}

void expect_cached_logits(const LlamaSpec& spec) {
  const auto parameters = reference::make_llama_parameters(spec);
  const LlamaBatch batch = reference::make_llama_batch({29}, spec.vocab);
  const auto expected = reference::llama_step(spec, parameters, batch);
  Context ctx = make_context();
  const Llama model(ctx, config_of(spec, 32), {});
  for (const Parameter& parameter : model.parameters())
    copy_in(parameter.value(), parameters.at(parameter.name));
  KvCache cache(ctx, model.config(), 32, DType::f32);
  int64_t seen = 0;
  for (const int64_t n : {5, 1, 1, 17, 1, 4}) {  // a prompt, single tokens, several at once
    const std::vector<int32_t> tokens(batch.tokens.begin() + seen, batch.tokens.begin() + seen + n);
    const Vec logits = copy_out(model.next_logits(ctx, ints(ctx, tokens), cache));
    seen += n;
    const auto row = expected.logits.begin() + (seen - 1) * spec.vocab;
    EXPECT_LE(relative_error(logits, Vec(row, row + spec.vocab)), 1e-5)
        << "after " << seen << " tokens";
  }
  EXPECT_THROW(model.next_logits(ctx, ints(ctx, {1, 2, 3, 4}), cache), Error);
}

TEST(Llama, CachedGenerationGivesTheLogitsOfTheFullForward) {
  expect_cached_logits(spec_of(false, true));
  expect_cached_logits(spec_of(false, true, LlamaSpec::Positions::alibi, true));
}

TEST(Llama, TakesAlibiSlopesByThePapersRule) {
  EXPECT_EQ(alibi_slopes(1), std::vector<float>{0x1p-8f});
  EXPECT_EQ(alibi_slopes(8), (std::vector<float>{0x1p-1f, 0x1p-2f, 0x1p-3f, 0x1p-4f, 0x1p-5f,
                                                 0x1p-6f, 0x1p-7f, 0x1p-8f}));
  // 4 heads: 1/4, 1/16, 1/64, 1/256; then the first and third of 8 heads
  EXPECT_EQ(alibi_slopes(6),
            (std::vector<float>{0x1p-2f, 0x1p-4f, 0x1p-6f, 0x1p-8f, 0x1p-1f, 0x1p-3f}));
  EXPECT_NEAR(alibi_slopes(16)[0], std::sqrt(0.5), 1e-7);
}

// Sequences that are generated together, of different lengths, some in the middle of a text.
TEST(Llama, GenerationOfSeveralSequencesGivesTheLogitsOfEach) {
  const LlamaSpec spec = spec_of(false, true);
  const auto parameters = reference::make_llama_parameters(spec);
  const LlamaBatch batch = reference::make_llama_batch({29}, spec.vocab);
  Context ctx = make_context();
  const Llama model(ctx, config_of(spec, 32), {});
  for (const Parameter& parameter : model.parameters())
    copy_in(parameter.value(), parameters.at(parameter.name));
  const auto part = [&](int64_t first, int64_t n) {
    return std::vector<int32_t>(batch.tokens.begin() + first, batch.tokens.begin() + first + n);
  };
  KvCache long_cache(ctx, model.config(), 32, DType::f32);
  KvCache short_cache(ctx, model.config(), 8, DType::f32);
  model.next_logits(ctx, ints(ctx, part(0, 9)), long_cache);
  const Continuation both[] = {{&long_cache, 1}, {&short_cache, 6}};
  std::vector<int32_t> tokens = part(9, 1);
  for (const int32_t token : part(20, 6)) tokens.push_back(token);
  const Vec together = copy_out(model.next_logits(ctx, ints(ctx, tokens), both));
  EXPECT_EQ(long_cache.length(), 10);
  EXPECT_EQ(short_cache.length(), 6);
  const auto alone = [&](const std::vector<int32_t>& text) {
    KvCache cache(ctx, model.config(), 32, DType::f32);
    return copy_out(model.next_logits(ctx, ints(ctx, text), cache));
  };
  const auto middle = together.begin() + spec.vocab;
  EXPECT_LE(relative_error(Vec(together.begin(), middle), alone(part(0, 10))), 1e-5);
  EXPECT_LE(relative_error(Vec(middle, together.end()), alone(part(20, 6))), 1e-5);
  const Continuation too_long[] = {{&long_cache, 1}, {&short_cache, 3}};
  EXPECT_THROW(model.next_logits(ctx, ints(ctx, part(0, 4)), too_long), Error);
  EXPECT_THROW(model.next_logits(ctx, ints(ctx, part(0, 4)), both), Error);  // 7 tokens
}

TEST(Llama, CountsItsParameters) {
  Context ctx({.device = Device::meta});
  for (const char* preset : {"smollm2-135m", "llama-3.1-8b"}) {
    ModelConfig config = model_preset(preset);
    config.attention_sink = true;
    config.complete();
    const Llama model(ctx, config, {.dtype = DType::bf16});
    EXPECT_EQ(parameter_count(model.parameters()), parameter_count(config)) << preset;
  }
}

}  // namespace
}  // namespace tessera
