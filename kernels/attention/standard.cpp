#include "kernels/attention/standard.h"

#include <omp.h>
#include <oneapi/dnnl/dnnl.h>

#include <algorithm>
#include <numeric>

#include "core/check.h"
#include "kernels/attention/cpu_layout.h"
#include "kernels/launch/cpu/isa.h"
#include "kernels/launch/cpu/parallel.h"

namespace tessera {
namespace {

template <class T>
struct Matrix {
  T* data;
  int64_t stride;  // of rows
};

// c [m, n] = op(a) op(b) + beta c; op(a) is [m, k].
struct Product {
  bool transpose_a, transpose_b;
  int64_t m, n, k;
  double beta;
};

void multiply(const Product& p, Matrix<const float> a, Matrix<const float> b, Matrix<float> c) {
  const dnnl_status_t status =
      dnnl_sgemm(p.transpose_a ? 'T' : 'N', p.transpose_b ? 'T' : 'N', p.m, p.n, p.k, 1.0f, a.data,
                 a.stride, b.data, b.stride, float(p.beta), c.data, c.stride);
  check(status == dnnl_success, "attention: oneDNN's sgemm failed with status {}", int(status));
}

// f64 is for tests.
void multiply(const Product& p, Matrix<const double> a, Matrix<const double> b, Matrix<double> c) {
  for (int64_t i = 0; i < p.m; ++i) {
    double* row = c.data + i * c.stride;
    for (int64_t j = 0; j < p.n; ++j) row[j] = p.beta == 0 ? 0 : p.beta * row[j];
    for (int64_t l = 0; l < p.k; ++l) {
      const double x = a.data[p.transpose_a ? l * a.stride + i : i * a.stride + l];
      for (int64_t j = 0; j < p.n; ++j) {
        row[j] += x * b.data[p.transpose_b ? j * b.stride + l : l * b.stride + j];
      }
    }
  }
}

// What one thread needs besides the arguments. bf16 goes through copies in f32; the scores of f32
// and f64 without dropout and softcap are turned into probabilities in place.
template <class S>
constexpr bool kWiden = sizeof(S) == 2;

bool in_place(const AttentionProblem& p) {
  return p.dtype != DType::bf16 && p.dropout == 0 && p.softcap == 0;
}

struct Scratch {
  std::byte *scores, *d_scores;
  std::byte *q, *k, *v, *o;  // rows of one head in f32, for bf16
  std::byte *dq, *dk, *dv;

  Scratch(Arena& arena, const AttentionProblem& p, bool backward) {
    const int64_t bytes = p.dtype == DType::f64 ? 8 : 4;
    const int64_t q_bytes = p.dtype == DType::bf16 ? p.max_q * p.head_dim * bytes : 0;
    const int64_t k_bytes = p.dtype == DType::bf16 ? p.max_k * p.head_dim * bytes : 0;
    scores = arena.take(in_place(p) ? 0 : p.max_q * p.max_k * bytes);
    d_scores = arena.take(backward ? p.max_q * p.max_k * bytes : 0);
    q = arena.take(q_bytes);
    k = arena.take(k_bytes);
    v = arena.take(k_bytes);
    o = arena.take(q_bytes);
    dq = arena.take(backward ? q_bytes : 0);
    dk = arena.take(backward ? k_bytes : 0);
    dv = arena.take(backward ? k_bytes : 0);
  }
};

// Heads side by side if there are enough of them, else threads inside the products.
bool parallel_heads(const AttentionProblem& p, int threads) {
  return p.segments * p.kv_heads >= threads;
}

size_t thread_workspace(const AttentionProblem& p, bool backward) {
  Arena arena(nullptr);
  Scratch(arena, p, backward);
  return arena.used();
}

size_t workspace(const AttentionProblem& p, int threads, bool backward) {
  return thread_workspace(p, backward) * size_t(parallel_heads(p, threads) ? threads : 1);
}

// Each row's part of the sinks' gradients [Hq, Nq], before the workspace of the threads.
size_t sink_workspace(const AttentionProblem& p) {
  Arena arena(nullptr);
  arena.take(p.has_sink ? p.q_heads * p.q_tokens * (p.dtype == DType::f64 ? 8 : 4) : 0);
  return arena.used();
}

template <class S, class T>
void widen(const S* from, int64_t stride, int64_t rows, int64_t columns, T* to) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) to[r * columns + c] = to_float(from[r * stride + c]);
  }
}

template <class S, class T>
void narrow(const T* from, int64_t rows, int64_t columns, S* to, int64_t stride) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) to[r * stride + c] = from_float<S>(from[r * columns + c]);
  }
}

// One kv head of one segment.
template <class S>
class Unit {
  using T = std::conditional_t<sizeof(S) == 8, double, float>;

 public:
  Unit(const AttentionProblem& p, std::byte* workspace, bool backward, int64_t unit)
      : p_(p),
        segment_(unit / p.kv_heads),
        kv_head_(unit % p.kv_heads),
        q_first_(p.cu_q[segment_]),
        k_first_(p.cu_k[segment_]),
        queries_(p.cu_q[segment_ + 1] - q_first_),
        keys_(p.cu_k[segment_ + 1] - k_first_),
        arena_(workspace),
        scratch_(arena_, p, backward) {}

  template <class Softmax>
  void forward(const AttentionForwardCpu& args, S* probabilities, const Softmax& softmax) const {
    const auto k = rows(args.k, k_first_, kv_head_, keys_, scratch_.k);
    const auto v = rows(args.v, k_first_, kv_head_, keys_, scratch_.v);
    for (int64_t head = first_head(); head < first_head() + group(); ++head) {
      const auto o = target(args.o, q_first_, head, scratch_.o);
      S* p = probabilities_of(probabilities, head);
      const Matrix<T> scores = scores_of(p);
      if (keys_ == 0 || queries_ == 0) {
        fill_zero(args.o, q_first_, head, queries_);
      } else {
        multiply({false, true, queries_, keys_, p_.head_dim, 0},
                 rows(args.q, q_first_, head, queries_, scratch_.q), k, scores);
      }
      T* lse = args.lse ? static_cast<T*>(args.lse) + head * p_.q_tokens + q_first_ : nullptr;
      softmax(StandardRows{&p_, &args.extras, segment_, head, scores.data, p}, lse);
      if (keys_ == 0 || queries_ == 0) continue;
      multiply({false, false, queries_, p_.head_dim, keys_, 0}, constant(scores), v, o);
      store(args.o, q_first_, head, queries_, o);
    }
  }

  // sink_rows [Hq, Nq]: each row's part of the sinks' gradients; null without.
  template <class Gradient>
  void backward(const AttentionBackwardCpu& args, S* probabilities, T* sink_rows,
                const Gradient& gradient) const {
    if (keys_ == 0 || queries_ == 0) return backward_of_nothing(args, sink_rows);
    const auto k = rows(args.k, k_first_, kv_head_, keys_, scratch_.k);
    const auto v = rows(args.v, k_first_, kv_head_, keys_, scratch_.v);
    const auto dk = target(args.dk, k_first_, kv_head_, scratch_.dk);
    const auto dv = target(args.dv, k_first_, kv_head_, scratch_.dv);
    const Matrix<T> d_scores{reinterpret_cast<T*>(scratch_.d_scores), p_.max_k};
    for (int64_t head = first_head(); head < first_head() + group(); ++head) {
      const double beta = head == first_head() ? 0 : 1;
      S* p = probabilities_of(probabilities, head);
      const Matrix<T> scores = scores_of(p);
      const auto q = rows(args.q, q_first_, head, queries_, scratch_.q);
      const auto d_o = rows(args.d_o, q_first_, head, queries_, scratch_.o);
      const auto dq = target(args.dq, q_first_, head, scratch_.dq);
      if (p_.softcap > 0) multiply({false, true, queries_, keys_, p_.head_dim, 0}, q, k, scores);
      multiply({false, true, queries_, keys_, p_.head_dim, 0}, d_o, v, d_scores);
      gradient(StandardRows{&p_, &args.extras, segment_, head, scores.data, p},
               StandardRowGradients{.d_p = d_scores.data,
                                    .d_lse = rows_of_head(static_cast<const T*>(args.d_lse), head),
                                    .lse = rows_of_head(static_cast<const T*>(args.lse), head),
                                    .d_sink = rows_of_head(sink_rows, head)});
      multiply({true, false, keys_, p_.head_dim, queries_, beta}, constant(scores), d_o, dv);
      multiply({true, false, keys_, p_.head_dim, queries_, beta}, constant(d_scores), q, dk);
      multiply({false, false, queries_, p_.head_dim, keys_, 0}, constant(d_scores), k, dq);
      store(args.dq, q_first_, head, queries_, dq);
    }
    store(args.dk, k_first_, kv_head_, keys_, dk);
    store(args.dv, k_first_, kv_head_, keys_, dv);
  }

 private:
  int64_t group() const { return p_.q_heads / p_.kv_heads; }
  int64_t first_head() const { return kv_head_ * group(); }

  // Of an array [Hq, Nq], or null.
  template <class X>
  X* rows_of_head(X* all, int64_t head) const {
    return all ? all + head * p_.q_tokens + q_first_ : nullptr;
  }

  static S* at(const AttentionArray& array, int64_t token, int64_t head) {
    return static_cast<S*>(array.data) + token * array.token_stride + head * array.head_stride;
  }
  static Matrix<const T> constant(Matrix<T> x) { return {x.data, x.stride}; }

  S* probabilities_of(S* all, int64_t head) const {
    return all + (head * p_.q_tokens + q_first_) * p_.max_k;
  }
  Matrix<T> scores_of(S* probabilities) const {
    std::byte* data = in_place(p_) ? reinterpret_cast<std::byte*>(probabilities) : scratch_.scores;
    return {reinterpret_cast<T*>(data), p_.max_k};
  }

  // A head's rows as T; `copy` is where bf16 is widened to.
  Matrix<const T> rows(const AttentionArray& array, int64_t token, int64_t head, int64_t count,
                       std::byte* copy) const {
    S* data = at(array, token, head);
    if constexpr (kWiden<S>) {
      widen(data, array.token_stride, count, p_.head_dim, reinterpret_cast<T*>(copy));
      return {reinterpret_cast<const T*>(copy), p_.head_dim};
    } else {
      return {data, array.token_stride};
    }
  }
  Matrix<T> target(const AttentionArray& array, int64_t token, int64_t head,
                   std::byte* copy) const {
    if constexpr (kWiden<S>) {
      return {reinterpret_cast<T*>(copy), p_.head_dim};
    } else {
      return {at(array, token, head), array.token_stride};
    }
  }
  void store(const AttentionArray& array, int64_t token, int64_t head, int64_t count,
             Matrix<T> from) const {
    if constexpr (kWiden<S>) {
      narrow(from.data, count, p_.head_dim, at(array, token, head), array.token_stride);
    }
  }

  void fill_zero(const AttentionArray& array, int64_t token, int64_t head, int64_t count) const {
    for (int64_t r = 0; r < count; ++r) std::fill_n(at(array, token + r, head), p_.head_dim, S{});
  }
  // Rows that see no key: all of their softmax is the sink.
  void backward_of_nothing(const AttentionBackwardCpu& args, T* sink_rows) const {
    for (int64_t head = first_head(); head < first_head() + group(); ++head) {
      fill_zero(args.dq, q_first_, head, queries_);
      const T* d_lse = rows_of_head(static_cast<const T*>(args.d_lse), head);
      T* d_sink = rows_of_head(sink_rows, head);
      for (int64_t r = 0; d_sink && r < queries_; ++r) d_sink[r] = d_lse ? d_lse[r] : T(0);
    }
    fill_zero(args.dk, k_first_, kv_head_, keys_);
    fill_zero(args.dv, k_first_, kv_head_, keys_);
  }

  const AttentionProblem& p_;
  int64_t segment_, kv_head_, q_first_, k_first_, queries_, keys_;
  Arena arena_;
  Scratch scratch_;
};

// Calls body(unit) for every kv head of every segment.
template <class S, class Body>
void for_each_unit(const AttentionProblem& p, void* workspace, bool backward, int threads,
                   const Body& body) {
  const size_t bytes = thread_workspace(p, backward);
  omp_set_num_threads(threads);  // of oneDNN, where the heads are not parallel
  parallel_tasks(parallel_heads(p, threads) ? threads : 1, p.segments * p.kv_heads,
                 [&](int64_t unit, int worker) {
                   std::byte* own = static_cast<std::byte*>(workspace) + bytes * size_t(worker);
                   body(Unit<S>(p, own, backward, unit));
                 });
}

template <class S>
void zero_tail(const AttentionArray& array, int64_t begin, int64_t end, int64_t heads,
               int64_t head_dim) {
  for (int64_t token = begin; token < end; ++token) {
    for (int64_t head = 0; head < heads; ++head) {
      std::fill_n(
          static_cast<S*>(array.data) + token * array.token_stride + head * array.head_stride,
          head_dim, S{});
    }
  }
}

template <Isa isa, class S>
void forward(const AttentionForwardCpu& args, void* probabilities, int threads) {
  const AttentionProblem& p = args.problem;
  for_each_unit<S>(p, args.workspace, false, threads, [&](const Unit<S>& unit) {
    unit.forward(args, static_cast<S*>(probabilities), [&](const StandardRows& rows, void* lse) {
      standard_softmax<isa>(rows, lse, threads);
    });
  });
  zero_tail<S>(args.o, p.cu_q[p.segments], p.q_tokens, p.q_heads, p.head_dim);
}

template <class T>
void add_up_sinks(const AttentionProblem& p, const T* rows, T* d_sink) {
  for (int64_t head = 0; head < p.q_heads; ++head) {
    const T* begin = rows + head * p.q_tokens;
    d_sink[head] = T(std::accumulate(begin, begin + p.cu_q[p.segments], 0.0));
  }
}

template <Isa isa, class S>
void backward(const AttentionBackwardCpu& args, void* probabilities, int threads) {
  using T = std::conditional_t<sizeof(S) == 8, double, float>;
  const AttentionProblem& p = args.problem;
  T* sink_rows = args.d_sink ? static_cast<T*>(args.workspace) : nullptr;
  void* scratch = static_cast<std::byte*>(args.workspace) + sink_workspace(p);
  for_each_unit<S>(p, scratch, true, threads, [&](const Unit<S>& unit) {
    unit.backward(args, static_cast<S*>(probabilities), sink_rows,
                  [&](const StandardRows& rows, const StandardRowGradients& gradients) {
                    standard_gradient<isa>(rows, gradients, threads);
                  });
  });
  if (sink_rows) add_up_sinks(p, sink_rows, static_cast<T*>(args.d_sink));
  zero_tail<S>(args.dq, p.cu_q[p.segments], p.q_tokens, p.q_heads, p.head_dim);
  zero_tail<S>(args.dk, p.cu_k[p.segments], p.k_tokens, p.kv_heads, p.head_dim);
  zero_tail<S>(args.dv, p.cu_k[p.segments], p.k_tokens, p.kv_heads, p.head_dim);
}

}  // namespace

size_t standard_forward_workspace(const AttentionProblem& problem, int threads) {
  return workspace(problem, threads, false);
}
size_t standard_backward_workspace(const AttentionProblem& problem, int threads) {
  return sink_workspace(problem) + workspace(problem, threads, true);
}

void standard_forward_cpu(const AttentionForwardCpu& args, void* probabilities, int threads,
                          Isa isa) {
  dispatch_isa(isa, [&]<Isa level>() {
    dispatch_compute("attention", args.problem.dtype,
                     [&]<class S>() { forward<level, S>(args, probabilities, threads); });
  });
}

void standard_backward_cpu(const AttentionBackwardCpu& args, void* probabilities, int threads,
                           Isa isa) {
  dispatch_isa(isa, [&]<Isa level>() {
    dispatch_compute("attention", args.problem.dtype,
                     [&]<class S>() { backward<level, S>(args, probabilities, threads); });
  });
}

}  // namespace tessera
