#include "core/tensor.h"

#include <gtest/gtest.h>

#include <numeric>

#include "core/context.h"
#include "tests/support/compare.h"

namespace tessera {
namespace {

class TensorTest : public ::testing::Test {
 protected:
  // 0, 1, 2, ... in row-major order.
  Tensor counting(const Shape& shape) {
    Tensor tensor = ctx_.empty(shape, DType::f32);
    std::iota(tensor.data<float>(), tensor.data<float>() + tensor.elements(), 0.f);
    return tensor;
  }

  Context ctx_{ContextOptions{}};
};

using reference::Vec;
using test::values_of;

TEST_F(TensorTest, ViewsShareStorageWithAnotherShape) {
  const Tensor x = counting({2, 6});
  const Tensor y = x.view({3, 4});
  EXPECT_EQ(y.shape(), (Shape{3, 4}));
  EXPECT_EQ(y.strides(), (Shape{4, 1}));
  y.data<float>()[5] = 50;
  EXPECT_EQ(x.data<float>()[5], 50);
  EXPECT_THROW(x.view({5}), Error);
}

TEST_F(TensorTest, SliceOffsetsAndKeepsStrides) {
  const Tensor x = counting({3, 4});
  EXPECT_EQ(values_of(x.slice(0, 1, 3)).data, (Vec{4, 5, 6, 7, 8, 9, 10, 11}));
  const Tensor columns = x.slice(-1, 1, 3);
  EXPECT_EQ(values_of(columns).data, (Vec{1, 2, 5, 6, 9, 10}));
  EXPECT_EQ(values_of(columns.slice(0, 2, 3).slice(1, 1, 2)).data, (Vec{10}));
  EXPECT_EQ(x.slice(0, 2, 2).elements(), 0);
  EXPECT_THROW(x.slice(0, 2, 4), Error);
  EXPECT_THROW(x.slice(0, -1, 2), Error);
  EXPECT_THROW(x.slice(0, 2, 1), Error);
}

TEST_F(TensorTest, TransposeSwapsExtentsAndStrides) {
  const Tensor x = counting({2, 3}).transpose(0, -1);
  EXPECT_EQ(x.shape(), (Shape{3, 2}));
  EXPECT_EQ(values_of(x).data, (Vec{0, 3, 1, 4, 2, 5}));
}

TEST_F(TensorTest, UnflattenSplitsStridedDimensions) {
  const Tensor x = counting({2, 8}).slice(1, 2, 8);  // rows 2..7 and 10..15
  const Tensor y = x.unflatten(1, 3, 2);
  EXPECT_EQ(y.shape(), (Shape{2, 3, 2}));
  EXPECT_EQ(y.strides(), (Shape{8, 2, 1}));
  EXPECT_EQ(values_of(y.transpose(1, 2)).data, (Vec{2, 4, 6, 3, 5, 7, 10, 12, 14, 11, 13, 15}));
  EXPECT_EQ(x.unflatten(0, 1, 2).shape(), (Shape{1, 2, 6}));
  EXPECT_THROW(x.unflatten(1, 4, 2), Error);
}

TEST_F(TensorTest, OnlyContiguousTensorsHaveViews) {
  const Tensor x = counting({4, 6});
  EXPECT_TRUE(x.is_contiguous());
  EXPECT_TRUE(x.slice(0, 1, 3).is_contiguous());
  EXPECT_TRUE(x.slice(0, 1, 2).slice(1, 2, 5).is_contiguous());  // one row
  EXPECT_FALSE(x.slice(1, 0, 5).is_contiguous());
  EXPECT_FALSE(x.transpose(0, 1).is_contiguous());
  EXPECT_THROW(x.transpose(0, 1).view({24}), Error);
  EXPECT_EQ(values_of(x.slice(0, 1, 2).view({2, 3})).data, (Vec{6, 7, 8, 9, 10, 11}));
}

TEST_F(TensorTest, DataChecksTheDtype) {
  EXPECT_THROW(counting({2}).data<double>(), Error);
}

TEST_F(TensorTest, IsExclusiveUntilSomethingSharesTheStorage) {
  const Tensor x = counting({4});
  EXPECT_TRUE(x.is_exclusive());
  {
    const Tensor part = x.slice(0, 0, 1);
    EXPECT_FALSE(x.is_exclusive());
  }
  EXPECT_TRUE(x.is_exclusive());
}

TEST_F(TensorTest, EmptyAndScalarTensors) {
  const Tensor none = ctx_.zeros({0, 3}, DType::f32);
  EXPECT_EQ(none.bytes(), 0u);
  EXPECT_EQ(none.view({3, 0}).elements(), 0);
  const Tensor one = ctx_.scalar(2.5f);
  EXPECT_EQ(one.rank(), 0);
  EXPECT_EQ(*one.data<float>(), 2.5f);
}

TEST_F(TensorTest, ReleasesItsBlockWithTheLastView) {
  Tensor view;
  {
    const Tensor x = counting({1000});
    view = x.slice(0, 0, 1);
  }
  EXPECT_EQ(ctx_.ledger().current(), 4032);  // 4000 bytes in blocks of 64
  view = Tensor();
  EXPECT_EQ(ctx_.ledger().current(), 0);
}

}  // namespace
}  // namespace tessera
