#include "model/sampler.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/check.h"

namespace tessera {
namespace {

struct Candidate {
  int64_t id;
  double weight;  // its probability / that of the likeliest
};
using Candidates = std::vector<Candidate>;

bool likelier(const Candidate& a, const Candidate& b) {
  return a.weight != b.weight ? a.weight > b.weight : a.id < b.id;
}

double total_weight(const Candidates& candidates) {
  double total = 0;
  for (const Candidate& c : candidates) total += c.weight;
  return total;
}

void keep_likeliest(Candidates& candidates, int64_t k) {
  if (k == 0 || size_t(k) >= candidates.size()) return;
  std::partial_sort(candidates.begin(), candidates.begin() + k, candidates.end(), likelier);
  candidates.resize(size_t(k));
}

void keep_probable(Candidates& candidates, double p) {
  if (p == 1) return;
  const double total = total_weight(candidates);
  // What is below this comes to less than 1 - p in all: it need not be sorted.
  const double least = (1 - p) * total / double(candidates.size());
  std::erase_if(candidates, [=](const Candidate& c) { return c.weight < least; });
  std::ranges::sort(candidates, likelier);
  size_t n = 0;
  for (double kept = 0; n < candidates.size() && kept < p * total; ++n)
    kept += candidates[n].weight;
  candidates.resize(n);
}

}  // namespace

int64_t sample(std::span<const float> logits, const SamplerOptions& options, int64_t position) {
  float largest = -INFINITY;
  for (float x : logits) largest = std::max(largest, x);  // passes over NaN
  check(std::isfinite(largest),
        "the largest logit is {}; the checkpoint is damaged or training diverged", largest);
  if (options.temperature == 0) return std::ranges::find(logits, largest) - logits.begin();

  Candidates candidates;
  candidates.reserve(logits.size());
  for (size_t i = 0; i < logits.size(); ++i) {
    if (std::isnan(logits[i])) continue;
    const double below = double(logits[i]) - double(largest);
    candidates.push_back({int64_t(i), std::exp(below / options.temperature)});
  }
  keep_likeliest(candidates, options.top_k);
  keep_probable(candidates, options.top_p);

  const Philox random(options.seed, purpose_id("sample"), 0);
  double rest = double(random.uniform(uint64_t(position))) * total_weight(candidates);
  for (const Candidate& c : candidates) {
    rest -= c.weight;
    if (rest < 0) return c.id;
  }
  return candidates.back().id;
}

}  // namespace tessera
