#include "tests/kernels/attention_sample.h"

#include <fmt/format.h>

#include <algorithm>
#include <random>

namespace tessera::test {
namespace {

using Lengths = std::pair<int, int>;  // queries, keys

// With decoding: of 530 keys and more, which are split.
const std::vector<Lengths> kUsualLengths = {{113, 203}, {128, 217}, {108, 256}, {203, 113},
                                            {1, 239},   {3, 799},   {127, 129}, {129, 127},
                                            {64, 64},   {1, 1},     {65, 191},  {130, 10}};
const std::vector<Lengths> kFewLengths = {{113, 103}, {65, 131}, {40, 129}, {127, 127},
                                          {3, 530},   {1, 545},  {1, 239},  {67, 45},
                                          {64, 64},   {1, 1},    {130, 10}};
const std::vector<Lengths> kHeads = {{2, 2}, {3, 1}, {4, 2}};  // of queries, of keys
// Kernels are made for 64, 128 and 256, or 128 and 256 (f32), or 256 (f64).
const std::vector<int> kHeadDims = {64, 128, 256, 64, 128, 40, 80, 96, 32, 160, 224};

struct Mask {
  bool causal, left, right;
};
const std::vector<Mask> kMasks = {{},
                                  {.causal = true},
                                  {.causal = true, .left = true},
                                  {.left = true},
                                  {.right = true},
                                  {.left = true, .right = true}};

struct Terms {
  bool softcap, dropout, alibi, sink;
};
const std::vector<Terms> kTerms = {{},
                                   {},
                                   {},
                                   {},
                                   {},
                                   {},
                                   {.softcap = true},
                                   {.dropout = true},
                                   {.alibi = true},
                                   {.sink = true},
                                   {.softcap = true, .alibi = true},
                                   {.dropout = true, .sink = true},
                                   {.softcap = true, .dropout = true},
                                   {.alibi = true, .sink = true}};
const std::vector<DType> kTypes = {DType::bf16, DType::bf16, DType::bf16, DType::bf16, DType::f16,
                                   DType::bf16, DType::bf16, DType::bf16, DType::f32,  DType::f64};

// `count` values, each of the levels equally often, in random order.
template <class T>
std::vector<T> spread(const std::vector<T>& levels, int count, std::mt19937& random) {
  std::vector<T> values;
  for (int i = 0; i < count; ++i) values.push_back(levels[size_t(i) % levels.size()]);
  // std::shuffle draws differently in different libraries.
  for (size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[random() % i]);
  return values;
}

}  // namespace

std::vector<AttentionPoint> sample_of_grid(uint32_t seed, int points, AttentionLengths lengths) {
  std::mt19937 random(seed);
  const auto along = [&](const auto& levels) { return spread(levels, points, random); };
  const auto shapes = along(lengths == AttentionLengths::few ? kFewLengths : kUsualLengths);
  const auto heads = along(kHeads);
  const auto head_dims = along(kHeadDims);
  const auto masks = along(kMasks);
  const auto terms = along(kTerms);
  const auto types = along(kTypes);
  const auto packed = along(std::vector<int>{false, false, true});
  const auto tails = along(std::vector<int>{0, 1, 2});
  std::vector<AttentionPoint> sample;
  for (size_t i = 0; i < size_t(points); ++i) {
    auto [queries, keys] = shapes[i];
    const bool narrow = size_of(types[i]) == 2;
    int head_dim = head_dims[i];
    if (!narrow) {  // plain multiply-adds, which the emulator takes long for; any head dimension
      queries = (queries + 7) / 8;
      keys = (keys + 7) / 8;
      head_dim = head_dim / 2 + 1;
    }
    AttentionCase c{.segments = {{queries, keys}}, .head_dim = head_dim, .tail = tails[i]};
    c.name = fmt::format("point_{}_{}_d{}", i, types[i], c.head_dim);
    std::tie(c.q_heads, c.kv_heads) = heads[i];
    c.causal = masks[i].causal;
    if (masks[i].left) c.window_left = int64_t(random() % 100);
    if (masks[i].right) c.window_right = int64_t(random() % 100);
    if (terms[i].softcap) c.softcap = 15, c.q_factor = 6;  // scores that it bends
    if (terms[i].dropout) c.dropout = 0.17;
    c.alibi = terms[i].alibi;
    c.sink = terms[i].sink;
    const int first = narrow ? 33 : 9;
    if (packed[i]) c.segments = {{first, first}, {0, 5}, c.segments[0], {7, 0}};
    c.documents = packed[i];
    sample.push_back({c, types[i]});
  }
  return sample;
}

}  // namespace tessera::test
