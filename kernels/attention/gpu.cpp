#include "kernels/attention/gpu.h"

#include <algorithm>

namespace tessera {
namespace {

constexpr int64_t kBlockRows = 128;    // queries of a block, about
constexpr int64_t kEnoughBlocks = 96;  // keep a large GPU busy
constexpr int64_t kWantedBlocks = 256;
constexpr int64_t kLeastKeys = 256;  // of a split: fewer would not pay for the combination
constexpr int64_t kMostSplits = 64;

size_t sum_bytes(const AttentionProblem& p) {
  return p.dtype == DType::f64 ? sizeof(double) : sizeof(float);
}

}  // namespace

int attention_splits(const AttentionProblem& p) {
  const int64_t blocks = (p.q_tokens / kBlockRows + p.segments) * p.q_heads;
  if (blocks == 0 || blocks >= kEnoughBlocks) return 1;
  return int(
      std::clamp(std::min(kWantedBlocks / blocks, p.max_k / kLeastKeys), int64_t{1}, kMostSplits));
}

bool adds_dq(const AttentionProblem& p) {
  return !p.deterministic && p.dtype == DType::bf16 && p.head_dim <= 128 && p.softcap == 0 &&
         p.dropout == 0;
}

size_t attention_gpu_forward_workspace(const AttentionProblem& p) {
  const int splits = attention_splits(p);
  if (splits == 1) return 0;
  return size_t(splits * p.q_heads * p.q_tokens * (p.head_dim + 1)) * sum_bytes(p);
}

size_t attention_gpu_backward_workspace(const AttentionProblem& p) {
  // lse, delta and perhaps the sums of dq
  return size_t(p.q_heads * p.q_tokens * (2 + (adds_dq(p) ? p.head_dim : 0))) * sum_bytes(p);
}

}  // namespace tessera
