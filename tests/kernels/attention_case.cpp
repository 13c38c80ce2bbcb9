#include "tests/kernels/attention_case.h"

#include <algorithm>
#include <cmath>
#include <ostream>

#include "core/random.h"
#include "tests/support/rounding.h"

namespace tessera::test {
namespace {

constexpr uint64_t kSeed = 77;
constexpr uint32_t kPurpose = purpose_id("dropout/test"), kStep = 3;

Vec representable_values(std::string_view name, int64_t count, DType dtype, double stddev) {
  Vec values = reference::random_values(name, count, stddev);
  for (double& x : values) {
    if (dtype == DType::f32) x = reference::round_f32(x);
    if (dtype == DType::bf16) x = reference::round_bf16(x);
    if (dtype == DType::f16) x = reference::round_f16(x);
  }
  return values;
}

template <class Length>
std::vector<int32_t> offsets(const AttentionCase& c, Length length) {
  std::vector<int32_t> starts{0};
  for (const auto& segment : c.segments) starts.push_back(starts.back() + length(segment));
  return starts;
}

const AttentionCase kCases[] = {
    {.name = "d1", .segments = {{5, 7}}, .q_heads = 2, .kv_heads = 2, .head_dim = 1},
    {.name = "d32", .segments = {{113, 203}}, .q_heads = 2, .kv_heads = 2, .head_dim = 32},
    {.name = "d40_gqa_causal",
     .segments = {{128, 217}},
     .q_heads = 6,
     .kv_heads = 2,
     .head_dim = 40,
     .causal = true},
    {.name = "d59_mqa_causal",
     .segments = {{108, 256}},
     .q_heads = 6,
     .kv_heads = 1,
     .head_dim = 59,
     .causal = true},
    {.name = "d64_causal_square",
     .segments = {{320, 320}},
     .q_heads = 2,
     .kv_heads = 2,
     .causal = true},
    {.name = "d64_batch",
     .segments = {{64, 64}, {64, 64}, {64, 64}},
     .q_heads = 2,
     .kv_heads = 2,
     .causal = true},
    {.name = "d64_full_long", .segments = {{256, 512}}},
    {.name = "d80_more_queries_than_keys",
     .segments = {{203, 113}},
     .q_heads = 2,
     .kv_heads = 1,
     .head_dim = 80,
     .causal = true},
    {.name = "d96_window_left",
     .segments = {{217, 217}},
     .q_heads = 2,
     .kv_heads = 2,
     .head_dim = 96,
     .causal = true,
     .window_left = 64},
    {.name = "d111_window_both",
     .segments = {{113, 203}},
     .head_dim = 111,
     .window_left = 30,
     .window_right = 20},
    {.name = "d128_causal", .segments = {{300, 300}}, .head_dim = 128, .causal = true},
    {.name = "d128_full", .segments = {{97, 161}}, .q_heads = 2, .kv_heads = 1, .head_dim = 128},
    {.name = "d160", .segments = {{70, 130}}, .head_dim = 160},
    {.name = "d192_causal", .segments = {{70, 130}}, .head_dim = 192, .causal = true},
    {.name = "d224_causal", .segments = {{130, 70}}, .head_dim = 224, .causal = true},
    {.name = "d256_gqa_causal",
     .segments = {{140, 140}},
     .q_heads = 2,
     .kv_heads = 1,
     .head_dim = 256,
     .causal = true},
    {.name = "decode", .segments = {{1, 239}}, .q_heads = 6, .kv_heads = 2, .causal = true},
    {.name = "decode_three", .segments = {{3, 799}}, .q_heads = 2, .kv_heads = 1, .causal = true},
    {.name = "one_key", .segments = {{239, 1}}, .causal = true},
    {.name = "causal_127_512", .segments = {{127, 512}}, .head_dim = 32, .causal = true},
    {.name = "causal_513_127", .segments = {{513, 127}}, .head_dim = 32, .causal = true},
    {.name = "causal_1023_1024", .segments = {{1023, 1024}}, .head_dim = 16, .causal = true},
    {.name = "causal_1024_1023", .segments = {{1024, 1023}}, .head_dim = 16, .causal = true},
    {.name = "window_right_more_queries",
     .segments = {{200, 90}},
     .head_dim = 32,
     .window_right = 15},
    {.name = "window_left_more_queries",
     .segments = {{200, 90}},
     .head_dim = 32,
     .window_left = 15},
    {.name = "window_diagonal",
     .segments = {{150, 150}},
     .head_dim = 32,
     .window_left = 0,
     .window_right = 0},
    // The last query to see a key, and the last key that a query sees, begin a block.
    {.name = "window_at_block_ends", .segments = {{140, 140}}, .window_left = 1, .window_right = 1},
    {.name = "d128_window_at_block_ends",
     .segments = {{140, 140}},
     .head_dim = 128,
     .window_left = 1,
     .window_right = 1},
    {.name = "d256_window_at_block_ends",
     .segments = {{97, 97}},
     .head_dim = 256,
     .window_left = 1,
     .window_right = 1},
    {.name = "window_huge",
     .segments = {{40, 300}},
     .head_dim = 32,
     .window_left = int64_t{1} << 40,
     .window_right = int64_t{1} << 40},
    {.name = "window_narrow_long",
     .segments = {{900, 900}},
     .head_dim = 16,
     .causal = true,
     .window_left = 37},
    {.name = "packed",
     .segments = {{5, 5}, {0, 0}, {130, 130}, {1, 1}, {97, 97}, {0, 7}, {9, 0}, {33, 70}},
     .q_heads = 6,
     .kv_heads = 2,
     .causal = true,
     .tail = 5},
    {.name = "packed_window",
     .segments = {{150, 100}, {0, 3}, {200, 200}, {31, 64}},
     .q_heads = 2,
     .kv_heads = 1,
     .head_dim = 48,
     .window_left = 20,
     .window_right = 3,
     .documents = true,
     .tail = 40},
    {.name = "nothing_to_see",
     .segments = {{9, 0}, {0, 7}},
     .q_heads = 2,
     .kv_heads = 1,
     .head_dim = 32},
    {.name = "softcap_15",
     .segments = {{113, 203}},
     .q_heads = 2,
     .kv_heads = 2,
     .causal = true,
     .softcap = 15,
     .q_factor = 4},
    {.name = "softcap_50_window",
     .segments = {{128, 128}},
     .causal = true,
     .window_left = 40,
     .softcap = 50,
     .q_factor = 20},
    {.name = "dropout", .segments = {{113, 203}}, .q_heads = 2, .kv_heads = 1, .dropout = 0.17},
    {.name = "dropout_packed",
     .segments = {{101, 101}, {60, 60}, {0, 0}, {200, 200}},
     .q_heads = 4,
     .kv_heads = 2,
     .head_dim = 40,
     .causal = true,
     .dropout = 0.5,
     .documents = true,
     .tail = 3},
    {.name = "large_1", .segments = {{1, 1}}, .q_factor = 5, .kv_factor = 3},
    {.name = "large_2", .segments = {{2, 2}}, .causal = true, .q_factor = 5, .kv_factor = 3},
    {.name = "large_5", .segments = {{5, 5}}, .q_factor = 5, .kv_factor = 3},
    {.name = "large_17", .segments = {{17, 17}}, .causal = true, .q_factor = 50, .kv_factor = 30},
    {.name = "alibi", .segments = {{113, 203}}, .q_heads = 4, .kv_heads = 2, .alibi = true},
    {.name = "alibi_softcap_causal",
     .segments = {{90, 90}, {41, 70}},
     .q_heads = 2,
     .kv_heads = 1,
     .head_dim = 128,
     .causal = true,
     .softcap = 20,
     .alibi = true},
    {.name = "sink_causal",
     .segments = {{70, 70}, {0, 0}, {100, 40}},
     .q_heads = 4,
     .kv_heads = 2,
     .causal = true,
     .tail = 6,
     .sink = true},
    {.name = "sink_window_dropout",
     .segments = {{60, 60}, {9, 0}},
     .q_heads = 2,
     .kv_heads = 2,
     .head_dim = 40,
     .causal = true,
     .window_left = 12,
     .dropout = 0.2,
     .sink = true},
    {.name = "sink_alibi_decode",
     .segments = {{2, 700}},
     .q_heads = 2,
     .kv_heads = 1,
     .causal = true,
     .alibi = true,
     .sink = true},
};

}  // namespace

std::ostream& operator<<(std::ostream& out, const AttentionCase& c) {
  return out << c.name;
}

std::vector<int32_t> query_offsets(const AttentionCase& c) {
  return offsets(c, [](const auto& segment) { return segment.first; });
}
std::vector<int32_t> key_offsets(const AttentionCase& c) {
  return offsets(c, [](const auto& segment) { return segment.second; });
}

AttentionInputs make_inputs(const AttentionCase& c, DType dtype) {
  const int64_t rows = query_offsets(c).back() * c.q_heads;
  const int64_t q_count = rows * c.head_dim;
  const int64_t k_count = int64_t(key_offsets(c).back()) * c.kv_heads * c.head_dim;
  const DType wide = dtype == DType::f64 ? DType::f64 : DType::f32;
  return {representable_values("q", q_count, dtype, c.q_factor),
          representable_values("k", k_count, dtype, c.kv_factor),
          representable_values("v", k_count, dtype, c.kv_factor),
          representable_values("d_o", q_count, dtype, 1),
          representable_values("d_lse", rows, wide, 1)};
}

AttentionProblem make_problem(const AttentionCase& c, DType dtype) {
  AttentionProblem p;
  p.dtype = dtype;
  p.q_tokens = query_offsets(c).back() + c.tail;
  p.k_tokens = key_offsets(c).back() + c.tail;
  p.q_heads = c.q_heads;
  p.kv_heads = c.kv_heads;
  p.head_dim = c.head_dim;
  p.segments = int64_t(c.segments.size());
  p.documents = c.documents;
  for (const auto& [queries, keys] : c.segments) {
    p.max_q = std::max<int64_t>(p.max_q, queries);
    p.max_k = std::max<int64_t>(p.max_k, keys);
  }
  p.causal = c.causal;
  p.window_left = c.window_left;
  p.window_right = c.window_right;
  p.scale = 1 / std::sqrt(double(c.head_dim));
  p.softcap = c.softcap;
  p.dropout = c.dropout;
  p.seed = kSeed;
  p.purpose = kPurpose;
  p.step = kStep;
  p.has_sink = c.sink;
  return p;
}

reference::AttentionSpec make_spec(const AttentionCase& c) {
  const AttentionProblem p = make_problem(c, DType::f64);
  Vec slopes, sink;
  for (int head = 0; head < c.q_heads; ++head) {
    if (c.alibi) slopes.push_back(std::exp2(-2 - head));
    if (c.sink) sink.push_back(0.5 * head - 0.75);
  }
  return {.q_heads = c.q_heads,
          .kv_heads = c.kv_heads,
          .head_dim = c.head_dim,
          .cu_q = query_offsets(c),
          .cu_k = key_offsets(c),
          .causal = c.causal,
          .window_left = c.window_left,
          .window_right = c.window_right,
          .scale = p.scale,
          .softcap = c.softcap,
          .dropout = c.dropout,
          .keep =
              [p](int64_t head, int64_t q, int64_t k) {
                const uint64_t element = uint64_t((head * p.q_tokens + q) * p.k_tokens + k);
                return Philox(kSeed, kPurpose, kStep).uniform(element) >= p.dropout;
              },
          .alibi_slopes = slopes,
          .sink = sink};
}

AttentionAnswer reference_answer(const AttentionCase& c, const AttentionInputs& in,
                                 reference::Precision precision) {
  const reference::AttentionSpec spec = make_spec(c);
  return {attention_forward(spec, in.q, in.k, in.v, precision),
          attention_backward(spec, in.q, in.k, in.v, in.d_o, in.d_lse, precision)};
}

const std::vector<AttentionCase>& attention_cases() {
  static const std::vector<AttentionCase> cases(std::begin(kCases), std::end(kCases));
  return cases;
}

}  // namespace tessera::test
