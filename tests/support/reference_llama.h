// A whole Llama forward and backward pass in double precision: the oracle for the model and for
// training steps.
//
//   x = embedding[tokens]
//   for each layer:  x = x + output(attention(rope(qk_norm(qkv(attention_norm(x))))))
//                    x = x + down(swiglu(gate_up(mlp_norm(x))))
//   loss = cross_entropy(lm_head(final_norm(x)), targets)
#pragma once

#include <map>
#include <string>

#include "tests/support/reference_attention.h"
#include "tests/support/reference_rope.h"
#include "tests/support/values.h"

namespace tessera::reference {

struct LlamaSpec {
  int64_t layers = 1, width = 8, heads = 2, kv_heads = 1, head_dim = 4, ffn = 16, vocab = 11;
  RopeSpec rope = {};
  double eps = 1e-5;
  bool tied = false;     // lm_head reads embedding.weight
  bool qk_norm = false;  // RMSNorm of every head of q and k before RoPE
  bool qkv_bias = false;
  enum class Positions { rope, alibi, none } positions = Positions::rope;
  bool sink = false;   // a score of its own in each head's softmax
  int64_t window = 0;  // tokens that a query sees, itself included; 0: all
  double softcap = 0;  // of attention scores; 0: none
  double z_loss = 0;
};

// Names and shapes (d = width, D = head_dim):
//   embedding.weight [V, d]   final_norm.weight [d]   lm_head.weight [V, d] (absent when tied)
//   layers.{i}.attention_norm.weight [d]              layers.{i}.mlp_norm.weight [d]
//   layers.{i}.attention.qkv.weight [(heads + 2 kv_heads) D, d]: all q heads, then k, then v
//   layers.{i}.attention.qkv.bias [(heads + 2 kv_heads) D] (with qkv_bias)
//   layers.{i}.attention.{q,k}_norm.weight [D] (with qk_norm)
//   layers.{i}.attention.sink [heads] (with sink)
//   layers.{i}.attention.output.weight [d, heads D]
//   layers.{i}.mlp.gate_up.weight [2 ffn, d]: gate rows, then up rows
//   layers.{i}.mlp.down.weight [d, ffn]
// With ALiBi the slopes are those of "Train Short, Test Long" (2022).
using Parameters = std::map<std::string, Vec>;

// Random parameters: norm weights around 1, the rest around 0.
Parameters make_llama_parameters(const LlamaSpec& spec);

struct LlamaBatch {
  std::vector<int32_t> tokens, targets,
      positions;                    // [N], sequences or packed documents one after another
  std::vector<int32_t> cu_seqlens;  // first row of every document, and N at the end
};

// A random batch of documents of these lengths; positions restart in each, the targets are the next
// tokens and the last of every document is ignored.
LlamaBatch make_llama_batch(const std::vector<int32_t>& lengths, int64_t vocab);

struct LlamaStep {
  double loss;
  Vec logits;            // [N, V]
  Parameters gradients;  // of the loss; a name and shape for every parameter
};

LlamaStep llama_step(const LlamaSpec& spec, const Parameters& parameters, const LlamaBatch& batch);

double llama_loss(const LlamaSpec& spec, const Parameters& parameters, const LlamaBatch& batch);

}  // namespace tessera::reference
