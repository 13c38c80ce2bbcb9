// The Llama model: embedding, L blocks of attention and gated MLP on a residual stream, norm, head.
// Touvron et al., "LLaMA", 2023, with grouped-query attention and, as options, QK-norm (Qwen3), QKV
// bias (Qwen2), a sliding window (Mistral), ALiBi (BLOOM, MPT) or no positions in place of RoPE,
// and attention sinks (gpt-oss).
#pragma once

#include <optional>
#include <span>

#include "kernels/attention/op.h"
#include "kernels/cross_entropy/op.h"
#include "kernels/rms_norm/op.h"
#include "kernels/rope/op.h"
#include "model/batch.h"
#include "model/config.h"
#include "model/kv_cache.h"
#include "model/parameter.h"

namespace tessera {

// How a model computes, as opposed to what.
struct ComputeOptions {
  DType dtype = DType::f32;  // of matrices and activations
  AttentionBackend attention = AttentionBackend::flash;
  double attention_dropout = 0;
  double attention_softcap = 0;  // 0: none
  bool attention_deterministic = true;
  bool recompute_blocks =
      false;  // keep only each block's input, compute the rest again in backward
};

// New tokens of one sequence.
struct Continuation {
  KvCache* cache;
  int64_t tokens;  // how many
};

class Llama {
 public:
  // Creates the parameters, uninitialised.
  Llama(Context& ctx, const ModelConfig& config, const ComputeOptions& options);

  const ModelConfig& config() const { return config_; }
  const ComputeOptions& options() const { return options_; }
  const std::vector<Parameter>& parameters() const { return parameters_; }

  // Scalar loss of the batch: `loss.scale` times the sum over its targets.
  Var loss(Context& ctx, const DeviceBatch& batch, const LossOptions& loss) const;
  // Loss of every token, 0 where its target is ignored: f32 [N] (f64 in f64). No gradients are
  // recorded; z_loss and scale are not applied.
  Tensor token_losses(Context& ctx, const DeviceBatch& batch, const LossOptions& loss) const;
  // Logits [B, V] after the last token of each sequence. `tokens` [N] has those of all, one
  // sequence after the other; they continue what its cache holds, and their keys and values are
  // added.
  Tensor next_logits(Context& ctx, const Tensor& tokens,
                     std::span<const Continuation> sequences) const;
  // The same for one sequence: [V].
  Tensor next_logits(Context& ctx, const Tensor& tokens, KvCache& cache) const;
  // The normed output of the last block, [N, d].
  Var hidden(Context& ctx, const DeviceBatch& batch) const;
  // [V, d]; the embedding itself when tied.
  const Var& head() const { return head_ ? *head_ : embedding_; }

 private:
  struct Layer {
    Var attention_norm, qkv, attention_output, mlp_norm, gate_up, down;
    std::optional<Var> qkv_bias, q_norm, k_norm, sink;
  };
  // The residual stream [N, d], and the output of the part before that is still to be added to it
  // (if any).
  struct Stream {
    Var residual;
    std::optional<Var> branch;
  };

  Var parameter(Context& ctx, std::string name, const Shape& shape, double init_std,
                float init_value = 0);
  Layer make_layer(Context& ctx, int index);
  NormLinear projected_qkv(Context& ctx, const Layer& layer, const Stream& in,
                           const Tensor& positions) const;
  Stream block(Context& ctx, int index, const Stream& in, const DeviceBatch& batch) const;
  Stream run_block(Context& ctx, int index, const Stream& in, const DeviceBatch& batch) const;
  Tensor cached_attention(Context& ctx, int layer, const Tensor& qkv, KvCache& cache,
                          const Segments& queries, const Segments& keys) const;
  Stream self_attention(Context& ctx, int index, const Stream& in, const DeviceBatch& batch) const;
  Stream mlp(Context& ctx, const Layer& layer, const Stream& in) const;
  AttentionOptions attention_options(int layer, bool training) const;
  AttentionTerms attention_terms(const Layer& layer) const;

  ModelConfig config_;
  ComputeOptions options_;
  std::vector<Parameter> parameters_;
  Var embedding_, final_norm_;
  std::vector<Layer> layers_;
  std::optional<Var> head_;
  RopeTable rope_;       // with positions by RoPE
  Tensor alibi_slopes_;  // [Hq], with ALiBi
};

}  // namespace tessera
