#include "model/flops.h"

#include <algorithm>

namespace tessera {

double training_flops_per_token(const ModelConfig& config, int64_t context) {
  const double d = double(config.width), D = double(config.head_dim);
  const double q = double(config.heads) * D, kv = double(config.kv_heads) * D;
  const double block = d * (q + 2 * kv) + q * d + 3 * d * double(config.ffn_width);
  const double matrices = double(config.layers) * block + d * double(config.vocab_size);
  // Token i sees min(i + 1, window) keys; causal attention is quoted as T / 2, the limit for large
  // T.
  const double T = double(context);
  const double window = config.sliding_window > 0 ? std::min(double(config.sliding_window), T) : T;
  const double visible = window * (T - window / 2) / T;
  return 6 * matrices + 12 * double(config.layers) * q * visible;
}

}  // namespace tessera
