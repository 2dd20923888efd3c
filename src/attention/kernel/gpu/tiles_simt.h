// The tile policy of GPUs: matrix fragments in the registers of a wave's lanes, K and V staged in
// shared memory for the waves of a block. `P` is one of matrix_policies.h.
//
// The waves of a block divide its rows, or the keys of each step, or both (BlockShape): prompts
// have rows enough for all of them, a decoded token has a handful of rows, whose keys they share
// out. In the latter case each wave has statistics and an output of its own, merged in Finish().
#pragma once

#include <cstdint>
#include <type_traits>

#include "attention/kernel/gpu/block_shapes.h"
#include "attention/kernel/gpu/byte_fragments.h"
#include "attention/kernel/gpu/key_value_stages.h"
#include "attention/kernel/gpu/lane_elements.h"
#include "attention/kernel/gpu/lane_ops.h"
#include "attention/kernel/gpu/matrix_policies.h"
#include "attention/kernel/gpu/query_rows.h"
#include "attention/kernel/gpu/row_writer.h"
#include "attention/kernel/item_rows.h"
#include "attention/kernel/kernel_args.h"
#include "attention/kernel/logits.h"
#include "attention/kernel/tiles.h"
#include "device/gpu/simt.h"
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
  static constexpr bool kReadsBytes = Stages::kReadsBytes;
  static constexpr DType kQueryType = MatrixType(kCache);  // as they are loaded
  static constexpr DType kMatrix = kReadsBytes ? DType::kFloat16 : kQueryType;
  static_assert(kGeneral || kCache == DType::kBFloat16);
  static constexpr int kWaveKeys = kShape.wave_keys;
  static constexpr int kRowTiles = kShape.row_tiles;
  static constexpr int kWaveRows = P::Y * kRowTiles;
  static constexpr int kSlots = P::SLOTS * kRowTiles;
  static constexpr int kKeyTiles = kWaveKeys / P::X;
  static constexpr int kDimTiles = kHeadSize / P::X;
  // Where it would leave too few registers: AMD's wide waves have twice as many.
  static constexpr bool kQueryInShared = kRowTiles > 1 ||
                                         (P::WAVE == 32 &&
                                          kHeadSize / P::K * P::kOperandWords > 32);
  static_assert(!kReadsBytes || (kRowTiles == 1 && kShape.key_waves > 1 && !kQueryInShared));
  static constexpr int kRowStride = Stages::kRowStride;
  static constexpr int kValueStride = Stages::kValueStride;

 public:
  using Ops = LaneOps;
  static constexpr int kStages = kShape.stages;
  // Without copies in the background, a step's places are looked up ahead all the same.
  static constexpr int32_t kAhead = kStages > 1 ? kStages - 1 : 1;
  static constexpr int32_t kKeys = Stages::kKeys;
  static constexpr float kUnit = 1.0f;
  static constexpr bool kFewRows = kShape.key_waves > 1;  // waves share them, and divide the keys
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
    while (dims / 2 % P::X == 0 && kRows * dims * sizeof(float) > bytes) dims /= 2;
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
    float factor[kReadsBytes ? kSlots : 1];  // that the scores are still to be multiplied by
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
  // What must be there before the wait for earlier kernels.
  SIMT_METHOD int32_t FirstBlock() const { return stages_.FirstBlock(); }

  SIMT_METHOD void Fetch(int32_t left) { stages_.Fetch(left); }
  SIMT_METHOD void Deposit(int32_t left) {
    stages_.Deposit(left);
    // Only scores that nobody has scaled yet carry the factor with them.
    pending_ = factor_;
  }

  SIMT_METHOD void FetchQuery() {
    if constexpr (kQueryInShared) {
      const QueryRows<kQueryType, kHeadSize, kGeneral> rows(args_, item_);
      rows.Share(kRows, kThreads, shared_->query, kRowStride);
    }
  }
  SIMT_METHOD void LoadQuery(Query& q, float factor) {
    // bfloat16 could not hold the scaled query exactly, so the scores are scaled instead.
    factor_ = factor;
    if constexpr (!kQueryInShared) {
      const QueryRows<kQueryType, kHeadSize, kGeneral> rows(args_, item_);
      SIMT_UNROLL
      for (int f = 0; f < kHeadSize / P::K; ++f) {
        SIMT_UNROLL
        for (int i = 0; i < 2 * P::NY; i += 2) {
          const int k = kReadsBytes ? DimOfK(P::yk(lane_, i)) : P::yk(lane_, i);
          q.f[f].words[i / 2] = rows.Pair(wave_row_ + P::y(lane_, i), f * P::K + k);
        }
      }
      if constexpr (kReadsBytes) QueryToHalves(q);
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

  SIMT_METHOD void Zero(RowStats& stats) {
    SIMT_UNROLL
    for (int u = 0; u < kSlots; ++u) stats.v[u] = 0.0f;
  }

  SIMT_METHOD void StartMaximum(RowStats& m) {
    SIMT_UNROLL
    for (int u = 0; u < kSlots; ++u) m.v[u] = Ops::kMinusInfinity;
    if (!CountsSinks(args_, item_) || key_wave_ != 0) return;
    SIMT_UNROLL
    for (int u = 0; u < kSlots; ++u) m.v[u] = SinkOfRow(args_, item_, RowOfSlot(u));
  }

  SIMT_METHOD void QueryKey(const Query& q, Scores& s) {
    if constexpr (Stages::kWidens) stages_.Widen();
    SIMT_UNROLL
    for (int r = 0; r < kRowTiles; ++r) {
      SIMT_UNROLL
      for (int t = 0; t < kKeyTiles; ++t) {
        SIMT_UNROLL
        for (int e = 0; e < P::NE; ++e) s.t[r][t].v[e] = 0.0f;
      }
    }
    if constexpr (kReadsBytes) {
      MultiplyByteKeys(q, s);
    } else {
      MultiplyKeys(q, s);
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
      // A mask leaves the factor pending, so that a score is rounded alike with one and without.
      MapElements(s, [&](float& x, int slot, int key) {
        if (slot == u) x = row(F::kMasks ? x : x * pending_, first + key);
      });
    }
    if (!F::kMasks) pending_ = 1.0f;
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
    SIMT_UNROLL
    for (int u = 0; u < kSlots; ++u) largest.v[u] = Ops::kMinusInfinity;
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

  SIMT_METHOD void Correct(RowStats& old_to_factor, const RowStats& m) {
    SIMT_UNROLL
    for (int u = 0; u < kSlots; ++u) {
      old_to_factor.v[u] = Correction<Ops>(old_to_factor.v[u], m.v[u]);
    }
  }

  SIMT_METHOD void Probabilities(Scores& s, const RowStats& m, const RowStats& factor,
                                 RowStats& l) {
    RowStats reference;
    SIMT_UNROLL
    for (int u = 0; u < kSlots; ++u) {
      l.v[u] *= factor.v[u];
      reference.v[u] = Reference<Ops>(m.v[u]);
    }
    MapElements(s, [&](float& x, int slot, int) {
      x = Probability<Ops>(x, pending_, reference.v[slot]);
      l.v[slot] += x;
    });
  }

  SIMT_METHOD void AddRows(RowStats& sum, const RowStats& x) {
    SIMT_UNROLL
    for (int u = 0; u < kSlots; ++u) sum.v[u] = Ops::Add(sum.v[u], x.v[u]);
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
    if constexpr (!kReadsBytes) {
      MultiplyValues<kMatrix>(s, o);
    } else if (args_.value_scale_offset == 0) {
      MultiplyValues<DType::kFloat16>(s, o);
    } else {  // probabilities carry the values' scales, for which float16 may be too small
      MultiplyValues<DType::kBFloat16>(s, o);
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
        const float factor = OutputFactor<Ops>(l.v[u], scale);
        const RowWriter<false> writer(args_, item_, row, kHeadSize);
        SIMT_UNROLL
        for (int t = 0; t < kDimTiles; ++t) {
          SIMT_UNROLL
          for (int e = 0; e < P::NE; e += 2) {
            if (P::slot(e) != u % P::SLOTS) continue;
            const Accumulator<P::NE>& values = o.t[u / P::SLOTS][t];
            writer.Pair(t * P::X + P::cx(lane_, e), values.v[e] * factor, values.v[e + 1] * factor);
          }
        }
        if (P::cx(lane_, 0) == 0) writer.Lse(m.v[u], l.v[u]);
      }
    }
  }

 private:
  // From bfloat16, each row by a factor that lets float16 hold it.
  SIMT_METHOD void QueryToHalves(Query& q) {
    RowStats largest = {};
    const auto for_each_pair = [&](const auto& f) {
      SIMT_UNROLL
      for (int k = 0; k < kHeadSize / P::K; ++k) {
        SIMT_UNROLL
        for (int i = 0; i < P::NY; ++i) {
          const uint32_t pair = q.f[k].words[i];
          f(q.f[k].words[i], P::slot_of_row(i), simt::FromBits(pair << 16),
            simt::FromBits(pair & 0xffff0000u));
        }
      }
    };
    for_each_pair([&](uint32_t&, int slot, float low, float high) {
      const float pair = Ops::Max(low < 0 ? -low : low, high < 0 ? -high : high);
      largest.v[slot] = Ops::Max(largest.v[slot], pair);
    });
    RowStats scale;
    SIMT_UNROLL
    for (int u = 0; u < kSlots; ++u) {
      SIMT_UNROLL
      for (int r = 0; r < P::NRED; ++r) {
        largest.v[u] = Ops::Max(largest.v[u], simt::ShuffleXor<P::WAVE>(largest.v[u], P::red(r)));
      }
      scale.v[u] = ScaleToHalves(largest.v[u]);
      q.factor[u] = 1.0f / scale.v[u];
    }
    for_each_pair([&](uint32_t& word, int slot, float low, float high) {
      word = PackPair<kMatrix>(low * scale.v[slot], high * scale.v[slot]);
    });
  }

  SIMT_METHOD void LoadQueryRows(const Query& q, int f, Fragment<P::NY>* row) {
    SIMT_UNROLL
    for (int r = 0; r < kRowTiles; ++r) {
      if constexpr (kQueryInShared) {
        P::LoadQuery(shared_->query + (wave_row_ + r * P::Y) * kRowStride + f * P::K, kRowStride,
                     lane_, &row[r]);
      } else {
        row[r] = q.f[f];
      }
    }
  }

  SIMT_METHOD void MultiplyKeys(const Query& q, Scores& s) {
    const uint16_t* keys = stages_.Keys() + key_wave_ * kWaveKeys * kRowStride;
    SIMT_UNROLL
    for (int f = 0; f < kHeadSize / P::K; ++f) {
      Fragment<P::NY> row[kRowTiles];
      LoadQueryRows(q, f, row);
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
  }

  SIMT_METHOD void MultiplyByteKeys(const Query& q, Scores& s) {
    constexpr int kStride = Stages::kByteStride;
    const uint8_t* keys = stages_.KeyBytes() + key_wave_ * kWaveKeys * kStride;
    SIMT_UNROLL
    for (int f = 0; f < kHeadSize / P::K; f += 2) {
      SIMT_UNROLL
      for (int t = 0; t < kKeyTiles; t += 2) {
        Fragment<P::NX> k[2][2];
        LoadByteKeys<P, kCache>(keys + t * P::X * kStride + f * P::K, kStride, lane_, k);
        SIMT_UNROLL
        for (int j = 0; j < 4; ++j)
          P::template MultiplyAdd<kMatrix>(k[j / 2][j % 2], q.f[f + j / 2], s.t[0][t + j % 2]);
      }
    }
    MapElements(s, [&](float& x, int slot, int) { x *= q.factor[slot]; });
  }

  template <DType kType>
  SIMT_METHOD void MultiplyValues(const Scores& s, Output& o) {
    SIMT_UNROLL
    for (int f = 0; f < kWaveKeys / P::K; ++f) {
      Fragment<P::NY> p[kRowTiles];
      SIMT_UNROLL
      for (int r = 0; r < kRowTiles; ++r) {
        SIMT_UNROLL
        for (int i = 0; i < 2 * P::NY; i += 2) {
          p[r].words[i / 2] = PackPair<kType>(s.t[r][P::p_tile(f, i)].v[P::p_elem(f, i)],
                                              s.t[r][P::p_tile(f, i + 1)].v[P::p_elem(f, i + 1)]);
        }
      }
      constexpr int kTiles = kReadsBytes ? 4 : P::kTiles;
      SIMT_UNROLL
      for (int t = 0; t < kDimTiles; t += kTiles) {
        Fragment<P::NX> v[kTiles];
        LoadValues<kType>(key_wave_ * kWaveKeys + f * P::K, t * P::X, v);
        SIMT_UNROLL
        for (int j = 0; j < kTiles; ++j) {
          SIMT_UNROLL
          for (int r = 0; r < kRowTiles; ++r)
            P::template MultiplyAdd<kType>(v[j], p[r], o.t[r][t + j]);
        }
      }
    }
  }

  // Of K keys from `key` on, dims from `dim` on.
  template <DType kType>
  SIMT_METHOD void LoadValues(int key, int dim, Fragment<P::NX>* v) {
    if constexpr (kReadsBytes) {
      constexpr int kStride = Stages::kByteStride;
      LoadByteValues<P, kCache, kType>(stages_.ValueBytes() + key * kStride + dim, kStride, lane_,
                                       v);
    } else {
      const int place = P::kTransposes ? key * kValueStride + dim : dim * kValueStride + key;
      P::LoadValues(stages_.Values() + place, kValueStride, lane_, v);
    }
  }

  // Where element x of a tile of the output belongs.
  SIMT_METHOD static int DimOf(int tile, int x) {
    return kReadsBytes ? DimOfTile<P>(tile, x) : tile * P::X + x;
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
        const float factor = OutputFactor<Ops>(l.v[u], scale);
        SIMT_UNROLL
        for (int t = 0; t < kChunkTiles; ++t) {
          SIMT_UNROLL
          for (int e = 0; e < P::NE; ++e) {
            if (P::slot(e) != u % P::SLOTS) continue;
            output[RowOfSlot(u)][t * P::X + P::cx(lane_, e)] =
                o.t[u / P::SLOTS][chunk * kChunkTiles + t].v[e] * factor;
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
          merge.output[key_wave_][row][DimOf(t, P::cx(lane_, e))] = o.t[u / P::SLOTS][t].v[e];
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
      float low = 0.0f, high = 0.0f;
      const SoftmaxState<Ops> state = MergeParts<Ops>(
          kShape.key_waves, 1.0f,
          [&](int w) {
            return SoftmaxState<Ops>{merge.maximum[w][row], merge.sum[w][row]};
          },
          [&](int w, float weight) {
            low += weight * merge.output[w][row][dim];
            high += weight * merge.output[w][row][dim + 1];
          });
      const float factor = OutputFactor<Ops>(state.sum, scale);
      const RowWriter<kGeneral> writer(args_, item_, row, kGeneral ? args_.value_size : kHeadSize);
      writer.Pair(dim, low * factor, high * factor);
      if (dim == 0) writer.Lse(state.maximum, state.sum);
    }
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

// One thread block computes one item; none, if the item is an unused entry of the list. With few
// rows, which are all latency, it is for a SIMT_EARLY_KERNEL and looks up where the first keys lie
// while the kernel before ends. With many that would only take registers.
template <Tiles T, Logits kLogits>
SIMT_DEVICE void RunBlock(const KernelArgs& args, const WorkItem* items) {
  const WorkItem* const planned = items + simt::Block();
  if (planned->row_count == 0) {
    if constexpr (T::kFewRows) simt::WaitForEarlier();
    return;
  }
  // A copy in registers where the copies in the background would read it again in every step.
  WorkItem item = *planned;
  const WorkItem fitted = FitToLengths(args, item);
  item.key_begin = simt::Uniform(fitted.key_begin);
  item.key_end = simt::Uniform(fitted.key_end);
  T tiles(args, item, simt::SharedMemory<typename T::Shared>());
  if constexpr (T::kFewRows) simt::WaitForEarlier(tiles.FirstBlock());
  Attend<T, kLogits>(tiles, args, item);
}

}  // namespace tessera::kernel::lanes
