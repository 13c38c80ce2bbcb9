// The operations of a Llama training step in double precision, as plain loops: the oracle for their
// kernels. Row-major; N rows (tokens), d columns. A backward function returns fresh gradients;
// callers add them up.
#pragma once

#include "tests/support/values.h"

namespace tessera::reference {

inline constexpr int32_t kIgnored = -100;  // target of a row that does not count

// y[n] = weight[tokens[n]]: weight [V, d], tokens [N] -> [N, d].
Vec embedding_forward(const Vec& weight, const std::vector<int32_t>& tokens, int64_t d);
Vec embedding_backward(const Vec& dy, const std::vector<int32_t>& tokens, int64_t vocab);

// y = x weight^T + bias: x [N, in], weight [out, in], bias [out] or empty -> [N, out].
Vec linear_forward(const Vec& x, const Vec& weight, const Vec& bias, int64_t in);
struct LinearGradients {
  Vec dx, dweight, dbias;
};
LinearGradients linear_backward(const Vec& x, const Vec& weight, const Vec& dy, int64_t in);

// y = x / sqrt(mean(x^2) + eps) * weight over rows of d: x [N, d], weight [d] -> [N, d].
Vec rms_norm_forward(const Vec& x, const Vec& weight, double eps);
struct RmsNormGradients {
  Vec dx, dweight;
};
RmsNormGradients rms_norm_backward(const Vec& x, const Vec& weight, const Vec& dy, double eps);

// sum = x + residual, y = rms_norm(sum): both are outputs, both have gradients.
struct AddRmsNormOutput {
  Vec sum, y;
};
AddRmsNormOutput add_rms_norm_forward(const Vec& x, const Vec& residual, const Vec& weight,
                                      double eps);
struct AddRmsNormGradients {
  Vec dsum;  // the gradient of x, and of residual
  Vec dweight;
};
AddRmsNormGradients add_rms_norm_backward(const Vec& sum, const Vec& weight, const Vec& dsum,
                                          const Vec& dy, double eps);

// y = silu(gate) * up, silu(x) = x / (1 + exp(-x)): gate_up [N, 2F], gate first -> [N, F].
Vec swiglu_forward(const Vec& gate_up, int64_t ffn);
Vec swiglu_backward(const Vec& gate_up, const Vec& dy, int64_t ffn);

// loss = mean over rows that count of  lse - logit[target] + z_loss * lse^2,  lse = log sum
// exp(logits). logits [N, V], targets [N]. The loss is 0 where no row counts.
struct CrossEntropyOutput {
  double loss;
  Vec lse;  // [N]
};
CrossEntropyOutput cross_entropy_forward(const Vec& logits, const std::vector<int32_t>& targets,
                                         double z_loss = 0);
// The gradient of dloss * loss: [N, V].
Vec cross_entropy_backward(const Vec& logits, const std::vector<int32_t>& targets,
                           double z_loss = 0, double dloss = 1);

// AdamW (Loshchilov & Hutter, 2019) as PyTorch computes it; `step` counts from 1. Updates
// parameter, m and v:
//   parameter *= 1 - lr * weight_decay     m = beta1 m + (1 - beta1) g     v = beta2 v + (1 -
//   beta2) g^2 parameter -= lr * (m / (1 - beta1^step)) / (sqrt(v / (1 - beta2^step)) + eps)
struct AdamWSpec {
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.95, eps = 1e-8, weight_decay = 0;
};
void adamw_step(const AdamWSpec& spec, int64_t step, const Vec& gradient, Vec& parameter, Vec& m,
                Vec& v);

// Euclidean norm of all tensors together.
double global_norm(const std::vector<Vec>& gradients);

// The factor min(1, max_norm / (norm + 1e-6)), as in torch.nn.utils.clip_grad_norm_.
double clip_factor(double norm, double max_norm);

}  // namespace tessera::reference
