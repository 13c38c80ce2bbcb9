// Models saved by transformers compute here what they compute there.
#include "tests/train/convert/fixture.h"

namespace tessera {
namespace {

constexpr int64_t kTokens = 32;

// Both sides compute in f32, in another order of sums: the golden models have two blocks of six
// products each, over at most 32 terms, so that a logit is some hundred roundings away from its
// sources, of which those of opposite sign cancel.
constexpr double kRounding = 16 * 0x1p-23;

class GoldenTest : public testing::TestWithParam<std::string> {};

TEST_P(GoldenTest, LogitsAreThoseOfTransformers) {
  Context ctx({});
  const LoadedModel loaded = load_model(ctx, test::golden_folder() / GetParam(), DType::f32);
  const auto logits = test::logits_of(ctx, loaded.model, kTokens);
  const auto expected = test::expected_logits(test::golden_folder() / GetParam());
  EXPECT_LE(test::relative_difference(logits, expected), kRounding);
}

INSTANTIATE_TEST_SUITE_P(Models, GoldenTest, testing::ValuesIn(test::golden_names()),
                         [](const auto& golden) { return golden.param; });

}  // namespace
}  // namespace tessera
