// The tile policy of GPUs: matrix fragments in the registers of a wave's lanes, K and V staged in
// shared memory for the waves of a block. `P` is one of matrix_policies.h.
//
// The waves of a block divide its rows, or the keys of each step, or both (BlockShape): prompts
// have rows enough for all of them, a decoded token has a handful of rows, whose keys they share
// out. In the latter case each wave has statistics and an output of its own, merged in Finish().
#pragma once

#include <cstdint>
#include <type_traits>

#include "attention/kernel/block_shapes.h"
#include "attention/kernel/kernel_args.h"
#include "attention/kernel/key_range.h"
#include "attention/kernel/key_value_stages.h"
#include "attention/kernel/lane_elements.h"
#include "attention/kernel/lane_ops.h"
#include "attention/kernel/logits.h"
#include "attention/kernel/matrix_policies.h"
#include "attention/kernel/row_writer.h"
#include "attention/kernel/simt.h"
#include "tessera/dtype.h"

namespace tessera::kernel::lanes {

#define TESSERA_FN SIMT_METHOD
#include "attention/kernel/paged_attention.inl"
#undef TESSERA_FN

// One type of cache. Queries are bfloat16, output is bfloat16 or float32, and keys and values have
// kHeadSize elements; but kGeneral takes 8-bit queries beside those of the matrix instructions'
// type, every type of output, and keys and values of at most kHeadSize elements.
template <class P, DType kCache, int kHeadSize, BlockShape kShape, bool kGeneral>
class SimtTiles {
  using Stages = KeyValueStages<P, kCache, kHeadSize, kShape, kGeneral>;
  static constexpr DType kMatrix = MatrixType(kCache);
  static_assert(kGeneral || kCache == DType::kBFloat16);
  static constexpr int kWaveKeys = kShape.wave_keys;
  static constexpr int kRowTiles = kShape.row_tiles;
  static constexpr int kWaveRows = P::Y * kRowTiles;
  static constexpr int kSlots = P::SLOTS * kRowTiles;
  static constexpr int kKeyTiles = kWaveKeys / P::X;
  static constexpr int kDimTiles = kHeadSize / P::X;
  // Where it would leave too few registers: AMD's wide waves have twice as many.
  static constexpr bool kQueryInShared = kRowTiles > 1 || (kHeadSize > 128 && P::WAVE == 32);
  static constexpr int kRowStride = Stages::kRowStride;
  static constexpr int kValueStride = Stages::kValueStride;

 public:
  using Ops = LaneOps;
  static constexpr int kStages = kShape.stages;
  static constexpr int32_t kKeys = Stages::kKeys;
  static constexpr float kUnit = 1.0f;
  static constexpr int32_t kRows = kWaveRows * kShape.row_waves;
  static constexpr int32_t kThreads = Stages::kThreads;
  static_assert(kHeadSize % (P::X * P::kTiles) == 0 && kHeadSize % P::K == 0);
  static_assert(kWaveKeys % (P::X * P::kTiles) == 0 && kWaveKeys % P::K == 0);

 private:
  struct Merge {  // of key waves
    float output[kShape.key_waves][kRows][kHeadSize];
    float maximum[kShape.key_waves][kRows];
    float sum[kShape.key_waves][kRows];
  };
  // Of rows on their way from the registers to a general output: so many dims at a time.
  static constexpr int ChunkDims() {
    const size_t stages = sizeof(typename Stages::Shared), least = size_t{32} << 10;
    const size_t bytes = stages > least ? stages : least;
    int dims = kHeadSize;
    while (dims > P::X && kRows * dims * sizeof(float) > bytes) dims /= 2;
    return dims;
  }
  static constexpr int kChunkDims = ChunkDims();
  static constexpr int kChunkTiles = kChunkDims / P::X;
  struct Chunk {
    float output[kRows][kChunkDims];
  };
  static_assert(kHeadSize % kChunkDims == 0 && kChunkDims % P::X == 0);
  struct Neither {};

 public:
  struct Shared {
    union {
      typename Stages::Shared stages;
      std::conditional_t<(kShape.key_waves > 1), Merge,
                         std::conditional_t<kGeneral, Chunk, Neither>>
          merge;
    };
    alignas(16) uint16_t query[kQueryInShared ? kRows * kRowStride : 8];
  };

  struct Query {
    Fragment<P::NY> f[kQueryInShared ? 1 : kHeadSize / P::K];
  };
  struct Scores {
    Accumulator<P::NE> t[kRowTiles][kKeyTiles];
  };
  struct Output {
    Accumulator<P::NE> t[kRowTiles][kDimTiles];
  };
  struct RowStats {
    float v[kSlots];
  };

  SIMT_METHOD SimtTiles(const KernelArgs& args, const WorkItem& item, Shared* shared)
      : args_(args),
        item_(item),
        shared_(shared),
        lane_(simt::Thread() % P::WAVE),
        wave_row_(kShape.row_waves == 1 ? 0
                                        : simt::Thread() / P::WAVE % kShape.row_waves * kWaveRows),
        key_wave_(kShape.key_waves == 1 ? 0 : simt::Thread() / P::WAVE / kShape.row_waves),
        stages_(args, item, &shared->stages) {}

  SIMT_METHOD static int32_t StepKeys() { return kKeys; }

  SIMT_METHOD void LoadQuery(Query& q, float factor) {
    // bfloat16 could not hold the scaled query exactly, so the scores are scaled instead.
    factor_ = factor;
    if constexpr (kQueryInShared) ShareQuery();
    stages_.Begin();
    if constexpr (!kQueryInShared) {
      const bool aligned = QueryAligned();
      SIMT_UNROLL
      for (int f = 0; f < kHeadSize / P::K; ++f) {
        SIMT_UNROLL
        for (int i = 0; i < 2 * P::NY; i += 2) {
          q.f[f].words[i / 2] =
              QueryPair(wave_row_ + P::y(lane_, i), f * P::K + P::yk(lane_, i), aligned);
        }
      }
    }
  }

  SIMT_METHOD void Zero(Output& o) {
    SIMT_UNROLL
    for (int r = 0; r < kRowTiles; ++r) {
      SIMT_UNROLL
      for (int t = 0; t < kDimTiles; ++t) {
        SIMT_UNROLL
        for (int e = 0; e < P::NE; ++e) o.t[r][t].v[e] = 0.0f;
      }
    }
  }

  SIMT_METHOD void Fill(RowStats& stats, float value) {
    SIMT_UNROLL
    for (int u = 0; u < kSlots; ++u) stats.v[u] = value;
  }

  template <class F>
  SIMT_METHOD void FillRows(RowStats& stats, const F& f) {
    SIMT_UNROLL
    for (int u = 0; u < kSlots; ++u) {
      stats.v[u] = key_wave_ == 0 ? f(RowOfSlot(u)) : Ops::kMinusInfinity;
    }
  }

  // For the steps from item.key_begin on, one after another.
  SIMT_METHOD void LoadKeysValues(int32_t first, int32_t /*count*/) {
    stages_.Load(first);
    // Only scores that nobody has scaled yet carry the factor with them.
    pending_ = factor_;
  }

  SIMT_METHOD void QueryKey(const Query& q, Scores& s) {
    SIMT_UNROLL
    for (int r = 0; r < kRowTiles; ++r) {
      SIMT_UNROLL
      for (int t = 0; t < kKeyTiles; ++t) {
        SIMT_UNROLL
        for (int e = 0; e < P::NE; ++e) s.t[r][t].v[e] = 0.0f;
      }
    }
    const uint16_t* keys = stages_.Keys() + key_wave_ * kWaveKeys * kRowStride;
    SIMT_UNROLL
    for (int f = 0; f < kHeadSize / P::K; ++f) {
      Fragment<P::NY> row[kRowTiles];
      SIMT_UNROLL
      for (int r = 0; r < kRowTiles; ++r) {
        if constexpr (kQueryInShared) {
          P::LoadQuery(shared_->query + (wave_row_ + r * P::Y) * kRowStride + f * P::K, kRowStride,
                       lane_, &row[r]);
        } else {
          row[r] = q.f[f];
        }
      }
      SIMT_UNROLL
      for (int t = 0; t < kKeyTiles; t += P::kTiles) {
        Fragment<P::NX> k[P::kTiles];
        P::LoadKeys(keys + t * P::X * kRowStride + f * P::K, kRowStride, lane_, k);
        SIMT_UNROLL
        for (int j = 0; j < P::kTiles; ++j) {
          SIMT_UNROLL
          for (int r = 0; r < kRowTiles; ++r)
            P::template MultiplyAdd<kMatrix>(k[j], row[r], s.t[r][t + j]);
        }
      }
    }
    if (factor_ <= 0.0f) {  // the largest product would not be the largest score
      MapElements(s, [&](float& x, int, int) { x *= factor_; });
      pending_ = 1.0f;
    }
  }

  template <class F>
  SIMT_METHOD void MapScores(Scores& s, int32_t first, const F& f) {
    first += key_wave_ * kWaveKeys;
    SIMT_UNROLL
    for (int u = 0; u < kSlots; ++u) {
      const auto& row = f.Row(RowOfSlot(u));
      MapElements(s, [&](float& x, int slot, int key) {
        if (slot == u) x = row(x * pending_, first + key);
      });
    }
    pending_ = 1.0f;
  }

  SIMT_METHOD void ScaleKeys(Scores& s) {
    if constexpr (Stages::kBytes) {
      MapElements(
          s, [&](float& x, int, int key) { x *= stages_.KeyScale(key_wave_ * kWaveKeys + key); });
    }
  }
  SIMT_METHOD void ScaleValues(Scores& s) {
    if constexpr (Stages::kBytes) {
      MapElements(
          s, [&](float& x, int, int key) { x *= stages_.ValueScale(key_wave_ * kWaveKeys + key); });
    }
  }

  SIMT_METHOD void MaxOverKeys(Scores& s, RowStats& m) {
    RowStats largest;
    Fill(largest, Ops::kMinusInfinity);
    MapElements(s,
                [&](float& x, int slot, int) { largest.v[slot] = Ops::Max(largest.v[slot], x); });
    SIMT_UNROLL
    for (int u = 0; u < kSlots; ++u) {
      SIMT_UNROLL
      for (int r = 0; r < P::NRED; ++r) {
        largest.v[u] = Ops::Max(largest.v[u], simt::ShuffleXor<P::WAVE>(largest.v[u], P::red(r)));
      }
      m.v[u] = Ops::Max(m.v[u], largest.v[u] * pending_);
    }
  }

  SIMT_METHOD void Exp2(Scores& s, const RowStats& m, const RowStats& factor, RowStats& l) {
    RowStats reference;
    SIMT_UNROLL
    for (int u = 0; u < kSlots; ++u) {
      l.v[u] *= factor.v[u];
      reference.v[u] = Ops::ZeroIfMinusInfinity(m.v[u]);
    }
    MapElements(s, [&](float& x, int slot, int) {
      x = simt::Exp2(x * pending_ - reference.v[slot]);
      l.v[slot] += x;
    });
  }

  template <class F>
  SIMT_METHOD void MapRows(RowStats& a, RowStats& b, const F& f) {
    SIMT_UNROLL
    for (int u = 0; u < kSlots; ++u) f(a.v[u], b.v[u]);
  }

  SIMT_METHOD void ScaleRows(Output& o, const RowStats& factor) {
    bool changed = false;  // maxima settle early in a long row
    SIMT_UNROLL
    for (int u = 0; u < kSlots; ++u) changed = changed || factor.v[u] != 1.0f;
    if (!simt::Any<P::WAVE>(changed)) return;
    SIMT_UNROLL
    for (int r = 0; r < kRowTiles; ++r) {
      SIMT_UNROLL
      for (int t = 0; t < kDimTiles; ++t) {
        SIMT_UNROLL
        for (int e = 0; e < P::NE; ++e) o.t[r][t].v[e] *= factor.v[r * P::SLOTS + P::slot(e)];
      }
    }
  }

  SIMT_METHOD void ProbabilityValue(const Scores& s, Output& o) {
    const int first = key_wave_ * kWaveKeys;
    const uint16_t* values = stages_.Values();
    SIMT_UNROLL
    for (int f = 0; f < kWaveKeys / P::K; ++f) {
      Fragment<P::NY> p[kRowTiles];
      SIMT_UNROLL
      for (int r = 0; r < kRowTiles; ++r) {
        SIMT_UNROLL
        for (int i = 0; i < 2 * P::NY; i += 2) {
          p[r].words[i / 2] = PackPair<kMatrix>(s.t[r][P::p_tile(f, i)].v[P::p_elem(f, i)],
                                                s.t[r][P::p_tile(f, i + 1)].v[P::p_elem(f, i + 1)]);
        }
      }
      SIMT_UNROLL
      for (int t = 0; t < kDimTiles; t += P::kTiles) {
        const int key = first + f * P::K, dim = t * P::X;
        Fragment<P::NX> v[P::kTiles];
        P::LoadValues(
            values + (P::kTransposes ? key * kValueStride + dim : dim * kValueStride + key),
            kValueStride, lane_, v);
        SIMT_UNROLL
        for (int j = 0; j < P::kTiles; ++j) {
          SIMT_UNROLL
          for (int r = 0; r < kRowTiles; ++r)
            P::template MultiplyAdd<kMatrix>(v[j], p[r], o.t[r][t + j]);
        }
      }
    }
  }

  SIMT_METHOD void SumOverLanes(RowStats& l) {
    SIMT_UNROLL
    for (int u = 0; u < kSlots; ++u) {
      SIMT_UNROLL
      for (int r = 0; r < P::NRED; ++r) l.v[u] += simt::ShuffleXor<P::WAVE>(l.v[u], P::red(r));
    }
  }

  SIMT_METHOD void Finish(Output& o, const RowStats& m, const RowStats& l, float scale) {
    if constexpr (kShape.key_waves > 1) {
      MergeWaves(o, m, l, scale);
    } else if constexpr (kGeneral) {
      WriteChunks(o, m, l, scale);
    } else {
      SIMT_UNROLL
      for (int u = 0; u < kSlots; ++u) {
        const int row = RowOfSlot(u);
        if (row >= item_.row_count) continue;
        const float sum = l.v[u];
        // A row that saw no key: 0, not 0 / 0.
        const float inverse = sum != 0.0f ? scale / sum : 0.0f;
        const RowWriter<false> writer(args_, item_, row, kHeadSize);
        SIMT_UNROLL
        for (int t = 0; t < kDimTiles; ++t) {
          SIMT_UNROLL
          for (int e = 0; e < P::NE; e += 2) {
            if (P::slot(e) != u % P::SLOTS) continue;
            const Accumulator<P::NE>& values = o.t[u / P::SLOTS][t];
            writer.Pair(t * P::X + P::cx(lane_, e), values.v[e] * inverse,
                        values.v[e + 1] * inverse);
          }
        }
        if (P::cx(lane_, 0) == 0) writer.Lse(m.v[u], sum);
      }
    }
  }

 private:
  // The item's rows as [row][dim], for all waves.
  SIMT_METHOD void ShareQuery() {
    constexpr int kPieces = kHeadSize / 8;
    const bool aligned = QueryAligned();
    for (int i = simt::Thread(); i < kRows * kPieces; i += kThreads) {
      const int row = i / kPieces, dim = i % kPieces * 8;
      uint16_t* to = shared_->query + row * kRowStride + dim;
      if (aligned) {
        const bool valid = row < item_.row_count;
        const uint16_t* query = static_cast<const uint16_t*>(args_.query);
        simt::CopyAsync16(to, query + (valid ? RowOffset(row) : 0) + dim, valid);
      } else {
        simt::StorePiece(to, {{QueryPair(row, dim, false), QueryPair(row, dim + 2, false),
                               QueryPair(row, dim + 4, false), QueryPair(row, dim + 6, false)}});
      }
    }
  }

  // Whether rows are kHeadSize elements of 16 bits, 16 bytes of which can be copied as one.
  SIMT_METHOD bool QueryAligned() const {
    if (kGeneral &&
        (args_.head_size != kHeadSize || IsByte(static_cast<DType>(args_.query_dtype)))) {
      return false;
    }
    return (reinterpret_cast<uintptr_t>(args_.query) % 16 |
            (args_.query_token_stride | args_.query_head_stride) % 8) == 0;
  }

  // Two neighbours of the query as the matrix instructions take them; rows past the item's end
  // are 0.
  SIMT_METHOD uint32_t QueryPair(int row, int dim, bool aligned) const {
    if (row >= item_.row_count) return 0;
    if constexpr (kGeneral) {
      const DType type = static_cast<DType>(args_.query_dtype);
      const void* from =
          static_cast<const uint8_t*>(args_.query) + RowOffset(row) * (IsByte(type) ? 1 : 2);
      return LoadQueryPair<kMatrix>(type, from, dim, args_.head_size);
    } else {
      const uint16_t* from = static_cast<const uint16_t*>(args_.query) + RowOffset(row) + dim;
      return aligned ? simt::LoadWord(from) : simt::LoadPair(from);
    }
  }

  // f(element, slot, key) for every score; the key counts from the wave's first.
  template <class F>
  SIMT_METHOD void MapElements(Scores& s, const F& f) {
    SIMT_UNROLL
    for (int r = 0; r < kRowTiles; ++r) {
      SIMT_UNROLL
      for (int t = 0; t < kKeyTiles; ++t) {
        SIMT_UNROLL
        for (int e = 0; e < P::NE; ++e) {
          f(s.t[r][t].v[e], r * P::SLOTS + P::slot(e), t * P::X + P::cx(lane_, e));
        }
      }
    }
  }

  // A slot's elements lie in one row.
  SIMT_METHOD int RowOfSlot(int u) const {
    int row = 0;
    SIMT_UNROLL
    for (int e = 0; e < P::NE; ++e) {
      if (P::slot(e) == u % P::SLOTS) row = P::cy(lane_, e);
    }
    return wave_row_ + u / P::SLOTS * P::Y + row;
  }

  // By way of shared memory: the code that writes every type stands there once, not for each
  // element of a lane.
  SIMT_METHOD void WriteChunks(const Output& o, const RowStats& m, const RowStats& l, float scale) {
    simt::WaitForCopies<0>();
    auto& output = shared_->merge.output;
    SIMT_UNROLL
    for (int chunk = 0; chunk < kDimTiles / kChunkTiles; ++chunk) {
      simt::Sync();  // the stages, or the last chunk, are free
      SIMT_UNROLL
      for (int u = 0; u < kSlots; ++u) {
        const float inverse = l.v[u] != 0.0f ? scale / l.v[u] : 0.0f;
        SIMT_UNROLL
        for (int t = 0; t < kChunkTiles; ++t) {
          SIMT_UNROLL
          for (int e = 0; e < P::NE; ++e) {
            if (P::slot(e) != u % P::SLOTS) continue;
            output[RowOfSlot(u)][t * P::X + P::cx(lane_, e)] =
                o.t[u / P::SLOTS][chunk * kChunkTiles + t].v[e] * inverse;
          }
        }
      }
      simt::Sync();
      SIMT_ROLLED
      for (int i = simt::Thread(); i < item_.row_count * (kChunkDims / 2); i += kThreads) {
        const int row = i / (kChunkDims / 2), dim = i % (kChunkDims / 2) * 2;
        const RowWriter<true> writer(args_, item_, row, args_.value_size);
        writer.Pair(chunk * kChunkDims + dim, output[row][dim], output[row][dim + 1]);
      }
    }
    SIMT_UNROLL
    for (int u = 0; u < kSlots; ++u) {
      const int row = RowOfSlot(u);
      if (row >= item_.row_count || P::cx(lane_, 0) != 0) continue;
      RowWriter<true>(args_, item_, row, args_.value_size).Lse(m.v[u], l.v[u]);
    }
  }

  // The waves' shares of each row, weighted by their maxima.
  SIMT_METHOD void MergeWaves(const Output& o, const RowStats& m, const RowStats& l, float scale) {
    simt::WaitForCopies<0>();
    simt::Sync();  // the stages are free
    Merge& merge = shared_->merge;
    SIMT_UNROLL
    for (int u = 0; u < kSlots; ++u) {
      const int row = RowOfSlot(u);
      if (row >= item_.row_count) continue;
      SIMT_UNROLL
      for (int t = 0; t < kDimTiles; ++t) {
        SIMT_UNROLL
        for (int e = 0; e < P::NE; ++e) {
          if (P::slot(e) != u % P::SLOTS) continue;
          merge.output[key_wave_][row][t * P::X + P::cx(lane_, e)] = o.t[u / P::SLOTS][t].v[e];
        }
      }
      if (P::cx(lane_, 0) == 0) {
        merge.maximum[key_wave_][row] = m.v[u];
        merge.sum[key_wave_][row] = l.v[u];
      }
    }
    simt::Sync();
    for (int i = simt::Thread(); i < item_.row_count * (kHeadSize / 2); i += kThreads) {
      const int row = i / (kHeadSize / 2), dim = i % (kHeadSize / 2) * 2;
      float maximum = Ops::kMinusInfinity;
      SIMT_UNROLL
      for (int w = 0; w < kShape.key_waves; ++w) {
        maximum = Ops::Max(maximum, merge.maximum[w][row]);
      }
      const float reference = Ops::ZeroIfMinusInfinity(maximum);
      float sum = 0.0f, low = 0.0f, high = 0.0f;
      SIMT_UNROLL
      for (int w = 0; w < kShape.key_waves; ++w) {
        const float weight = simt::Exp2(merge.maximum[w][row] - reference);
        sum += weight * merge.sum[w][row];
        low += weight * merge.output[w][row][dim];
        high += weight * merge.output[w][row][dim + 1];
      }
      const float inverse = sum != 0.0f ? scale / sum : 0.0f;
      const RowWriter<kGeneral> writer(args_, item_, row, kGeneral ? args_.value_size : kHeadSize);
      writer.Pair(dim, low * inverse, high * inverse);
      if (dim == 0) writer.Lse(maximum, sum);
    }
  }

  // Of a query row, in elements.
  SIMT_METHOD int64_t RowOffset(int row) const {
    const RowPlace place = PlaceOfRow(args_, item_, row);
    return place.token * args_.query_token_stride + place.head * args_.query_head_stride;
  }

  const KernelArgs& args_;
  const WorkItem& item_;
  Shared* shared_;
  int lane_;
  int wave_row_;  // first row of this wave in the item
  int key_wave_;
  Stages stages_;
  float factor_ = 1.0f;
  float pending_ = 1.0f;  // what the scores are still to be multiplied by
};

// One thread block computes one item.
template <class Tiles, Logits kLogits>
SIMT_DEVICE void RunBlock(const KernelArgs& args, const WorkItem* items) {
  // A copy in registers where the copies in the background would have it read anew in every step.
  std::conditional_t<(Tiles::kStages > 1), const WorkItem, const WorkItem&> item =
      items[simt::Block()];
  Tiles tiles(args, item, simt::SharedMemory<typename Tiles::Shared>());
  Attend<Tiles, kLogits>(tiles, args, item);
}

}  // namespace tessera::kernel::lanes
