#include "tests/kernels/launch/simt/mutants/problems.h"

#include <algorithm>
#include <cmath>

#include "core/random.h"

namespace tessera::simt_test {
namespace {

constexpr int kSpareRows = 128;
constexpr bf16 kUntouched{0x7fc1};  // a NaN that no kernel writes

// Keeps the worst difference, in units of what is allowed.
class Comparison {
 public:
  // bf16 keeps 8 bits: results may be off by an ulp or two where intermediates are bf16 too.
  void add(const char* name, size_t i, double got, double want, double allowed) {
    const double error = std::abs(got - want) / allowed;
    if (error <= 1 || !text_.empty()) return;  // false for NaN
    text_ = fmt::format("{}[{}] is {}, not {}", name, i, got, want);
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

double dot(const bf16* a, const bf16* b, int n) {
  double sum = 0;
  for (int i = 0; i < n; ++i) sum += double(to_float(a[i])) * to_float(b[i]);
  return sum;
}

}  // namespace

std::vector<bf16> random_bf16(size_t n, uint64_t seed) {
  const Philox random(seed, purpose_id("simt"), 0);
  std::vector<bf16> values(n);
  for (size_t i = 0; i < n; ++i) values[i] = from_float<bf16>(float(random.normal(i)));
  return values;
}

RmsNormProblem::RmsNormProblem(int rows, int columns, uint64_t seed)
    : rows(rows),
      columns(columns),
      x(random_bf16(size_t(rows * columns), seed)),
      weight(random_bf16(size_t(columns), seed + 1)),
      y(x.size(), kUntouched),
      rstd(size_t(rows), NAN) {}

std::string RmsNormProblem::verdict() const {
  Comparison comparison;
  for (int row = 0; row < rows; ++row) {
    const bf16* first = &x[size_t(row * columns)];
    const double r = 1 / std::sqrt(dot(first, first, columns) / columns + kEps);
    comparison.add("rstd", size_t(row), rstd[size_t(row)], r, 1e-5 * r);
    for (int j = 0; j < columns; ++j) {
      const size_t i = size_t(row * columns + j);
      const double want = to_float(x[i]) * r * to_float(weight[size_t(j)]);
      comparison.add("y", i, to_float(y[i]), want, 0x1p-8 * (std::abs(want) + 1e-3));
    }
  }
  return comparison.text();
}

AttentionProblem::AttentionProblem(int sequence, int heads, bool causal, uint64_t seed)
    : sequence(sequence),
      heads(heads),
      causal(causal),
      q(random_bf16(size_t(sequence * heads * kColumns), seed)),
      k(random_bf16(q.size(), seed + 1)),
      v(random_bf16(q.size(), seed + 2)),
      o(q.size() + size_t(kSpareRows * heads * kColumns), kUntouched),
      lse(size_t(heads * (sequence + kSpareRows)), NAN) {}

std::string AttentionProblem::verdict() const {
  Comparison comparison;
  std::vector<double> p(static_cast<size_t>(sequence));
  const auto row_of = [&](int i, int h) { return size_t((i * heads + h) * kColumns); };
  for (int h = 0; h < heads; ++h) {
    for (int i = 0; i < sequence; ++i) {
      const int end = causal ? i + 1 : sequence;
      double most = -INFINITY, sum = 0;
      for (int j = 0; j < end; ++j) {
        p[size_t(j)] = double(kScale) * dot(&q[row_of(i, h)], &k[row_of(j, h)], kColumns);
        most = std::max(most, p[size_t(j)]);
      }
      for (int j = 0; j < end; ++j) sum += p[size_t(j)] = std::exp(p[size_t(j)] - most);
      for (int c = 0; c < kColumns; ++c) {
        double want = 0;
        for (int j = 0; j < end; ++j) want += p[size_t(j)] / sum * to_float(v[row_of(j, h) + c]);
        // P and O are rounded to bf16: 2^-9 of sums of terms about 1.
        comparison.add("o", row_of(i, h) + size_t(c), to_float(o[row_of(i, h) + c]), want,
                       0x1p-6 * (1 + std::abs(want)));
      }
      const size_t at = size_t(h * sequence + i);
      comparison.add("lse", at, lse[at], most + std::log(sum), 1e-3);
    }
  }
  const auto spare = o.begin() + int64_t(q.size());
  const bool whole = std::all_of(spare, o.end(), [](bf16 x) { return x.bits == kUntouched.bits; });
  return whole ? comparison.text() : "o is written beyond its end";
}

GemmProblem::GemmProblem(int m, int n, int k, uint64_t seed)
    : m(m),
      n(n),
      k(k),
      a(random_bf16(size_t(m * k), seed)),
      b(random_bf16(size_t(n * k), seed + 1)),
      c(size_t(m * n), kUntouched),
      sum(size_t(m * n), 0.0f) {}

std::string GemmProblem::verdict(bool f32) const {
  Comparison comparison;
  for (int i = 0; i < m; ++i) {
    for (int j = 0; j < n; ++j) {
      const size_t at = size_t(i * n + j);
      const double want = dot(&a[size_t(i * k)], &b[size_t(j * k)], k);
      // f32 sums of k products of magnitude 1, or the rounding to bf16.
      const double allowed = f32 ? 1e-6 * k : 0x1p-8 * std::abs(want) + 1e-6 * k;
      comparison.add("c", at, f32 ? sum[at] : to_float(c[at]), want, allowed);
    }
  }
  return comparison.text();
}

}  // namespace tessera::simt_test
