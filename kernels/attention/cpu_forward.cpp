// Forward: each block of queries walks over the visible blocks of keys with a running maximum and
// sum (Milakov & Gimelshein, "Online normalizer calculation for softmax", 2018; Dao,
// "FlashAttention-2", 2023). A tile of rows goes through scores, softmax and the product with the
// values at once, so its scores stay in the first-level cache; the packed keys and values stay in
// the second.
#include "kernels/attention/cpu.h"
#include "kernels/attention/cpu_dropout.h"
#include "kernels/attention/cpu_rows.h"
#include "kernels/launch/cpu/parallel.h"

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
      parallel_tasks(threads_, p_.segments * p_.kv_heads, [&](int64_t unit, int worker) {
        run_unit(unit / p_.kv_heads, unit % p_.kv_heads, worker, scratch_of(worker));
      });
    } else {
      run_shared(scratch_of);
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
    alignas(64) T maxima[kQueryBlock];  // of the scores
    alignas(64) T sums[kQueryBlock];    // of exp2(exponent * (score - maximum))
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
    for (int64_t begin = 0; begin < band.keys; begin += kKeyBlock) {
      pack_key_block(band, segment, kv_head, begin, packed);
    }
    const int64_t group = p_.q_heads / p_.kv_heads;
    for (int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
      for (int64_t begin = 0; begin < band.queries; begin += kQueryBlock) {
        query_block(band, packed, scratch, segment, head, begin);
      }
    }
  }

  template <class ScratchOf>
  void run_shared(const ScratchOf& scratch_of) {
    const BlockSlots keys{p_.cu_k, p_.segments, kKeyBlock};
    parallel_tasks(threads_, keys.count() * p_.kv_heads, [&](int64_t task, int) {
      int64_t segment, block;
      if (!keys.locate(task % keys.count(), segment, block)) return;
      const int64_t kv_head = task / keys.count();
      const Packed packed = packed_at(kv_head, padded_start(p_.cu_k[segment], segment));
      pack_key_block(Band(p_, segment), segment, kv_head, block * kKeyBlock, packed);
    });
    // From the last block to the first: with causality, the longest first.
    const BlockSlots queries{p_.cu_q, p_.segments, kQueryBlock};
    parallel_tasks(threads_, queries.count() * p_.q_heads, [&](int64_t task, int worker) {
      int64_t segment, block;
      if (!queries.locate(queries.count() - 1 - task % queries.count(), segment, block)) return;
      const int64_t head = task / queries.count(), kv_head = head * p_.kv_heads / p_.q_heads;
      query_block(Band(p_, segment), packed_at(kv_head, padded_start(p_.cu_k[segment], segment)),
                  scratch_of(worker), segment, head, block * kQueryBlock);
    });
  }

  void pack_key_block(const Band& band, int64_t segment, int64_t kv_head, int64_t begin,
                      const Packed& packed) const {
    const int64_t rows = smaller(kKeyBlock, band.keys - begin), token = p_.cu_k[segment] + begin;
    pack_transposed(rows_of<const S>(args_.k, token, kv_head, rows, p_.head_dim),
                    keys_at(packed, begin), head_.steps);
    pack_panels(rows_of<const S>(args_.v, token, kv_head, rows, p_.head_dim),
                values_at(packed, begin), round_up(rows, kPack<E>));
  }

  void query_block(const Band& band, const Packed& packed, const ForwardScratch& scratch,
                   int64_t segment, int64_t head, int64_t begin) const {
    Rows rows{
        band, packed, scratch, segment, head, begin, smaller(kQueryBlock, band.queries - begin),
        {},   {}};
    const int64_t padded = round_up(rows.count, kRowStep);
    pack_rows(rows_of<const S>(args_.q, p_.cu_q[segment] + begin, head, rows.count, p_.head_dim),
              reinterpret_cast<E*>(scratch.queries), head_.row_stride, head_.steps, padded);
    std::memset(scratch.output, 0, size_t(padded * head_.sum_stride) * sizeof(T));
    for (T& maximum : rows.maxima) maximum = T(kMasked);
    const Range blocks = blocks_of(band.keys_of({begin, begin + rows.count}), kKeyBlock);
    for (int64_t block = blocks.begin; block < blocks.end; ++block) {
      for (int64_t row = 0; row < rows.count; row += kTileRows) attend(rows, row, block);
    }
    finish(rows);
  }

  // One tile of rows and one block of keys.
  void attend(Rows& rows, int64_t row, int64_t block) const {
    const int64_t key = block * kKeyBlock, count = smaller(kTileRows, rows.count - row);
    const int64_t query = rows.begin + row;
    const Range block_keys{key, smaller(rows.band.keys, key + kKeyBlock)};
    const Range visible =
        shift(intersect(rows.band.keys_of({query, query + count}), block_keys), -key);
    if (visible.empty()) return;
    const Range columns = whole_units(visible);
    T* scores = reinterpret_cast<T*>(rows.scratch.scores);
    const int padded = tile_rows(rows.count - row);
    const E* queries = reinterpret_cast<const E*>(rows.scratch.queries) + row * head_.row_stride;
    multiply<false>(padded, Operand<E>{queries, head_.row_stride, 1},
                    Panels<E>{keys_at(rows.packed, key), kPanel<E>, kPanel<E> * head_.steps},
                    columns, {0, head_.steps}, scores, kScoreStride);
    for (int64_t r = 0; r < padded; ++r) {
      T* s = scores + r * kScoreStride;
      if (scale_.capped) apply_softcap(s, columns, T(scale_.inner));
      if (r < count) {
        const Range seen = shift(rows.band.keys_of({query + r, query + r + 1}), -key);
        mask(s, {columns.begin, smaller(columns.end, seen.begin)});
        mask(s, {larger(columns.begin, seen.end), columns.end});
      }
    }
    softmax(rows, row, padded, key, columns);
    const int64_t key_rows = round_up(block_keys.end - key, kPack<E>);
    multiply<true>(
        padded, probabilities(rows),
        Panels<E>{values_at(rows.packed, key), kPanel<E>, key_rows / kPack<E> * kPanel<E>},
        {0, head_.columns}, {visible.begin / kPack<E>, divide_up(visible.end, kPack<E>)},
        output(rows, row), head_.sum_stride);
  }

  T* output(const Rows& rows, int64_t row) const {
    return reinterpret_cast<T*>(rows.scratch.output) + row * head_.sum_stride;
  }
  // f32 and f64 probabilities take the place of the scores.
  Operand<E> probabilities(const Rows& rows) const {
    const std::byte* data = kPack<E> == 1 ? rows.scratch.scores : rows.scratch.probabilities;
    return {reinterpret_cast<const E*>(data), packed_score_stride(kPack<E>), 1};
  }

  TESSERA_INLINE static void mask(T* scores, Range columns) {
    for (int64_t x = columns.begin; x < columns.end; x += V::kLanes) {
      V(T(kMasked)).store_first(scores + x, lanes_left<V>(columns.end - x));
    }
  }

  // Turns the tile's scores into probabilities relative to the new maxima, and rescales what was
  // summed before.
  void softmax(Rows& rows, int64_t row, int tile, int64_t key, Range columns) const {
    alignas(64) T tile_max[16], shift_by[16], rescale[16];
    const T* scores = reinterpret_cast<const T*>(rows.scratch.scores);
    for (int r = 0; r < tile; ++r) tile_max[r] = row_max(scores + r * kScoreStride, columns);
    const V exponent{T(scale_.exponent)};
    for (int r = 0; r < tile; r += V::kLanes) {
      const int lanes = lanes_left<V>(tile - r);
      const V before = V::load_first(rows.maxima + row + r, lanes);
      const V now = max(before, V::load_first(tile_max + r, lanes));
      const V factor = exp2((before - now) * exponent);
      factor.store(rescale + r);
      // Where nothing was visible yet, kMasked - 0 gives the zeros that kMasked - kMasked would
      // not.
      select(less(now, V(T(kMasked / 2))), V::zero(), now).store(shift_by + r);
      now.store_first(rows.maxima + row + r, lanes);
      (V::load_first(rows.sums + row + r, lanes) * factor).store_first(rows.sums + row + r, lanes);
    }
    for (int r = 0; r < tile; ++r) {
      if (rescale[r] != T(1)) scale_row(output(rows, row + r), rescale[r]);
      rows.sums[row + r] += exponentials(rows, row, r, key, columns, shift_by[r]);
    }
  }

  TESSERA_INLINE static T row_max(const T* scores, Range columns) {
    V even{T(kMasked)}, odd = even;
    int64_t x = columns.begin;
    for (; x + 2 * V::kLanes <= columns.end; x += 2 * V::kLanes) {
      even = max(even, V::load(scores + x));
      odd = max(odd, V::load(scores + x + V::kLanes));
    }
    if (x < columns.end) even = max(even, V::load(scores + x));
    return reduce_max(max(even, odd));
  }

  TESSERA_INLINE void scale_row(T* sums, T factor) const {
    for (int64_t c = 0; c < head_.columns; c += V::kLanes) {
      (V::load(sums + c) * V(factor)).store(sums + c);
    }
  }

  // exp2(exponent * (score - shift)) of one row, with dropout where it is stored; returns the sum
  // without dropout.
  TESSERA_INLINE T exponentials(const Rows& rows, int64_t row, int r, int64_t key, Range columns,
                                T shift_by) const {
    T* scores = reinterpret_cast<T*>(rows.scratch.scores) + r * kScoreStride;
    const T* keep = nullptr;
    if (p_.dropout > 0) {
      T* drawn = reinterpret_cast<T*>(rows.scratch.keep);
      dropout_.row(rows.head, p_.cu_q[rows.segment] + rows.begin + row + r,
                   p_.cu_k[rows.segment] + key + columns.begin, columns.end - columns.begin, drawn);
      keep = drawn - columns.begin;
    }
    const V exponent{T(scale_.exponent)}, shift{shift_by};
    V sum = V::zero();
    for (int64_t x = columns.begin; x < columns.end; x += V::kLanes) {
      V p = exp2((V::load(scores + x) - shift) * exponent);
      sum += p;
      if (keep) p *= V::load(keep + x);
      if constexpr (kPack<E> == 1) {
        p.store(scores + x);
      } else {
        p.store(reinterpret_cast<bf16*>(rows.scratch.probabilities) +
                2 * r * packed_score_stride(2) + x);
      }
    }
    return reduce_add(sum);
  }

  void finish(const Rows& rows) const {
    const int64_t token = p_.cu_q[rows.segment] + rows.begin;
    T* lse = static_cast<T*>(args_.lse) + rows.head * p_.q_tokens + token;
    for (int64_t r = 0; r < rows.count; r += V::kLanes) {
      const int lanes = lanes_left<V>(rows.count - r);
      const V sum = V::load_first(rows.sums + r, lanes);
      const V maximum = V::load_first(rows.maxima + r, lanes);
      fma(maximum, V(T(scale_.outer)), log(sum)).store_first(lse + r, lanes);
    }
    for (int64_t r = 0; r < rows.count; ++r) {
      const T sum = rows.sums[r];
      const T factor = sum == 0 ? T(0) : T(1) / (sum * T(1 - p_.dropout));
      write_row(output(rows, r), factor, row_of<S>(args_.o, token + r, rows.head), p_.head_dim);
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
