#include "model/sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "core/check.h"

namespace tessera {

int64_t sample(std::span<const float> logits, const SamplerOptions& options, int64_t position) {
  std::vector<int64_t> order(logits.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  std::erase_if(order, [&](int64_t i) { return std::isnan(logits[size_t(i)]); });
  check(!order.empty(),
        "generate: every logit is NaN; the checkpoint is damaged or training diverged");
  const auto likelier = [&](int64_t a, int64_t b) {
    const float x = logits[size_t(a)], y = logits[size_t(b)];
    return x != y ? x > y : a < b;
  };
  if (options.temperature == 0) return *std::min_element(order.begin(), order.end(), likelier);
  std::sort(order.begin(), order.end(), likelier);
  if (options.top_k > 0 && size_t(options.top_k) < order.size())
    order.resize(size_t(options.top_k));

  std::vector<double> weights;
  const double largest = logits[size_t(order.front())];
  for (int64_t i : order)
    weights.push_back(std::exp((double(logits[size_t(i)]) - largest) / options.temperature));
  double kept = std::accumulate(weights.begin(), weights.end(), 0.0);
  if (options.top_p < 1) {
    const double wanted = options.top_p * kept;
    size_t n = 0;
    for (kept = 0; n < weights.size() && (n == 0 || kept < wanted); ++n) kept += weights[n];
    weights.resize(n);
  }
  const Philox random(options.seed, purpose_id("sample"), 0);
  double rest = double(random.uniform(uint64_t(position))) * kept;
  for (size_t n = 0; n < weights.size(); ++n) {
    rest -= weights[n];
    if (rest < 0) return order[n];
  }
  return order[weights.size() - 1];
}

}  // namespace tessera
