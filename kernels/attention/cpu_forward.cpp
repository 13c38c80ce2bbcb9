// Forward: each block of queries walks over the visible blocks of keys with a running maximum and
// sum (Milakov & Gimelshein, "Online normalizer calculation for softmax", 2018; Dao,
// "FlashAttention-2", 2023). A strip of queries goes through scores, softmax and the product with
// the values at once, so its scores stay in the first-level cache; the packed keys and values stay
// in the second. Scores are held transposed, [key][query], so that a vector holds the maxima or
// sums of its queries, and nothing is reduced across lanes.
#include "kernels/attention/cpu.h"
#include "kernels/attention/cpu_dropout.h"
#include "kernels/attention/cpu_prefetch.h"
#include "kernels/attention/cpu_shares.h"

namespace tessera {
namespace {

// A score that stands for "not visible": finite, so that differences of scores are never NaN.
constexpr double kMasked = -1e30;

template <class S>
class Forward {
  using E = typename ElementOf<S>::Type;
  using T = compute_t<S>;
  using V = Vec<T>;

 public:
  Forward(const AttentionForwardCpu& args, int threads)
      : args_(args),
        p_(args.problem),
        threads_(threads),
        format_{sizeof(E), kPack<E>, sizeof(T)},
        head_(head_layout(p_.head_dim, format_)),
        scale_(p_),
        dropout_(p_),
        arena_(static_cast<std::byte*>(args.workspace)),
        packed_(arena_, p_, format_, threads) {}

  void run() {
    Arena scratch_arena = arena_;
    const int64_t scratch_bytes = bytes_of_scratch();
    std::byte* scratch_base = scratch_arena.take(scratch_bytes * threads_);
    const auto scratch_of = [&](int worker) {
      Arena own(scratch_base + scratch_bytes * worker);
      return ForwardScratch(own, p_, format_);
    };
    if (one_thread_per_unit(p_, threads_)) {
      for (int64_t segment = 0; segment < p_.segments; ++segment) {
        if (is_shared_document(p_, threads_, segment))
          run_shared({segment, segment + 1}, scratch_of);
      }
      parallel_shares(threads_, p_.segments * p_.kv_heads, [&](int64_t unit, int worker) {
        const int64_t segment = unit / p_.kv_heads;
        if (is_shared_document(p_, threads_, segment)) return;
        run_unit(segment, unit % p_.kv_heads, worker, scratch_of(worker));
      });
    } else {
      run_shared({0, p_.segments}, scratch_of);
    }
    finish_outside_segments();
  }

 private:
  // The packed keys and values of a segment for one kv head.
  struct Packed {
    E *keys, *values;
  };
  // A block of queries and its running results.
  struct Rows {
    Band band;
    Packed packed;
    ForwardScratch scratch;
    int64_t segment, head, begin, count;
    HeadScores<T> terms;
    alignas(64) T maxima[kQueryBlock];  // of the scores
    alignas(64) T sums[kQueryBlock];    // of exp2(exponent * (score - maximum))
  };
  // A strip of its rows and a block of keys.
  struct Tile {
    int64_t row;    // first of the strip in the block of queries
    Range queries;  // of the segment
    int64_t key;    // of the segment, first of the block
    Range keys;     // of the block, seen by at least one of the queries
  };

  int64_t bytes_of_scratch() const {
    Arena counter(nullptr);
    ForwardScratch(counter, p_, format_);
    return int64_t(counter.used());
  }

  Packed packed_at(int64_t unit, int64_t row) const {
    const int64_t r = unit * packed_.unit_rows + row;
    return {reinterpret_cast<E*>(packed_.keys + r * PackedKeys::key_bytes(p_, format_)),
            reinterpret_cast<E*>(packed_.values + r * PackedKeys::value_bytes(p_, format_))};
  }
  E* keys_at(const Packed& packed, int64_t row) const { return packed.keys + row * head_.steps; }
  E* values_at(const Packed& packed, int64_t row) const {
    return packed.values + row * head_.panels / kPack<E>;
  }

  void run_unit(int64_t segment, int64_t kv_head, int worker, const ForwardScratch& scratch) {
    const Band band(p_, segment);
    const Packed packed = packed_at(worker, 0);
    Upcoming<3> upcoming = rows_of_unit(segment * p_.kv_heads + kv_head + 1);
    for (int64_t begin = 0; begin < band.keys; begin += kKeyBlock) {
      pack_key_block(band, segment, kv_head, begin, packed);
    }
    const int64_t group = p_.q_heads / p_.kv_heads;
    for (int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
      for (int64_t begin = 0; begin < band.queries; begin += kQueryBlock) {
        query_block(band, packed, scratch, segment, head, begin, upcoming);
      }
    }
  }

  // What a unit reads, for one head of its group.
  Upcoming<3> rows_of_unit(int64_t unit) const {
    if (unit >= p_.segments * p_.kv_heads) return {};
    const int64_t segment = unit / p_.kv_heads, kv_head = unit % p_.kv_heads;
    const int64_t head = kv_head * (p_.q_heads / p_.kv_heads);
    const Band band(p_, segment);
    return {far_rows<S>(args_.k, p_.cu_k[segment], kv_head, band.keys, p_.head_dim),
            far_rows<S>(args_.v, p_.cu_k[segment], kv_head, band.keys, p_.head_dim),
            far_rows<S>(args_.q, p_.cu_q[segment], head, band.queries, p_.head_dim)};
  }

  template <class ScratchOf>
  void run_shared(Range segments, const ScratchOf& scratch_of) {
    const auto packed_of = [&](int64_t segment, int64_t kv_head) {
      const int64_t first = p_.cu_k[segment] - p_.cu_k[segments.begin];
      return packed_at(kv_head, padded_start(first, segment - segments.begin));
    };
    const BlockSlots keys{p_.cu_k, segments, kKeyBlock};
    parallel_tasks(threads_, keys.count() * p_.kv_heads, [&](int64_t task, int) {
      int64_t segment, block;
      if (!keys.locate(task % keys.count(), segment, block)) return;
      const int64_t kv_head = task / keys.count();
      pack_key_block(Band(p_, segment), segment, kv_head, block * kKeyBlock,
                     packed_of(segment, kv_head));
    });
    // From the last block to the first: with causality, the longest first.
    const BlockSlots queries{p_.cu_q, segments, kQueryBlock};
    parallel_tasks(threads_, queries.count() * p_.q_heads, [&](int64_t task, int worker) {
      int64_t segment, block;
      if (!queries.locate(queries.count() - 1 - task % queries.count(), segment, block)) return;
      const int64_t head = task / queries.count(), kv_head = head * p_.kv_heads / p_.q_heads;
      Upcoming<3> none;
      query_block(Band(p_, segment), packed_of(segment, kv_head), scratch_of(worker), segment, head,
                  block * kQueryBlock, none);
    });
  }

  void pack_key_block(const Band& band, int64_t segment, int64_t kv_head, int64_t begin,
                      const Packed& packed) const {
    const int64_t rows = smaller(kKeyBlock, band.keys - begin), token = p_.cu_k[segment] + begin;
    pack_rows(rows_of<const S>(args_.k, token, kv_head, rows, p_.head_dim), keys_at(packed, begin),
              head_.steps, head_.steps, round_up(rows, kRowStep));
    pack_panels(rows_of<const S>(args_.v, token, kv_head, rows, p_.head_dim),
                values_at(packed, begin), round_up(rows, kPack<E>));
  }

  void query_block(const Band& band, const Packed& packed, const ForwardScratch& scratch,
                   int64_t segment, int64_t head, int64_t begin, Upcoming<3>& upcoming) const {
    Rows rows{band,
              packed,
              scratch,
              segment,
              head,
              begin,
              smaller(kQueryBlock, band.queries - begin),
              HeadScores<T>(args_.extras, scale_, head),
              {},
              {}};
    pack_transposed(
        rows_of<const S>(args_.q, p_.cu_q[segment] + begin, head, rows.count, p_.head_dim),
        reinterpret_cast<E*>(scratch.queries), head_.steps);
    far_rows<S>(args_.o, p_.cu_q[segment] + begin, head, rows.count, p_.head_dim).fetch(rows.count);
    // A sink is like a key that has been seen already, with a value of 0.
    for (T& maximum : rows.maxima) maximum = rows.terms.has_sink ? rows.terms.sink : T(kMasked);
    for (T& sum : rows.sums) sum = T(rows.terms.has_sink);
    const Range blocks = blocks_of(band.keys_of({begin, begin + rows.count}), kKeyBlock);
    for (int64_t block = blocks.begin; block < blocks.end; ++block) {
      for (int64_t row = 0; row < rows.count; row += kStrip) {
        attend(rows, row, block);
        upcoming.fetch(kStrip);
      }
    }
    finish(rows);
  }

  void attend(Rows& rows, int64_t row, int64_t block) const {
    const int64_t query = rows.begin + row, key = block * kKeyBlock;
    const Range queries{query, smaller(query + kStrip, rows.begin + rows.count)};
    const Range seen = rows.band.keys_of(queries);
    const Range block_keys{key, smaller(rows.band.keys, key + kKeyBlock)};
    const Tile tile{row, queries, key, shift(intersect(seen, block_keys), -key)};
    if (tile.keys.empty()) return;
    score(rows, tile);
    if (p_.dropout > 0) draw_dropout(rows, tile);
    alignas(64) T rescale[kStrip];
    for (int64_t lane = 0; lane < queries.end - query; lane += V::kLanes) {
      softmax(rows, tile, lane).store(rescale + lane);
    }
    add_values(seen.begin >= key ? Update::set : Update::rescale, rows, tile, rescale);
  }

  // scores[key][query] = k q^T
  void score(const Rows& rows, const Tile& tile) const {
    const int64_t begin = tile.keys.begin / kRowStep * kRowStep;
    const Panels<E> queries{
        reinterpret_cast<const E*>(rows.scratch.queries) + tile.row * head_.steps, kPanel<E>,
        kPanel<E> * head_.steps};
    for (int64_t k = begin; k < tile.keys.end; k += kTileRows) {
      const Range keys{tile.key + k, smaller(tile.key + tile.keys.end, tile.key + k + kTileRows)};
      const Range seeing = intersect(rows.band.queries_of(keys), tile.queries);
      const Operand<E> a{keys_at(rows.packed, tile.key + k), head_.steps, 1};
      multiply(Update::set, tile_rows(tile.keys.end - k), a, queries,
               whole_units(shift(seeing, -tile.queries.begin)), {0, head_.steps},
               scores(rows) + k * kStrip, kStrip);
    }
  }

  static T* scores(const Rows& rows) { return reinterpret_cast<T*>(rows.scratch.scores); }
  T* output(const Rows& rows, int64_t row) const {
    return reinterpret_cast<T*>(rows.scratch.output) + row * head_.sum_stride;
  }

  // keep[key][query] = 1 or 0
  void draw_dropout(const Rows& rows, const Tile& tile) const {
    T* keep = reinterpret_cast<T*>(rows.scratch.keep) + tile.keys.begin * kStrip;
    for (int64_t q = tile.queries.begin; q < tile.queries.end; ++q) {
      dropout_.template row<kStrip>(
          rows.head, p_.cu_q[rows.segment] + q, p_.cu_k[rows.segment] + tile.key + tile.keys.begin,
          tile.keys.end - tile.keys.begin, keep + (q - tile.queries.begin));
    }
  }

  TESSERA_INLINE void apply_softcap(T* column, Range keys) const {
    const V inner{T(scale_.inner)};
    for (int64_t k = keys.begin; k < keys.end; ++k) {
      tanh(V::load(column + k * kStrip) * inner).store(column + k * kStrip);
    }
  }

  // Takes slope * distance from the scores of a vector of queries, from row `query` of the segment
  // on, whose scores with `keys` of the tile are `column`.
  TESSERA_INLINE void apply_alibi(const Rows& rows, const Tile& tile, int64_t query, T* column,
                                  Range keys) const {
    const int64_t place = query + rows.band.keys - rows.band.queries - tile.key;
    for (int64_t k = keys.begin; k < keys.end; ++k) {
      const V distance = abs(counting_from<V>(T(place - k)));
      fma(distance, V(-rows.terms.slope), V::load(column + k * kStrip)).store(column + k * kStrip);
    }
  }

  // A vector of queries of a tile: turns their scores into probabilities relative to the new
  // maxima, 0 where a query does not see a key, and returns the factors by which to rescale what
  // was summed before.
  V softmax(Rows& rows, const Tile& tile, int64_t lane) const {
    const int64_t query = tile.queries.begin + lane;
    const Range queries{query, smaller(query + V::kLanes, tile.queries.end)};
    const Range some = intersect(tile.keys, shift(rows.band.keys_of(queries), -tile.key));
    const Range all = intersect(tile.keys, shift(rows.band.keys_of_all(queries), -tile.key));
    T* column = scores(rows) + lane;
    if (scale_.capped) apply_softcap(column, some);
    if (rows.terms.biased) apply_alibi(rows, tile, query, column, some);
    const auto score_of = [&](int64_t k) {
      const V score = V::load(column + k * kStrip);
      if (k >= all.begin && k < all.end) return score;
      const int64_t key = tile.key + k;
      const Range seeing = shift(rows.band.queries_of({key, key + 1}), -query);
      const auto lanes = lanes_between<V>(lanes_left<V>(seeing.begin), lanes_left<V>(seeing.end));
      return select(lanes, score, V(T(kMasked)));
    };
    T *maximum = rows.maxima + tile.row + lane, *sum = rows.sums + tile.row + lane;
    const V before = V::load(maximum), exponent{T(scale_.exponent)};
    V now = before, total = V::zero();
    for (int64_t k = some.begin; k < some.end; ++k) now = max(now, score_of(k));
    // Where nothing was visible yet, kMasked - 0 gives the zeros that kMasked - kMasked would not.
    const V shift_by = select(less(now, V(T(kMasked / 2))), V::zero(), now);
    const V factor = exp2((before - now) * exponent);
    const T* keep = p_.dropout > 0 ? reinterpret_cast<const T*>(rows.scratch.keep) + lane : nullptr;
    const auto probability = [&](int64_t k) {
      if (k < some.begin || k >= some.end) return V::zero();
      const V p = exp2((score_of(k) - shift_by) * exponent);
      total += p;  // without dropout
      return keep ? p * V::load(keep + k * kStrip) : p;
    };
    for (int64_t k = tile.keys.begin / kPack<E> * kPack<E>; k < tile.keys.end; k += kPack<E>) {
      if constexpr (kPack<E> == 1) {
        probability(k).store(column + k * kStrip);
      } else {
        const V even = probability(k), odd = probability(k + 1);
        T* pairs = reinterpret_cast<T*>(rows.scratch.probabilities) + lane;
        pair_up(even, odd).store(pairs + k / 2 * kStrip);
      }
    }
    now.store(maximum);
    fma(V::load(sum), factor, total).store(sum);
    return factor;
  }

  // output = rescale * output + p v, or p v alone.
  void add_values(Update update, const Rows& rows, const Tile& tile, const T* rescale) const {
    const int64_t key_rows = smaller(kKeyBlock, rows.band.keys - tile.key);
    const Panels<E> values{values_at(rows.packed, tile.key), kPanel<E>,
                           divide_up(key_rows, kPack<E>) * kPanel<E>};
    // f32 and f64 probabilities have taken the place of the scores.
    const E* p = reinterpret_cast<const E*>(kPack<E> == 1 ? rows.scratch.scores
                                                          : rows.scratch.probabilities);
    const int64_t count = tile.queries.end - tile.queries.begin;
    for (int64_t column = 0; column < head_.columns; column += kPanel<E>) {
      for (int64_t r = 0; r < count; r += kTileRows) {
        const int64_t query = tile.queries.begin + r;
        const Range queries{query, smaller(query + kTileRows, tile.queries.end)};
        const Range seen = intersect(tile.keys, shift(rows.band.keys_of(queries), -tile.key));
        multiply(update, tile_rows(count - r), Operand<E>{p + r, 1, kStrip}, values,
                 {column, smaller(column + kPanel<E>, head_.columns)},
                 {seen.begin / kPack<E>, divide_up(seen.end, kPack<E>)}, output(rows, tile.row + r),
                 head_.sum_stride, rescale + r);
      }
    }
  }

  void finish(const Rows& rows) const {
    const int64_t token = p_.cu_q[rows.segment] + rows.begin;
    T* lse = static_cast<T*>(args_.lse) + rows.head * p_.q_tokens + token;
    alignas(64) T factors[kQueryBlock];
    for (int64_t r = 0; r < rows.count; r += V::kLanes) {
      const V sum = V::load(rows.sums + r), maximum = V::load(rows.maxima + r);
      (V(T(1)) / (sum * V(T(1 - p_.dropout)))).store(factors + r);
      fma(maximum, V(T(scale_.outer)), log(sum))
          .store_first(lse + r, lanes_left<V>(rows.count - r));
    }
    for (int64_t r = 0; r < rows.count; ++r) {
      S* o = row_of<S>(args_.o, token + r, rows.head);
      const int64_t query = rows.begin + r;
      if (rows.band.keys_of({query, query + 1}).empty()) {
        zero_row(o, p_.head_dim);
      } else {
        write_row(output(rows, r), factors[r], o, p_.head_dim);
      }
    }
  }

  void finish_outside_segments() const {
    const Range outside{p_.cu_q[p_.segments], p_.q_tokens};
    zero_rows<S>(args_.o, outside, p_.q_heads, p_.head_dim);
    for (int64_t head = 0; head < p_.q_heads; ++head) {
      T* lse = static_cast<T*>(args_.lse) + head * p_.q_tokens;
      for (int64_t token = outside.begin; token < outside.end; ++token)
        lse[token] = -T(__builtin_inf());
    }
  }

  const AttentionForwardCpu& args_;
  const AttentionProblem& p_;
  int threads_;
  ElementFormat format_;
  HeadLayout head_;
  ScoreScale scale_;
  DropoutMask dropout_;
  Arena arena_;
  PackedKeys packed_;
};

}  // namespace

template <>
void attention_forward_isa<TESSERA_ISA>(const AttentionForwardCpu& args, int threads) {
  switch (args.problem.dtype) {
    case DType::f64:
      return Forward<double>(args, threads).run();
    case DType::bf16:
      return Forward<bf16>(args, threads).run();
    default:
      return Forward<float>(args, threads).run();
  }
}

}  // namespace tessera
