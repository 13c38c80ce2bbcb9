#include "tests/support/reference_ops.h"

#include <algorithm>
#include <cmath>

#include "core/check.h"

namespace tessera::reference {

Vec embedding_forward(const Vec& weight, const std::vector<int32_t>& tokens, int64_t d) {
  Vec y;
  for (int32_t token : tokens) {
    check(token >= 0 && (token + 1) * d <= int64_t(weight.size()), "embedding: token {}", token);
    y.insert(y.end(), weight.begin() + token * d, weight.begin() + (token + 1) * d);
  }
  return y;
}

Vec embedding_backward(const Vec& dy, const std::vector<int32_t>& tokens, int64_t vocab) {
  const int64_t d = int64_t(dy.size() / tokens.size());
  Vec dweight(vocab * d);
  for (size_t n = 0; n < tokens.size(); ++n)
    for (int64_t c = 0; c < d; ++c) dweight[tokens[n] * d + c] += dy[n * d + c];
  return dweight;
}

Vec linear_forward(const Vec& x, const Vec& weight, const Vec& bias, int64_t in) {
  const int64_t rows = int64_t(x.size()) / in, out = int64_t(weight.size()) / in;
  Vec y(rows * out);
  for (int64_t n = 0; n < rows; ++n)
    for (int64_t o = 0; o < out; ++o) {
      double sum = bias.empty() ? 0 : bias[o];
      for (int64_t i = 0; i < in; ++i) sum += x[n * in + i] * weight[o * in + i];
      y[n * out + o] = sum;
    }
  return y;
}

LinearGradients linear_backward(const Vec& x, const Vec& weight, const Vec& dy, int64_t in) {
  const int64_t rows = int64_t(x.size()) / in, out = int64_t(weight.size()) / in;
  LinearGradients g{.dx = Vec(x.size()), .dweight = Vec(weight.size()), .dbias = Vec(out)};
  for (int64_t n = 0; n < rows; ++n)
    for (int64_t o = 0; o < out; ++o) {
      g.dbias[o] += dy[n * out + o];
      for (int64_t i = 0; i < in; ++i) {
        g.dx[n * in + i] += dy[n * out + o] * weight[o * in + i];
        g.dweight[o * in + i] += dy[n * out + o] * x[n * in + i];
      }
    }
  return g;
}

namespace {

double reciprocal_rms(const Vec& x, int64_t row, int64_t d, double eps) {
  double sum = 0;
  for (int64_t c = 0; c < d; ++c) sum += x[row * d + c] * x[row * d + c];
  return 1 / std::sqrt(sum / double(d) + eps);
}

}  // namespace

Vec rms_norm_forward(const Vec& x, const Vec& weight, double eps) {
  const int64_t d = int64_t(weight.size()), rows = int64_t(x.size()) / d;
  Vec y(x.size());
  for (int64_t n = 0; n < rows; ++n) {
    const double r = reciprocal_rms(x, n, d, eps);
    for (int64_t c = 0; c < d; ++c) y[n * d + c] = x[n * d + c] * r * weight[c];
  }
  return y;
}

// With xhat = x r and g = dy * weight:  dx = r (g - xhat mean(g xhat)).
RmsNormGradients rms_norm_backward(const Vec& x, const Vec& weight, const Vec& dy, double eps) {
  const int64_t d = int64_t(weight.size()), rows = int64_t(x.size()) / d;
  RmsNormGradients out{.dx = Vec(x.size()), .dweight = Vec(d)};
  for (int64_t n = 0; n < rows; ++n) {
    const double r = reciprocal_rms(x, n, d, eps);
    double mean = 0;
    for (int64_t i = n * d; i < (n + 1) * d; ++i)
      mean += dy[i] * weight[i - n * d] * x[i] * r / double(d);
    for (int64_t i = n * d; i < (n + 1) * d; ++i) {
      out.dx[i] = r * (dy[i] * weight[i - n * d] - x[i] * r * mean);
      out.dweight[i - n * d] += dy[i] * x[i] * r;
    }
  }
  return out;
}

AddRmsNormOutput add_rms_norm_forward(const Vec& x, const Vec& residual, const Vec& weight,
                                      double eps) {
  AddRmsNormOutput out{.sum = add(x, residual), .y = {}};
  out.y = rms_norm_forward(out.sum, weight, eps);
  return out;
}

AddRmsNormGradients add_rms_norm_backward(const Vec& sum, const Vec& weight, const Vec& dsum,
                                          const Vec& dy, double eps) {
  const RmsNormGradients norm = rms_norm_backward(sum, weight, dy, eps);
  return {.dsum = add(dsum, norm.dx), .dweight = norm.dweight};
}

Vec swiglu_forward(const Vec& gate_up, int64_t ffn) {
  const int64_t rows = int64_t(gate_up.size()) / (2 * ffn);
  Vec y(rows * ffn);
  for (int64_t n = 0; n < rows; ++n)
    for (int64_t c = 0; c < ffn; ++c) {
      const double gate = gate_up[2 * n * ffn + c], up = gate_up[(2 * n + 1) * ffn + c];
      y[n * ffn + c] = gate / (1 + std::exp(-gate)) * up;
    }
  return y;
}

Vec swiglu_backward(const Vec& gate_up, const Vec& dy, int64_t ffn) {
  const int64_t rows = int64_t(gate_up.size()) / (2 * ffn);
  Vec d(gate_up.size());
  for (int64_t n = 0; n < rows; ++n)
    for (int64_t c = 0; c < ffn; ++c) {
      const double gate = gate_up[2 * n * ffn + c], up = gate_up[(2 * n + 1) * ffn + c];
      const double sigmoid = 1 / (1 + std::exp(-gate));
      d[2 * n * ffn + c] = dy[n * ffn + c] * up * sigmoid * (1 + gate * (1 - sigmoid));
      d[(2 * n + 1) * ffn + c] = dy[n * ffn + c] * gate * sigmoid;
    }
  return d;
}

namespace {

int64_t counted_rows(const std::vector<int32_t>& targets) {
  return int64_t(targets.size()) - std::count(targets.begin(), targets.end(), kIgnored);
}

}  // namespace

CrossEntropyOutput cross_entropy_forward(const Vec& logits, const std::vector<int32_t>& targets,
                                         double z_loss) {
  const int64_t rows = int64_t(targets.size()), vocab = int64_t(logits.size()) / rows;
  CrossEntropyOutput out{.loss = 0, .lse = Vec(rows)};
  for (int64_t n = 0; n < rows; ++n) {
    const auto begin = logits.begin() + n * vocab;
    const double max = *std::max_element(begin, begin + vocab);
    double sum = 0;
    for (int64_t c = 0; c < vocab; ++c) sum += std::exp(begin[c] - max);
    out.lse[n] = max + std::log(sum);
    if (targets[n] == kIgnored) continue;
    check(targets[n] >= 0 && targets[n] < vocab, "cross_entropy: target {} of {}", targets[n],
          vocab);
    out.loss += out.lse[n] - begin[targets[n]] + z_loss * out.lse[n] * out.lse[n];
  }
  out.loss /= double(std::max<int64_t>(1, counted_rows(targets)));
  return out;
}

Vec cross_entropy_backward(const Vec& logits, const std::vector<int32_t>& targets, double z_loss,
                           double dloss) {
  const int64_t rows = int64_t(targets.size()), vocab = int64_t(logits.size()) / rows;
  const Vec lse = cross_entropy_forward(logits, targets).lse;
  Vec d(logits.size());
  for (int64_t n = 0; n < rows; ++n) {
    if (targets[n] == kIgnored) continue;
    const double row_scale = dloss / double(counted_rows(targets));
    for (int64_t c = 0; c < vocab; ++c) {
      const double p = std::exp(logits[n * vocab + c] - lse[n]);
      d[n * vocab + c] = row_scale * p * (1 + 2 * z_loss * lse[n]);
    }
    d[n * vocab + targets[n]] -= row_scale;
  }
  return d;
}

void adamw_step(const AdamWSpec& s, int64_t step, const Vec& gradient, Vec& parameter, Vec& m,
                Vec& v) {
  const double correction1 = 1 - std::pow(s.beta1, double(step));
  const double correction2 = 1 - std::pow(s.beta2, double(step));
  for (size_t i = 0; i < parameter.size(); ++i) {
    const double g = gradient[i];
    m[i] = s.beta1 * m[i] + (1 - s.beta1) * g;
    v[i] = s.beta2 * v[i] + (1 - s.beta2) * g * g;
    parameter[i] *= 1 - s.lr * s.weight_decay;
    parameter[i] -= s.lr * (m[i] / correction1) / (std::sqrt(v[i] / correction2) + s.eps);
  }
}

double global_norm(const std::vector<Vec>& gradients) {
  double sum = 0;
  for (const Vec& g : gradients) sum += dot(g, g);
  return std::sqrt(sum);
}

double clip_factor(double norm, double max_norm) {
  return std::min(1.0, max_norm / (norm + 1e-6));
}

}  // namespace tessera::reference
