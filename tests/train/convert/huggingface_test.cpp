// Models saved by transformers compute here what they compute there.
#include "tests/train/convert/fixture.h"

namespace tessera {
namespace {

constexpr int64_t kTokens = 32;

// transformers computes the angle of a position in f32, here it is computed in double: at position
// p both the query's and the key's may be off by p 2^-23 there, which is the largest of all
// roundings in these small models.
constexpr double kRounding = 2 * kTokens * 0x1p-23;

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
