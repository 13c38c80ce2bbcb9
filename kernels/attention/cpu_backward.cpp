// Backward in one pass of five products per pair of blocks. Per block of keys, in this order over
// the query heads of the group and their blocks of queries:
//
//   P = exp(S - lse)    S = Q K^T        dS = P * (dP - delta)   dP = dO V^T
//   dQ += dS K           dV += P^T dO     dK += dS^T Q
//
// dK and dV of the block are summed in scratch; dQ in the workspace, always over rising blocks of
// keys, so that results do not depend on the number of threads. Where threads share a head, a
// counter per block of queries says which block of keys may add to dQ next; tasks start in the
// order of the blocks of keys, so the one that is waited for is running.
#include <sched.h>

#include "kernels/attention/cpu.h"
#include "kernels/attention/cpu_deltas.h"
#include "kernels/attention/cpu_dropout.h"
#include "kernels/attention/cpu_prefetch.h"
#include "kernels/attention/cpu_shares.h"

namespace tessera {
namespace {

// Log-sum-exp of a row that sees nothing: exp(score - kNothing) is 0.
constexpr double kNothing = 1e30;

template <class S>
class Backward {
  using E = typename ElementOf<S>::Type;
  using T = compute_t<S>;
  using V = Vec<T>;

 public:
  Backward(const AttentionBackwardCpu& args, int threads)
      : args_(args),
        p_(args.problem),
        threads_(threads),
        format_{sizeof(E), kPack<E>, sizeof(T)},
        head_(head_layout(p_.head_dim, format_)),
        scale_(p_),
        dropout_(p_),
        arena_(static_cast<std::byte*>(args.workspace)),
        sums_(arena_, p_, format_, threads) {}

  void run() {
    if (one_thread_per_unit(p_, threads_)) {
      for (int64_t segment = 0; segment < p_.segments; ++segment) {
        if (is_shared_document(p_, threads_, segment)) run_shared({segment, segment + 1});
      }
      shared_ = {0, 0};
      parallel_shares(threads_, p_.segments * p_.kv_heads, [&](int64_t unit, int worker) {
        const int64_t segment = unit / p_.kv_heads;
        if (is_shared_document(p_, threads_, segment)) return;
        run_unit(segment, unit % p_.kv_heads, worker);
      });
    } else {
      run_shared({0, p_.segments});
    }
    zero_rows<S>(args_.dq, {p_.cu_q[p_.segments], p_.q_tokens}, p_.q_heads, p_.head_dim);
    zero_rows<S>(args_.dk, {p_.cu_k[p_.segments], p_.k_tokens}, p_.kv_heads, p_.head_dim);
    zero_rows<S>(args_.dv, {p_.cu_k[p_.segments], p_.k_tokens}, p_.kv_heads, p_.head_dim);
    if (args_.d_sink) write_sink_gradients<S>(args_, threads_);
  }

 private:
  // The query rows of one head in a segment, and what is summed for them.
  struct Head {
    int64_t index, token;  // token: the first of the segment
    T *dq, *lse, *delta;
    int64_t* progress;
  };
  struct KeyBlock {
    Band band;
    int64_t segment, kv_head, block;
    Range keys;  // of the segment
    BackwardScratch scratch;
    Upcoming<6>* upcoming;  // null if unknown
  };

  BackwardScratch scratch_of(int worker) const {
    Arena counter(nullptr);
    BackwardScratch(counter, p_, format_);
    const auto bytes = int64_t(counter.used());
    Arena all = arena_;
    Arena own(all.take(bytes * threads_) + bytes * worker);
    return BackwardScratch(own, p_, format_);
  }

  int64_t group() const { return p_.q_heads / p_.kv_heads; }

  Head head_of(int64_t segment, int64_t head, int worker) const {
    const int64_t first = p_.cu_q[segment];
    int64_t slot = worker * group() + head % group(), row = 0, block = 0;
    if (!shared_.empty()) {
      slot = head;
      const int64_t offset = first - p_.cu_q[shared_.begin], before = segment - shared_.begin;
      row = padded_start(offset, before);
      block = QueryGradients::block_start(offset, before);
    }
    row += slot * sums_.head_rows;
    block += slot * sums_.head_blocks;
    return {head,
            first,
            reinterpret_cast<T*>(sums_.dq) + row * head_.sum_stride,
            reinterpret_cast<T*>(sums_.lse) + row,
            reinterpret_cast<T*>(sums_.delta) + row,
            reinterpret_cast<int64_t*>(sums_.progress) + block};
  }

  void run_unit(int64_t segment, int64_t kv_head, int worker) const {
    const Band band(p_, segment);
    const int64_t first = kv_head * group();
    for (int64_t head = first; head < first + group(); ++head) {
      for (int64_t begin = 0; begin < band.queries; begin += kQueryBlock) {
        prepare(band, head_of(segment, head, worker), begin);
      }
    }
    Upcoming<6> upcoming = upcoming_rows(band, segment, kv_head);
    for (int64_t block = 0; block * kKeyBlock < band.keys; ++block) {
      key_block_gradients(band, segment, kv_head, block, worker, &upcoming);
    }
    for (int64_t head = first; head < first + group(); ++head) {
      for (int64_t begin = 0; begin < band.queries; begin += kQueryBlock) {
        write_dq(band, head_of(segment, head, worker), begin);
      }
    }
  }

  // What the unit writes last, and what the next one reads.
  Upcoming<6> upcoming_rows(const Band& band, int64_t segment, int64_t kv_head) const {
    const int64_t head = kv_head * group(), next = segment * p_.kv_heads + kv_head + 1;
    Upcoming<6> rows;
    rows.arrays[5] = far_rows<S>(args_.dq, p_.cu_q[segment], head, band.queries, p_.head_dim);
    if (next == p_.segments * p_.kv_heads) return rows;
    const int64_t next_segment = next / p_.kv_heads, next_kv_head = next % p_.kv_heads;
    const Band next_band(p_, next_segment);
    const int64_t q = p_.cu_q[next_segment], k = p_.cu_k[next_segment];
    rows.arrays[0] =
        far_rows<S>(args_.o, q, next_kv_head * group(), next_band.queries, p_.head_dim);
    rows.arrays[1] =
        far_rows<S>(args_.d_o, q, next_kv_head * group(), next_band.queries, p_.head_dim);
    rows.arrays[2] = far_rows<S>(args_.k, k, next_kv_head, next_band.keys, p_.head_dim);
    rows.arrays[3] = far_rows<S>(args_.v, k, next_kv_head, next_band.keys, p_.head_dim);
    rows.arrays[4] =
        far_rows<S>(args_.q, q, next_kv_head * group(), next_band.queries, p_.head_dim);
    return rows;
  }

  void run_shared(Range segments) {
    shared_ = segments;
    const BlockSlots queries{p_.cu_q, segments, kQueryBlock};
    const BlockSlots keys{p_.cu_k, segments, kKeyBlock};
    const auto each_query_block = [&](const auto& body) {
      parallel_tasks(threads_, queries.count() * p_.q_heads, [&](int64_t task, int) {
        int64_t segment, block;
        if (!queries.locate(task % queries.count(), segment, block)) return;
        body(Band(p_, segment), head_of(segment, task / queries.count(), 0), block);
      });
    };
    each_query_block([&](const Band& band, const Head& head, int64_t block) {
      prepare(band, head, block * kQueryBlock);
      const Range rows{block * kQueryBlock, smaller(band.queries, (block + 1) * kQueryBlock)};
      head.progress[block] = blocks_of(band.keys_of(rows), kKeyBlock).begin;
    });
    parallel_tasks(threads_, keys.count() * p_.kv_heads, [&](int64_t task, int worker) {
      int64_t segment, block;
      if (!keys.locate(task % keys.count(), segment, block)) return;
      key_block_gradients(Band(p_, segment), segment, task / keys.count(), block, worker, nullptr);
    });
    each_query_block([&](const Band& band, const Head& head, int64_t block) {
      write_dq(band, head, block * kQueryBlock);
    });
  }

  // lse and delta for a block of queries and its padding.
  void prepare(const Band& band, const Head& head, int64_t begin) const {
    const int64_t end = smaller(band.queries, begin + kQueryBlock);
    const T* lse = static_cast<const T*>(args_.lse) + head.index * p_.q_tokens + head.token;
    for (int64_t row = begin; row < end; ++row) {
      head.delta[row] = delta_of<S>(args_, head.index, head.token + row);
      const bool sees_nothing = lse[row] == -T(__builtin_inf());
      head.lse[row] = sees_nothing ? T(kNothing) : lse[row];
    }
    const int64_t padded = begin + round_up(end - begin, kRowStep);
    for (int64_t row = end; row < padded; ++row) {
      head.delta[row] = 0;
      head.lse[row] = T(kNothing);
    }
  }

  void write_dq(const Band& band, const Head& head, int64_t begin) const {
    const int64_t end = smaller(band.queries, begin + kQueryBlock);
    for (int64_t row = begin; row < end; ++row) {
      S* dq = row_of<S>(args_.dq, head.token + row, head.index);
      if (band.keys_of({row, row + 1}).empty()) {
        zero_row(dq, p_.head_dim);
      } else {
        write_row(head.dq + row * head_.sum_stride, T(p_.scale), dq, p_.head_dim);
      }
    }
  }

  void key_block_gradients(const Band& band, int64_t segment, int64_t kv_head, int64_t block,
                           int worker, Upcoming<6>* upcoming) const {
    const KeyBlock b{band,
                     segment,
                     kv_head,
                     block,
                     {block * kKeyBlock, smaller(band.keys, (block + 1) * kKeyBlock)},
                     scratch_of(worker),
                     upcoming};
    pack_keys(b);
    const Range blocks = blocks_of(band.queries_of(b.keys), kQueryBlock);
    for (int64_t head = kv_head * group(); head < (kv_head + 1) * group(); ++head) {
      const Head h = head_of(segment, head, worker);
      for (int64_t i = blocks.begin; i < blocks.end; ++i) {
        if (!shared_.empty()) wait_for(h.progress + i, block);
        query_block(b, h, i * kQueryBlock);
        if (!shared_.empty()) __atomic_store_n(h.progress + i, block + 1, __ATOMIC_RELEASE);
      }
    }
    write_key_gradients(b);
  }

  void write_key_gradients(const KeyBlock& b) const {
    const int64_t first = p_.cu_k[b.segment];
    const T* dk = reinterpret_cast<const T*>(b.scratch.dk);
    const T* dv = reinterpret_cast<const T*>(b.scratch.dv);
    for (int64_t key = b.keys.begin; key < b.keys.end; ++key) {
      S* to_dk = row_of<S>(args_.dk, first + key, b.kv_head);
      S* to_dv = row_of<S>(args_.dv, first + key, b.kv_head);
      if (b.band.queries_of({key, key + 1}).empty()) {
        zero_row(to_dk, p_.head_dim);
        zero_row(to_dv, p_.head_dim);
      } else {
        const int64_t offset = (key - b.keys.begin) * head_.sum_stride;
        write_row(dk + offset, T(p_.scale), to_dk, p_.head_dim);
        write_row(dv + offset, T(1 / (1 - p_.dropout)), to_dv, p_.head_dim);
      }
    }
  }

  static void wait_for(const int64_t* progress, int64_t block) {
    for (int spins = 0; __atomic_load_n(progress, __ATOMIC_ACQUIRE) != block; ++spins) {
      if (spins < 2000) {
        _mm_pause();
      } else {
        sched_yield();
      }
    }
  }

  void pack_keys(const KeyBlock& b) const {
    const int64_t rows = b.keys.end - b.keys.begin, token = p_.cu_k[b.segment] + b.keys.begin;
    far_rows<S>(args_.dk, token, b.kv_head, rows, p_.head_dim).fetch(rows);
    far_rows<S>(args_.dv, token, b.kv_head, rows, p_.head_dim).fetch(rows);
    const auto k = rows_of<const S>(args_.k, token, b.kv_head, rows, p_.head_dim);
    const auto v = rows_of<const S>(args_.v, token, b.kv_head, rows, p_.head_dim);
    pack_transposed(k, reinterpret_cast<E*>(b.scratch.keys), head_.steps);
    pack_transposed(v, reinterpret_cast<E*>(b.scratch.values), head_.steps);
    pack_panels(k, reinterpret_cast<E*>(b.scratch.key_panels), round_up(rows, kPack<E>));
  }

  // One block of queries, from row `begin` of the segment, against the block of keys.
  void query_block(const KeyBlock& b, const Head& head, int64_t begin) const {
    const int64_t rows = smaller(kQueryBlock, b.band.queries - begin);
    const int64_t padded = round_up(rows, kRowStep), token = head.token + begin;
    const auto q = rows_of<const S>(args_.q, token, head.index, rows, p_.head_dim);
    const auto d_o = rows_of<const S>(args_.d_o, token, head.index, rows, p_.head_dim);
    const int64_t steps = kPack<E> == 1 ? head_.columns : head_.steps;
    pack_rows(q, reinterpret_cast<E*>(b.scratch.queries), head_.row_stride, steps, padded);
    pack_rows(d_o, reinterpret_cast<E*>(b.scratch.d_output), head_.row_stride, steps, padded);
    if constexpr (kPack < E >> 1) {
      pack_panels(q, reinterpret_cast<E*>(b.scratch.query_panels), padded);
      pack_panels(d_o, reinterpret_cast<E*>(b.scratch.d_output_panels), padded);
    }
    for (int64_t row = 0; row < rows; row += kTileRows) {
      score_tile(b, head, begin, row, rows);
      if (b.upcoming) b.upcoming->fetch(kTileRows);
    }
    const auto p = reinterpret_cast<const E*>(b.scratch.probabilities);
    const auto ds = reinterpret_cast<const E*>(b.scratch.d_scores);
    const Range block_rows{begin, begin + rows};
    const bool first_head = head.index % group() == 0;
    add_transposed(b, block_rows, first_head, p,
                   query_panels(b.scratch.d_output, b.scratch.d_output_panels, padded),
                   reinterpret_cast<T*>(b.scratch.dv));
    add_transposed(b, block_rows, first_head, ds,
                   query_panels(b.scratch.queries, b.scratch.query_panels, padded),
                   reinterpret_cast<T*>(b.scratch.dk));
  }

  // f32 and f64 rows serve as panels, too.
  Panels<E> query_panels(const std::byte* rows, const std::byte* panels, int64_t padded) const {
    if constexpr (kPack<E> == 1) {
      return {reinterpret_cast<const E*>(rows), head_.row_stride, kPanel<E>};
    } else {
      return {reinterpret_cast<const E*>(panels), kPanel<E>, padded / kPack<E> * kPanel<E>};
    }
  }

  // sums[key] += sum over queries of a[query][key] * b[query]. Rows of the first head that see a
  // key begin its sums.
  void add_transposed(const KeyBlock& block, Range rows, bool first_head, const E* a, Panels<E> b,
                      T* sums) const {
    const int64_t keys = block.keys.end - block.keys.begin;
    for (int64_t c = 0; c < head_.columns; c += kPanel<E>) {
      for (int64_t key = 0; key < keys; key += kTileRows) {
        const int64_t first = block.keys.begin + key;
        const Range tile{first, smaller(block.keys.end, first + kTileRows)};
        const Range queries = block.band.queries_of(tile);
        const Range seen = shift(intersect(queries, rows), -rows.begin);
        if (seen.empty()) continue;
        const bool first_rows = first_head && queries.begin >= rows.begin;
        multiply(first_rows ? Update::set : Update::add, tile_rows(keys - key),
                 Operand<E>{a + key, 1, kScoreStride}, b,
                 {c, smaller(head_.columns, c + kPanel<E>)},
                 {seen.begin / kPack<E>, divide_up(seen.end, kPack<E>)},
                 sums + key * head_.sum_stride, head_.sum_stride);
      }
    }
  }

  // Scores and their gradients of one tile of rows, and its part of dQ.
  void score_tile(const KeyBlock& b, const Head& head, int64_t begin, int64_t row,
                  int64_t rows) const {
    const int64_t query = begin + row, count = smaller(kTileRows, rows - row);
    const Range seen = b.band.keys_of({query, query + count});
    const Range visible = shift(intersect(seen, b.keys), -b.keys.begin);
    if (visible.empty()) return;
    const Range columns = whole_units(visible);
    const int tile = tile_rows(rows - row);
    const int64_t offset = row * head_.row_stride;
    T* p = kPack<E> == 1 ? reinterpret_cast<T*>(b.scratch.probabilities) + row * kScoreStride
                         : reinterpret_cast<T*>(b.scratch.tile_p);
    T* ds = kPack<E> == 1 ? reinterpret_cast<T*>(b.scratch.d_scores) + row * kScoreStride
                          : reinterpret_cast<T*>(b.scratch.tile_ds);
    const int64_t panel = kPanel<E> * head_.steps;
    multiply(Update::set, tile, rows_operand(b.scratch.queries, offset),
             Panels<E>{reinterpret_cast<const E*>(b.scratch.keys), kPanel<E>, panel}, columns,
             {0, head_.steps}, p, kScoreStride);
    multiply(Update::set, tile, rows_operand(b.scratch.d_output, offset),
             Panels<E>{reinterpret_cast<const E*>(b.scratch.values), kPanel<E>, panel}, columns,
             {0, head_.steps}, ds, kScoreStride);
    if (args_.extras.alibi_slopes) {
      differentiate<true>(b, head, query, row, tile, count, columns, p, ds);
    } else {
      differentiate<false>(b, head, query, row, tile, count, columns, p, ds);
    }
    const int64_t key_rows = round_up(b.keys.end - b.keys.begin, kPack<E>) / kPack<E>;
    const Operand<E> a = kPack<E> == 1
                             ? Operand<E>{reinterpret_cast<const E*>(ds), kScoreStride, 1}
                             : Operand<E>{reinterpret_cast<const E*>(b.scratch.tile_pairs),
                                          packed_score_stride(2), 1};
    multiply(seen.begin >= b.keys.begin ? Update::set : Update::add, tile, a,
             Panels<E>{reinterpret_cast<const E*>(b.scratch.key_panels), kPanel<E>,
                       key_rows * kPanel<E>},
             {0, head_.columns}, {visible.begin / kPack<E>, divide_up(visible.end, kPack<E>)},
             head.dq + query * head_.sum_stride, head_.sum_stride);
  }

  Operand<E> rows_operand(const std::byte* data, int64_t offset) const {
    return {reinterpret_cast<const E*>(data) + offset, head_.row_stride, 1};
  }

  // One row of a tile: what turns its scores into probabilities and gradients.
  struct Row {
    T *p, *ds;  // scores and d_o v^T on entry
    T lse, delta;
    const T* keep;  // null without dropout
    Range visible;  // columns
    T slope;        // of ALiBi
    int64_t place;  // of the query, as a column
  };

  Row row_of_tile(const KeyBlock& b, const Head& head, int64_t query, int r, int64_t count,
                  Range columns, T* p, T* ds) const {
    Row row{p + r * kScoreStride,
            ds + r * kScoreStride,
            head.lse[query + r],
            head.delta[query + r],
            nullptr,
            columns,
            args_.extras.alibi_slopes ? T(args_.extras.alibi_slopes[head.index]) : T(0),
            query + r + b.band.keys - b.band.queries - b.keys.begin};
    if (r < count) {
      const Range seen = b.band.keys_of({query + r, query + r + 1});
      row.visible = intersect(columns, shift(seen, -b.keys.begin));
    }
    if (p_.dropout > 0) {
      T* drawn = reinterpret_cast<T*>(b.scratch.keep) + r % 2 * kScoreStride;
      dropout_.row(head.index, head.token + query + r,
                   p_.cu_k[b.segment] + b.keys.begin + columns.begin, columns.end - columns.begin,
                   drawn);
      row.keep = drawn - columns.begin;
    }
    return row;
  }

  // P (with dropout) and dS of columns x .. of one row.
  template <bool kAlibi>
  TESSERA_INLINE void terms(const Row& row, int64_t x, V& p, V& ds) const {
    V score = V::load(row.p + x), slope(T(1)), shift(-row.lse);
    if constexpr (kAlibi) {
      shift = fma(abs(counting_from<V>(T(x - row.place))), V(-row.slope), shift);
    }
    if (scale_.capped) {
      score = tanh(score * V(T(scale_.inner)));
      slope = fma(-score, score, slope);
    }
    V d_p = V::load(row.ds + x);
    // In this order exp2 sees little rounding where P is large, and P = 1 for an only key.
    p = exp2(fma(score, V(T(scale_.outer)), shift) * V(T(1.4426950408889634)));
    if (x < row.visible.begin || x + V::kLanes > row.visible.end) {
      const auto before_end = first_lanes<V>(lanes_left<V>(row.visible.end - x));
      const auto before_begin = first_lanes<V>(lanes_left<V>(row.visible.begin - x));
      p = select(before_begin, V::zero(), select(before_end, p, V::zero()));
    }
    if (row.keep) d_p *= V::load(row.keep + x) * V(T(1 / (1 - p_.dropout)));
    ds = p * (d_p - V(row.delta));
    if (scale_.capped) ds *= slope;
    if (row.keep) p *= V::load(row.keep + x);
  }

  // Fills P and dS of the tile's rows, with zeros in a column unit to either side: the transposed
  // products read tiles of keys that reach beyond `columns`.
  template <bool kAlibi>
  void differentiate(const KeyBlock& b, const Head& head, int64_t query, int64_t row, int tile,
                     int64_t count, Range columns, T* p, T* ds) const {
    const Range around{larger(0, columns.begin - kColumnUnit), columns.end + kColumnUnit};
    if constexpr (kPack<E> == 1) {
      for (int r = 0; r < tile; ++r) {
        const Row terms_row = row_of_tile(b, head, query, r, count, columns, p, ds);
        for (int64_t x = columns.begin; x < columns.end; x += V::kLanes) {
          V p_x, ds_x;
          terms<kAlibi>(terms_row, x, p_x, ds_x);
          p_x.store(terms_row.p + x);
          ds_x.store(terms_row.ds + x);
        }
        zero_around(terms_row.p, columns, around);
        zero_around(terms_row.ds, columns, around);
      }
    } else {
      const int64_t tile_stride = 2 * packed_score_stride(2);
      for (int r = 0; r < tile; r += 2) {
        const Row even = row_of_tile(b, head, query, r, count, columns, p, ds);
        const Row odd = row_of_tile(b, head, query, r + 1, count, columns, p, ds);
        float* p_pairs =
            reinterpret_cast<float*>(b.scratch.probabilities) + (row + r) / 2 * kScoreStride;
        float* ds_pairs =
            reinterpret_cast<float*>(b.scratch.d_scores) + (row + r) / 2 * kScoreStride;
        bf16* ds_rows = reinterpret_cast<bf16*>(b.scratch.tile_pairs) + r * tile_stride;
        for (int64_t x = columns.begin; x < columns.end; x += V::kLanes) {
          V p0, p1, ds0, ds1;
          terms<kAlibi>(even, x, p0, ds0);
          terms<kAlibi>(odd, x, p1, ds1);
          pair_up(p0, p1).store(p_pairs + x);
          pair_up(ds0, ds1).store(ds_pairs + x);
          ds0.store(ds_rows + x);
          ds1.store(ds_rows + tile_stride + x);
        }
        zero_around(p_pairs, columns, around);
        zero_around(ds_pairs, columns, around);
      }
    }
  }

  static void zero_around(T* row, Range columns, Range around) {
    for (int64_t x = around.begin; x < columns.begin; x += V::kLanes) V::zero().store(row + x);
    for (int64_t x = columns.end; x < around.end; x += V::kLanes) V::zero().store(row + x);
  }

  const AttentionBackwardCpu& args_;
  const AttentionProblem& p_;
  int threads_;
  ElementFormat format_;
  HeadLayout head_;
  ScoreScale scale_;
  DropoutMask dropout_;
  Arena arena_;  // what is left of the workspace after sums_
  QueryGradients sums_;
  Range shared_ = {0, 0};  // segments that the threads are sharing; in others each has its own unit
};

}  // namespace

template <>
void attention_backward_isa<TESSERA_ISA>(const AttentionBackwardCpu& args, int threads) {
  switch (args.problem.dtype) {
    case DType::f64:
      return Backward<double>(args, threads).run();
    case DType::bf16:
      return Backward<bf16>(args, threads).run();
    default:
      return Backward<float>(args, threads).run();
  }
}

}  // namespace tessera
