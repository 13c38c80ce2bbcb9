#include "tests/support/reference_llama.h"

#include <cmath>
#include <numeric>

#include "core/check.h"
#include "core/random.h"
#include "tests/support/reference_ops.h"

namespace tessera::reference {
namespace {

// What the forward pass of one layer keeps for its backward pass. N tokens.
struct LayerState {
  Vec x, attention_norm;  // [N, d]
  Vec q_raw, k_raw;       // [N, heads D], [N, kv_heads D], before qk_norm and RoPE
  Vec q, k, v;            // the attention's inputs
  Vec attention;          // [N, heads D]
  Vec middle, mlp_norm;   // [N, d], after the attention's residual
  Vec gate_up, activation;
};

struct ForwardState {
  std::vector<LayerState> layers;
  Vec x, final_norm, logits;
};

// One pass over one batch; each function is one layer's forward or backward.
class Llama {
 public:
  Llama(const LlamaSpec& spec, const Parameters& parameters, const LlamaBatch& batch)
      : spec_(spec), parameters_(parameters), batch_(batch) {}

  ForwardState forward() const;
  Parameters backward(const ForwardState& state) const;

 private:
  const Vec& parameter(const std::string& name) const {
    const auto found = parameters_.find(name);
    check(found != parameters_.end(), "reference llama: no parameter {}", name);
    return found->second;
  }
  const Vec& output_weight() const {
    return parameter(spec_.tied ? "embedding.weight" : "lm_head.weight");
  }
  std::string layer_name(int64_t layer) const { return "layers." + std::to_string(layer) + "."; }
  int64_t q_width() const { return spec_.heads * spec_.head_dim; }
  int64_t kv_width() const { return spec_.kv_heads * spec_.head_dim; }
  int64_t qkv_width() const { return q_width() + 2 * kv_width(); }

  AttentionSpec attention_spec(const std::string& name) const;
  Vec positioned(const Vec& heads) const;
  Vec attention_block(const std::string& name, LayerState& s) const;
  Vec mlp_block(const std::string& name, LayerState& s) const;
  Vec attention_block_backward(const std::string& name, const LayerState& s, const Vec& dy,
                               Parameters& gradients) const;
  Vec mlp_block_backward(const std::string& name, const LayerState& s, const Vec& dy,
                         Parameters& gradients) const;
  Vec head_backward(const std::string& norm_name, const Vec& raw, const Vec& dy,
                    Parameters& gradients) const;
  Vec linear_backward_into(const std::string& weight_name, const Vec& x, const Vec& dy, int64_t in,
                           Parameters& gradients) const;
  Vec norm_backward_into(const std::string& weight_name, const Vec& x, const Vec& dy,
                         Parameters& gradients) const;

  const LlamaSpec& spec_;
  const Parameters& parameters_;
  const LlamaBatch& batch_;
};

// As the paper's code has it.
Vec slopes_of(int64_t heads) {
  int64_t power = 1;
  while (2 * power <= heads) power *= 2;
  Vec slopes;
  for (int64_t i = 1; i <= power; ++i) slopes.push_back(std::pow(2, -8.0 * i / power));
  if (power == heads) return slopes;
  const Vec finer = slopes_of(2 * power);
  for (int64_t i = 0; i < heads - power; ++i) slopes.push_back(finer[2 * i]);
  return slopes;
}

AttentionSpec Llama::attention_spec(const std::string& name) const {
  return {.q_heads = spec_.heads,
          .kv_heads = spec_.kv_heads,
          .head_dim = spec_.head_dim,
          .cu_q = batch_.cu_seqlens,
          .cu_k = batch_.cu_seqlens,
          .causal = true,
          .window_left = spec_.window > 0 ? spec_.window - 1 : -1,
          .scale = 1 / std::sqrt(double(spec_.head_dim)),
          .softcap = spec_.softcap,
          .alibi_slopes =
              spec_.positions == LlamaSpec::Positions::alibi ? slopes_of(spec_.heads) : Vec{},
          .sink = spec_.sink ? parameter(name + "attention.sink") : Vec{}};
}

// Queries or keys after RoPE, if there is any.
Vec Llama::positioned(const Vec& heads) const {
  if (spec_.positions != LlamaSpec::Positions::rope) return heads;
  return rope_forward(spec_.rope, heads, batch_.positions, spec_.head_dim);
}

Vec Llama::attention_block(const std::string& name, LayerState& s) const {
  s.attention_norm = rms_norm_forward(s.x, parameter(name + "attention_norm.weight"), spec_.eps);
  const Vec bias = spec_.qkv_bias ? parameter(name + "attention.qkv.bias") : Vec{};
  const Vec qkv =
      linear_forward(s.attention_norm, parameter(name + "attention.qkv.weight"), bias, spec_.width);
  s.q_raw = take_columns(qkv, qkv_width(), 0, q_width());
  s.k_raw = take_columns(qkv, qkv_width(), q_width(), q_width() + kv_width());
  s.v = take_columns(qkv, qkv_width(), q_width() + kv_width(), qkv_width());
  s.q = s.q_raw;
  s.k = s.k_raw;
  if (spec_.qk_norm) {
    s.q = rms_norm_forward(s.q, parameter(name + "attention.q_norm.weight"), spec_.eps);
    s.k = rms_norm_forward(s.k, parameter(name + "attention.k_norm.weight"), spec_.eps);
  }
  s.q = positioned(s.q);
  s.k = positioned(s.k);
  s.attention = attention_forward(attention_spec(name), s.q, s.k, s.v).o;
  return linear_forward(s.attention, parameter(name + "attention.output.weight"), {}, q_width());
}

Vec Llama::mlp_block(const std::string& name, LayerState& s) const {
  s.mlp_norm = rms_norm_forward(s.middle, parameter(name + "mlp_norm.weight"), spec_.eps);
  s.gate_up = linear_forward(s.mlp_norm, parameter(name + "mlp.gate_up.weight"), {}, spec_.width);
  s.activation = swiglu_forward(s.gate_up, spec_.ffn);
  return linear_forward(s.activation, parameter(name + "mlp.down.weight"), {}, spec_.ffn);
}

ForwardState Llama::forward() const {
  ForwardState state;
  state.x = embedding_forward(parameter("embedding.weight"), batch_.tokens, spec_.width);
  for (int64_t layer = 0; layer < spec_.layers; ++layer) {
    LayerState s;
    s.x = state.x;
    s.middle = add(s.x, attention_block(layer_name(layer), s));
    state.x = add(s.middle, mlp_block(layer_name(layer), s));
    state.layers.push_back(std::move(s));
  }
  state.final_norm = rms_norm_forward(state.x, parameter("final_norm.weight"), spec_.eps);
  state.logits = linear_forward(state.final_norm, output_weight(), {}, spec_.width);
  return state;
}

// Adds to a gradient that may already hold another use's part, as a tied embedding's does.
void accumulate(Parameters& gradients, const std::string& name, const Vec& part) {
  const auto [entry, is_new] = gradients.try_emplace(name, part);
  if (!is_new) entry->second = add(entry->second, part);
}

Vec Llama::linear_backward_into(const std::string& weight_name, const Vec& x, const Vec& dy,
                                int64_t in, Parameters& gradients) const {
  const LinearGradients g = linear_backward(x, parameter(weight_name), dy, in);
  accumulate(gradients, weight_name, g.dweight);
  return g.dx;
}

Vec Llama::norm_backward_into(const std::string& weight_name, const Vec& x, const Vec& dy,
                              Parameters& gradients) const {
  const RmsNormGradients g = rms_norm_backward(x, parameter(weight_name), dy, spec_.eps);
  accumulate(gradients, weight_name, g.dweight);
  return g.dx;
}

// Back through RoPE and the optional norm of q or k.
Vec Llama::head_backward(const std::string& norm_name, const Vec& raw, const Vec& dy,
                         Parameters& gradients) const {
  const Vec d = spec_.positions == LlamaSpec::Positions::rope
                    ? rope_backward(spec_.rope, dy, batch_.positions, spec_.head_dim)
                    : dy;
  return spec_.qk_norm ? norm_backward_into(norm_name, raw, d, gradients) : d;
}

Vec Llama::attention_block_backward(const std::string& name, const LayerState& s, const Vec& dy,
                                    Parameters& gradients) const {
  const Vec d_attention =
      linear_backward_into(name + "attention.output.weight", s.attention, dy, q_width(), gradients);
  const AttentionGradients g = attention_backward(attention_spec(name), s.q, s.k, s.v, d_attention);
  if (spec_.sink) accumulate(gradients, name + "attention.sink", g.d_sink);
  Vec d_qkv(batch_.tokens.size() * qkv_width());
  put_columns(d_qkv, qkv_width(), 0, q_width(),
              head_backward(name + "attention.q_norm.weight", s.q_raw, g.dq, gradients));
  put_columns(d_qkv, qkv_width(), q_width(), q_width() + kv_width(),
              head_backward(name + "attention.k_norm.weight", s.k_raw, g.dk, gradients));
  put_columns(d_qkv, qkv_width(), q_width() + kv_width(), qkv_width(), g.dv);
  const std::string weight_name = name + "attention.qkv.weight";
  const LinearGradients linear =
      linear_backward(s.attention_norm, parameter(weight_name), d_qkv, spec_.width);
  accumulate(gradients, weight_name, linear.dweight);
  if (spec_.qkv_bias) accumulate(gradients, name + "attention.qkv.bias", linear.dbias);
  return norm_backward_into(name + "attention_norm.weight", s.x, linear.dx, gradients);
}

Vec Llama::mlp_block_backward(const std::string& name, const LayerState& s, const Vec& dy,
                              Parameters& gradients) const {
  const Vec d_activation =
      linear_backward_into(name + "mlp.down.weight", s.activation, dy, spec_.ffn, gradients);
  const Vec d_gate_up = swiglu_backward(s.gate_up, d_activation, spec_.ffn);
  const Vec d_norm = linear_backward_into(name + "mlp.gate_up.weight", s.mlp_norm, d_gate_up,
                                          spec_.width, gradients);
  return norm_backward_into(name + "mlp_norm.weight", s.middle, d_norm, gradients);
}

Parameters Llama::backward(const ForwardState& state) const {
  Parameters gradients;
  const Vec d_logits = cross_entropy_backward(state.logits, batch_.targets, spec_.z_loss);
  const Vec d_norm = linear_backward_into(spec_.tied ? "embedding.weight" : "lm_head.weight",
                                          state.final_norm, d_logits, spec_.width, gradients);
  Vec dx = norm_backward_into("final_norm.weight", state.x, d_norm, gradients);
  for (int64_t layer = spec_.layers - 1; layer >= 0; --layer) {
    const LayerState& s = state.layers[layer];
    dx = add(dx, mlp_block_backward(layer_name(layer), s, dx, gradients));
    dx = add(dx, attention_block_backward(layer_name(layer), s, dx, gradients));
  }
  accumulate(gradients, "embedding.weight", embedding_backward(dx, batch_.tokens, spec_.vocab));
  return gradients;
}

}  // namespace

Parameters make_llama_parameters(const LlamaSpec& s) {
  Parameters parameters;
  const auto matrix = [&](const std::string& name, int64_t rows, int64_t columns) {
    parameters[name] = random_values(name, rows * columns, 1 / std::sqrt(double(columns)));
  };
  const auto norm = [&](const std::string& name, int64_t size) {
    parameters[name] = add(Vec(size, 1.0), random_values(name, size, 0.2));
  };
  matrix("embedding.weight", s.vocab, s.width);
  const int64_t q_width = s.heads * s.head_dim, qkv_width = q_width + 2 * s.kv_heads * s.head_dim;
  for (int64_t layer = 0; layer < s.layers; ++layer) {
    const std::string name = "layers." + std::to_string(layer) + ".";
    norm(name + "attention_norm.weight", s.width);
    matrix(name + "attention.qkv.weight", qkv_width, s.width);
    if (s.qkv_bias) matrix(name + "attention.qkv.bias", qkv_width, 1);
    if (s.qk_norm) norm(name + "attention.q_norm.weight", s.head_dim);
    if (s.qk_norm) norm(name + "attention.k_norm.weight", s.head_dim);
    if (s.sink) matrix(name + "attention.sink", s.heads, 1);
    matrix(name + "attention.output.weight", s.width, q_width);
    norm(name + "mlp_norm.weight", s.width);
    matrix(name + "mlp.gate_up.weight", 2 * s.ffn, s.width);
    matrix(name + "mlp.down.weight", s.width, s.ffn);
  }
  norm("final_norm.weight", s.width);
  if (!s.tied) matrix("lm_head.weight", s.vocab, s.width);
  return parameters;
}

LlamaBatch make_llama_batch(const std::vector<int32_t>& lengths, int64_t vocab) {
  const Philox philox(/*seed=*/1234, purpose_id("batch"), /*step=*/0);
  LlamaBatch batch{.tokens = {}, .targets = {}, .positions = {}, .cu_seqlens = {0}};
  for (int32_t length : lengths) {
    for (int32_t i = 0; i < length; ++i) {
      batch.tokens.push_back(int32_t(philox.below(batch.tokens.size(), vocab)));
      batch.positions.push_back(i);
    }
    batch.cu_seqlens.push_back(int32_t(batch.tokens.size()));
  }
  for (size_t i = 0; i < batch.tokens.size(); ++i) {
    const bool is_last = i + 1 == batch.tokens.size() || batch.positions[i + 1] == 0;
    batch.targets.push_back(is_last ? kIgnored : batch.tokens[i + 1]);
  }
  return batch;
}

LlamaStep llama_step(const LlamaSpec& spec, const Parameters& parameters, const LlamaBatch& batch) {
  const Llama llama(spec, parameters, batch);
  ForwardState state = llama.forward();
  const double loss = cross_entropy_forward(state.logits, batch.targets, spec.z_loss).loss;
  Parameters gradients = llama.backward(state);
  return {.loss = loss, .logits = std::move(state.logits), .gradients = std::move(gradients)};
}

double llama_loss(const LlamaSpec& spec, const Parameters& parameters, const LlamaBatch& batch) {
  const ForwardState state = Llama(spec, parameters, batch).forward();
  return cross_entropy_forward(state.logits, batch.targets, spec.z_loss).loss;
}

}  // namespace tessera::reference
