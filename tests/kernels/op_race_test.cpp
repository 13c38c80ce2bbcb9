// Race checks of the kernels of the small op families: every kernel once, on the instrumented
// objects, where the emulator fails at a race.
#include "kernels/adamw/kernel.h"
#include "kernels/cross_entropy/kernel.h"
#include "kernels/elementwise/kernel.h"
#include "kernels/embedding/kernel.h"
#include "kernels/linear/kernel.h"
#include "kernels/reduce/kernel.h"
#include "kernels/rope/kernel.h"
#include "kernels/rope/table.h"
#include "kernels/swiglu/kernel.h"
#include "tests/kernels/device_case.h"

namespace tessera::test {
namespace {

class OpRace : public DeviceTest {};
INSTANTIATE_TEST_SUITE_P(Devices, OpRace, ::testing::Values(Device::simt), device_name);

template <class Body>  // body(ctx, dtype)
void under_two_seeds(const Body& body) {
  for (const int seed : {1, 2}) {
    const EmulatorSeed scope(seed);
    Context ctx = device_context(Device::simt, /*threads=*/1);
    for (const DType dtype : {DType::f32, DType::bf16}) {
      SCOPED_TRACE(fmt::format("seed {} {}", seed, dtype));
      EXPECT_NO_THROW(body(ctx, dtype));
    }
  }
}

Tensor values(Context& ctx, const Shape& shape, DType dtype) {
  return make_tensor(ctx, shape, dtype, representable("x", shape.elements(), dtype));
}

std::vector<int32_t> numbers(int64_t n, int32_t limit) {
  std::vector<int32_t> all;
  for (int64_t i = 0; i < n; ++i) all.push_back(int32_t(i * i % limit));
  return all;
}

TEST_P(OpRace, Elementwise) {
  under_two_seeds([](Context& ctx, DType dtype) {
    const Tensor x = values(ctx, {1037}, dtype), y = ctx.empty({1037}, DType::f32);
    add_into(ctx, x, x);
    scale(ctx, x, 2);
    scale_by(ctx, x, ctx.scalar(3));
    convert(ctx, y, x);
    EXPECT_TRUE(all_finite(ctx, x));
    EXPECT_FALSE(all_finite(ctx, ctx.empty({1037}, dtype)));
  });
}

TEST_P(OpRace, Swiglu) {
  under_two_seeds([](Context& ctx, DType dtype) {
    const Tensor x = values(ctx, {5, 64}, dtype), y = ctx.empty({5, 32}, dtype);
    swiglu_forward(ctx, {.gate_up = x, .y = y});
    swiglu_backward(ctx, {.gate_up = x, .dy = y, .dgate_up = x, .y = y});
  });
}

TEST_P(OpRace, Rope) {
  under_two_seeds([](Context& ctx, DType dtype) {
    const Tensor x = values(ctx, {5, 4 * 32}, dtype), y = ctx.empty({5, 4 * 32}, dtype);
    const RopeTable table = rope_table(ctx, {}, 10, 32);
    for (const Tensor& to : {y, x}) {
      rope_rotate(ctx, {.x = x,
                        .y = to,
                        .positions = make_tokens(ctx, numbers(5, 10)),
                        .cos = table.cos,
                        .sin = table.sin,
                        .heads = 3,
                        .head_dim = 32,
                        .inverse = false});
    }
  });
}

TEST_P(OpRace, SumOfSquares) {
  under_two_seeds([](Context& ctx, DType dtype) {
    const Tensor tensors[] = {values(ctx, {33000}, dtype), values(ctx, {31}, dtype)};
    sum_of_squares(ctx, tensors);
  });
}

// More rows than a block adds, whose sums a second kernel adds.
TEST_P(OpRace, SumRows) {
  under_two_seeds([](Context& ctx, DType dtype) {
    sum_rows(ctx, {.x = values(ctx, {131, 67}, dtype), .sums = ctx.empty({67}, DType::f32)});
  });
}

TEST_P(OpRace, Embedding) {
  under_two_seeds([](Context& ctx, DType dtype) {
    const Tensor table = values(ctx, {20, 33}, dtype), y = ctx.empty({700, 33}, dtype);
    const Tensor tokens = make_tokens(ctx, numbers(700, 20));
    embedding_forward(ctx, {.tokens = tokens, .table = table, .y = y});
    const Tensor dtable = ctx.empty({20, 33}, DType::f32);
    embedding_backward(ctx, {.tokens = tokens, .dy = y, .dtable = dtable, .accumulate = false});
  });
}

TEST_P(OpRace, AdamW) {
  under_two_seeds([](Context& ctx, DType dtype) {
    const AdamWTensor tensor{.param = values(ctx, {4133}, DType::f32),
                             .low = dtype == DType::bf16 ? ctx.empty({4133}, dtype) : Tensor(),
                             .grad = values(ctx, {4133}, DType::f32),
                             .m = ctx.zeros({4133}, DType::f32),
                             .v = ctx.zeros({4133}, DType::f32)};
    adamw_step(ctx, {.tensors = std::span(&tensor, 1)});
  });
}

// Also in place, where a bf16 gradient overwrites logits that other threads read, over two tiles.
TEST_P(OpRace, CrossEntropy) {
  under_two_seeds([](Context& ctx, DType dtype) {
    const Tensor logits = values(ctx, {3, 2576}, DType::f32);
    const Tensor losses = ctx.empty({3}, DType::f32);
    const int64_t columns = 2576 * int64_t(4 / size_of(dtype));
    cross_entropy_rows(
        ctx, {.logits = logits.slice(1, 0, 2565),
              .targets = make_tokens(ctx, {2564, -100, 0}),
              .losses = losses,
              .dlogits = Tensor(logits.storage(), {3, columns}, dtype).slice(1, 0, 2565)});
    total_loss(ctx, losses, 1, ctx.empty({}, DType::f32));
  });
}

}  // namespace
}  // namespace tessera::test
