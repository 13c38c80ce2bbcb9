#include "tests/support/reference_attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/check.h"
#include "tests/support/rounding.h"

namespace tessera::reference {
namespace {

struct Exact {
  static double stored(double x) { return x; }
  static double sum(double x) { return x; }
};
struct F32 {
  static double stored(double x) { return round_f32(x); }
  static double sum(double x) { return round_f32(x); }
};
struct Bf16 {
  static double stored(double x) { return round_bf16(x); }
  static double sum(double x) { return round_f32(x); }
};
struct F16 {
  static double stored(double x) { return round_f16(x); }
  static double sum(double x) { return round_f32(x); }
};

// Calls body with the rounding type of `precision`.
template <class Body>
auto with_rounding(Precision precision, Body body) {
  switch (precision) {
    case Precision::exact:
      return body(Exact{});
    case Precision::f32:
      return body(F32{});
    case Precision::bf16:
      return body(Bf16{});
    case Precision::f16:
      return body(F16{});
  }
  fail("reference attention: unknown precision {}", int(precision));
}

void check_shapes(const AttentionSpec& s, const Vec& q, const Vec& k, const Vec& v) {
  check(s.kv_heads > 0 && s.q_heads % s.kv_heads == 0, "{} query heads over {} kv heads", s.q_heads,
        s.kv_heads);
  check(!s.cu_q.empty() && s.cu_q.size() == s.cu_k.size(), "cu_q has {} entries, cu_k {}",
        s.cu_q.size(), s.cu_k.size());
  check(int64_t(q.size()) == s.cu_q.back() * s.q_heads * s.head_dim, "q has {} elements", q.size());
  check(int64_t(k.size()) == s.cu_k.back() * s.kv_heads * s.head_dim, "k has {} elements",
        k.size());
  check(v.size() == k.size(), "v has {} elements, k {}", v.size(), k.size());
}

// One query row of one head, and the rows of k and v that it sees.
struct Row {
  int64_t head, kv_head;
  int64_t q;           // row of the packed q
  int64_t k_lo, k_hi;  // rows of the packed k
  int64_t place;       // of the query, as a row of the packed k
};

Row make_row(const AttentionSpec& s, size_t segment, int64_t head, int64_t i) {
  const int64_t queries = s.cu_q[segment + 1] - s.cu_q[segment];
  const int64_t keys = s.cu_k[segment + 1] - s.cu_k[segment];
  const int64_t t = i + keys - queries;
  int64_t first = 0, last = keys - 1;
  if (s.window_left >= 0) first = std::max(first, t - s.window_left);
  if (s.window_right >= 0) last = std::min(last, t + s.window_right);
  if (s.causal) last = std::min(last, t);
  const int64_t begin = s.cu_k[segment];
  return {.head = head,
          .kv_head = head / (s.q_heads / s.kv_heads),
          .q = s.cu_q[segment] + i,
          .k_lo = begin + first,
          .k_hi = begin + std::max(first, last + 1),
          .place = begin + t};
}

template <class Body>
void for_each_row(const AttentionSpec& s, Body body) {
  for (size_t segment = 0; segment + 1 < s.cu_q.size(); ++segment)
    for (int64_t head = 0; head < s.q_heads; ++head)
      for (int64_t i = 0; i < s.cu_q[segment + 1] - s.cu_q[segment]; ++i)
        body(make_row(s, segment, head, i));
}

const double* q_at(const AttentionSpec& s, const Vec& x, const Row& r) {
  return x.data() + (r.q * s.q_heads + r.head) * s.head_dim;
}
const double* k_at(const AttentionSpec& s, const Vec& x, const Row& r, int64_t j) {
  return x.data() + (j * s.kv_heads + r.kv_head) * s.head_dim;
}

template <class R>
double inner(const double* a, const double* b, int64_t n) {
  double sum = 0;
  for (int64_t c = 0; c < n; ++c) sum = R::sum(sum + a[c] * b[c]);
  return sum;
}

// Scores before ALiBi and probabilities of the visible keys; element j is key k_lo + j.
struct Softmax {
  Vec s, p;
  double lse;
};

template <class R>
Softmax softmax_row(const AttentionSpec& spec, const Row& row, const Vec& q, const Vec& k) {
  Softmax out{.s = {}, .p = {}, .lse = -std::numeric_limits<double>::infinity()};
  Vec biased;
  for (int64_t j = row.k_lo; j < row.k_hi; ++j) {
    double s =
        R::stored(spec.scale * inner<R>(q_at(spec, q, row), k_at(spec, k, row, j), spec.head_dim));
    if (spec.softcap > 0) s = R::stored(spec.softcap * std::tanh(s / spec.softcap));
    out.s.push_back(s);
    if (!spec.alibi_slopes.empty())
      s = R::stored(s - spec.alibi_slopes[row.head] * double(std::abs(row.place - j)));
    biased.push_back(s);
  }
  Vec all = biased;
  if (!spec.sink.empty()) all.push_back(spec.sink[row.head]);
  if (all.empty()) return out;
  const double max = *std::max_element(all.begin(), all.end());
  double sum = 0;
  for (double s : all) sum = R::sum(sum + R::sum(std::exp(s - max)));
  out.lse = R::sum(max + std::log(sum));
  for (double s : biased) out.p.push_back(R::stored(std::exp(s - out.lse)));
  return out;
}

// The factor that dropout puts on probability (row, j): 0 or 1 / (1 - dropout).
double dropout_factor(const AttentionSpec& s, const Row& row, int64_t j) {
  if (s.dropout == 0) return 1;
  return s.keep(row.head, row.q, j) ? 1 / (1 - s.dropout) : 0;
}

template <class R>
AttentionOutput forward(const AttentionSpec& s, const Vec& q, const Vec& k, const Vec& v) {
  AttentionOutput out{.o = Vec(q.size()), .lse = Vec(s.q_heads * s.cu_q.back())};
  for_each_row(s, [&](const Row& row) {
    const Softmax softmax = softmax_row<R>(s, row, q, k);
    out.lse[row.head * s.cu_q.back() + row.q] = softmax.lse;
    for (int64_t c = 0; c < s.head_dim; ++c) {
      double o = 0;
      for (int64_t j = row.k_lo; j < row.k_hi; ++j)
        o = R::sum(o + softmax.p[j - row.k_lo] * dropout_factor(s, row, j) * k_at(s, v, row, j)[c]);
      out.o[(row.q * s.q_heads + row.head) * s.head_dim + c] = R::stored(o);
    }
  });
  return out;
}

// Of the visible keys, and of the sink, if there is one, at the end. With f the dropout factor:  dp
// = f * do v^T   ds = p * (dp - sum_j p dp + dlse)   (d lse / d s = p) and through the softcap ds
// *= 1 - (s / softcap)^2.
template <class R>
Vec d_scores(const AttentionSpec& spec, const Row& row, const Softmax& softmax, const Vec& v,
             const double* d_o, double d_lse) {
  Vec d_p;
  double p_dp = 0;
  for (int64_t j = row.k_lo; j < row.k_hi; ++j) {
    const double from_o = R::stored(inner<R>(d_o, k_at(spec, v, row, j), spec.head_dim));
    d_p.push_back(from_o * dropout_factor(spec, row, j));
    p_dp = R::sum(p_dp + softmax.p[j - row.k_lo] * d_p.back());
  }
  Vec d_s;
  for (size_t j = 0; j < d_p.size(); ++j) {
    double ds = softmax.p[j] * (d_p[j] - p_dp + d_lse);
    if (spec.softcap > 0) ds *= 1 - std::pow(softmax.s[j] / spec.softcap, 2);
    d_s.push_back(R::stored(ds));
  }
  if (!spec.sink.empty()) {
    const double p_sink = R::stored(std::exp(spec.sink[row.head] - softmax.lse));
    d_s.push_back(p_sink * (d_lse - p_dp));
  }
  return d_s;
}

template <class R>
AttentionGradients backward(const AttentionSpec& spec, const Vec& q, const Vec& k, const Vec& v,
                            const Vec& d_o, const Vec& d_lse) {
  AttentionGradients out{.dq = Vec(q.size()),
                         .dk = Vec(k.size()),
                         .dv = Vec(v.size()),
                         .d_sink = Vec(spec.sink.size())};
  for_each_row(spec, [&](const Row& row) {
    const Softmax softmax = softmax_row<R>(spec, row, q, k);
    const double* row_d_o = q_at(spec, d_o, row);
    const double row_d_lse = d_lse.empty() ? 0 : d_lse[row.head * spec.cu_q.back() + row.q];
    const Vec d_s = d_scores<R>(spec, row, softmax, v, row_d_o, row_d_lse);
    if (!spec.sink.empty()) out.d_sink[row.head] = R::sum(out.d_sink[row.head] + d_s.back());
    const int64_t q_at_row = (row.q * spec.q_heads + row.head) * spec.head_dim;
    for (int64_t j = row.k_lo; j < row.k_hi; ++j) {
      const double p = softmax.p[j - row.k_lo] * dropout_factor(spec, row, j);
      const double ds = d_s[j - row.k_lo] * spec.scale;
      const int64_t k_at_row = (j * spec.kv_heads + row.kv_head) * spec.head_dim;
      for (int64_t c = 0; c < spec.head_dim; ++c) {
        out.dq[q_at_row + c] = R::sum(out.dq[q_at_row + c] + ds * k[k_at_row + c]);
        out.dk[k_at_row + c] = R::sum(out.dk[k_at_row + c] + ds * q[q_at_row + c]);
        out.dv[k_at_row + c] = R::sum(out.dv[k_at_row + c] + p * row_d_o[c]);
      }
    }
  });
  for (Vec* gradient : {&out.dq, &out.dk, &out.dv})
    for (double& x : *gradient) x = R::stored(x);
  return out;
}

}  // namespace

AttentionOutput attention_forward(const AttentionSpec& spec, const Vec& q, const Vec& k,
                                  const Vec& v, Precision precision) {
  check_shapes(spec, q, k, v);
  return with_rounding(precision, [&]<class R>(R) { return forward<R>(spec, q, k, v); });
}

AttentionGradients attention_backward(const AttentionSpec& spec, const Vec& q, const Vec& k,
                                      const Vec& v, const Vec& d_o, const Vec& d_lse,
                                      Precision precision) {
  check_shapes(spec, q, k, v);
  check(d_o.size() == q.size(), "d_o has {} elements, q {}", d_o.size(), q.size());
  return with_rounding(precision,
                       [&]<class R>(R) { return backward<R>(spec, q, k, v, d_o, d_lse); });
}

}  // namespace tessera::reference
