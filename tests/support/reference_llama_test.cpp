#include "tests/support/reference_llama.h"

#include <cmath>

#include "tests/support/gradcheck.h"

namespace tessera::reference {
namespace {

void check_every_parameter(const LlamaSpec& spec, const LlamaBatch& batch) {
  const Parameters parameters = make_llama_parameters(spec);
  const LlamaStep step = llama_step(spec, parameters, batch);
  EXPECT_DOUBLE_EQ(step.loss, llama_loss(spec, parameters, batch));
  ASSERT_EQ(step.gradients.size(), parameters.size());
  for (const auto& [name, value] : parameters) {
    const auto loss = [&, key = name](const Vec& moved) {
      Parameters changed(parameters);
      changed[key] = moved;
      return llama_loss(spec, changed, batch);
    };
    EXPECT_TRUE(test::gradcheck(name, loss, value, step.gradients.at(name)));
  }
}

TEST(ReferenceLlama, GradientsOfPlainTiedModel) {
  const LlamaSpec spec{.layers = 2, .width = 6, .heads = 2, .kv_heads = 2, .ffn = 7, .tied = true};
  check_every_parameter(spec, make_llama_batch({5, 5}, spec.vocab));
}

TEST(ReferenceLlama, GradientsWithEveryOptionOnPackedDocuments) {
  const LlamaSpec spec{.layers = 2,
                       .width = 6,
                       .heads = 4,
                       .kv_heads = 2,
                       .ffn = 7,
                       .rope = {.theta = 100},
                       .qk_norm = true,
                       .qkv_bias = true,
                       .window = 3,
                       .softcap = 5,
                       .z_loss = 0.1};
  check_every_parameter(spec, make_llama_batch({6, 1, 4}, spec.vocab));
}

// Changing a token changes only the logits that may see it.
TEST(ReferenceLlama, LogitsSeeTheWindowOfTheirDocument) {
  const LlamaSpec spec{.layers = 1, .window = 2};
  const Parameters parameters = make_llama_parameters(spec);
  LlamaBatch batch = make_llama_batch({4, 3}, spec.vocab);
  const Vec before = llama_step(spec, parameters, batch).logits;
  batch.tokens[1] = (batch.tokens[1] + 1) % int32_t(spec.vocab);
  const Vec after = llama_step(spec, parameters, batch).logits;
  std::string changed;
  for (size_t n = 0; n < batch.tokens.size(); ++n)
    changed += before[n * spec.vocab] == after[n * spec.vocab] ? '.' : 'x';
  EXPECT_EQ(changed, ".xx....");
}

TEST(ReferenceLlama, FreshModelIsNearUniform) {
  const LlamaSpec spec{.vocab = 50};
  Parameters parameters = make_llama_parameters(spec);
  for (double& x : parameters["lm_head.weight"]) x = 0;
  EXPECT_DOUBLE_EQ(llama_loss(spec, parameters, make_llama_batch({9}, 50)), std::log(50.0));
}

}  // namespace
}  // namespace tessera::reference
