// Saved tensors: how long they live, hooks that move them away, and changes in place.
#include <gtest/gtest.h>

#include "tests/core/autograd/toy_ops.h"

namespace tessera {
namespace {

using namespace toy;
using Numbers = std::vector<double>;

class SavedTensorsTest : public ::testing::Test {
 protected:
  Var parameter(const Numbers& values) { return make_parameter("x", make_tensor(ctx_, values)); }
  int64_t activations() { return ctx_.ledger().current(MemoryTag::activations); }

  Context ctx_{ContextOptions{.poison = true}};
};

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

// Nodes run from last to first; what each saved is free before the next one allocates.
TEST_F(SavedTensorsTest, AreFreedAsBackwardGoes) {
  const Var x = parameter(Numbers(8, 1.0));  // 64 bytes
  Var y = x;
  for (int i = 0; i < 10; ++i) y = multiply(ctx_, y, x);
  const int64_t forward = activations();
  EXPECT_EQ(forward, 11 * 64);  // x and ten products, the last of which is y
  ctx_.ledger().reset_peak();
  backward_ones(ctx_, y);
  EXPECT_EQ(activations(), 2 * 64);  // x and y
  // At most the gradient of x, of the output, of the input and a sum besides the saved ones.
  EXPECT_LE(ctx_.ledger().peak(), forward + 4 * 64);
}

TEST_F(SavedTensorsTest, AreFreedWithAnAbandonedGraph) {
  const Var x = parameter({1});
  { const Var y = multiply(ctx_, multiply(ctx_, x, x), x); }
  EXPECT_EQ(activations(), 64);
}

TEST_F(SavedTensorsTest, AreNotKeptWithoutRecording) {
  const Var x = parameter({1});
  const GradMode off(ctx_, false);
  Var y = x;
  for (int i = 0; i < 5; ++i) y = multiply(ctx_, y, x);
  EXPECT_EQ(activations(), 2 * 64);
}

TEST_F(SavedTensorsTest, SecondBackwardThroughAGraphIsAnError) {
  const Var x = parameter({1});
  const Var y = multiply(ctx_, x, x);
  backward_ones(ctx_, y);
  EXPECT_EQ(
      message_of([&] { backward_ones(ctx_, y); }),
      "autograd: backward ran twice through multiply; its saved tensors are already released");
}

TEST_F(SavedTensorsTest, ChangeInPlaceIsFoundInBackward) {
  const Var x = parameter({1}), factor = parameter({2});
  const Var y = multiply(ctx_, x, factor);
  factor.value().storage()->bump_version();
  EXPECT_EQ(message_of([&] { backward_ones(ctx_, y); }),
            "autograd: tensor 1 saved by multiply was changed in place before its backward");
}

TEST_F(SavedTensorsTest, ChangeBeforeSavingOrOfUnsavedTensorsIsFine) {
  const Var x = parameter({3});
  x.value().storage()->bump_version();
  const Var y = multiply(ctx_, x, x), z = add(ctx_, y, y);
  y.value().storage()->bump_version();  // add saves nothing
  backward_ones(ctx_, z);
  EXPECT_EQ(grad_of(x), (Numbers{12}));
}

// Moves saved tensors into vectors; device memory is free meanwhile.
struct Offload {
  SavedTensorHooks hooks{.pack = [this](Context&, const Tensor& x) -> std::any {
                           ++packed;
                           return read(x);
                         },
                         .unpack =
                             [this](Context& ctx, const std::any& values) {
                               ++unpacked;
                               return make_tensor(ctx, std::any_cast<const Numbers&>(values));
                             }};
  int packed = 0, unpacked = 0;
};

TEST_F(SavedTensorsTest, HooksMoveThemAwayAndBack) {
  Offload offload;
  const Var x = parameter({3});
  Var y = x;
  {
    const SavedTensorHooksScope scope(ctx_, &offload.hooks);
    for (int i = 0; i < 4; ++i) y = multiply(ctx_, y, x);
  }
  EXPECT_EQ(offload.packed, 8);
  EXPECT_EQ(offload.unpacked, 0);
  EXPECT_EQ(activations(), 2 * 64);  // x and y; the products between are away
  backward_ones(ctx_, y);  // hooks apply where the op was recorded, not where backward runs
  EXPECT_EQ(offload.unpacked, 8);
  EXPECT_EQ(grad_of(x), (Numbers{5 * 81}));
}

// What a hook keeps outside lives no longer than a saved tensor would.
TEST_F(SavedTensorsTest, PackedValuesAreReleasedByBackward) {
  std::weak_ptr<Tensor> kept;
  const SavedTensorHooks hooks{.pack = [&](Context&, const Tensor& x) -> std::any {
                                 const auto copy = std::make_shared<Tensor>(x);
                                 kept = copy;
                                 return copy;
                               },
                               .unpack =
                                   [](Context&, const std::any& packed) {
                                     return *std::any_cast<const std::shared_ptr<Tensor>&>(packed);
                                   }};
  const Var x = parameter({3});
  const SavedTensorHooksScope scope(ctx_, &hooks);
  const Var y = multiply(ctx_, x, x);
  EXPECT_FALSE(kept.expired());
  backward_ones(ctx_, y);
  EXPECT_TRUE(kept.expired());
}

}  // namespace
}  // namespace tessera
