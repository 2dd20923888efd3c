// The tile policy of GPUs: matrix fragments in the registers of a wave's lanes, K and V staged in
// shared memory for the waves of a block. `P` is one of matrix_policies.h.
//
// The waves of a block divide its rows, or the keys of each step, or both (BlockShape): prompts
// have rows enough for all of them, a decoded token has a handful of rows, whose keys they share
// out. In the latter case each wave has statistics and an output of its own, merged in Finish().
//
// Where the machine copies in the background, K and V of the next steps are on their way while one
// is computed: step i + kStages - 1 is requested when step i begins, and the block table is
// read for the step behind that.
#pragma once

#include <cstdint>
#include <type_traits>

#include "attention/kernel/block_shapes.h"
#include "attention/kernel/kernel_args.h"
#include "attention/kernel/key_range.h"
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

// bfloat16 queries and cache; output bfloat16 or float32.
template <class P, int kHeadSize, BlockShape kShape>
class SimtTiles {
  static constexpr int kWaveKeys = kShape.wave_keys;
  static constexpr int kRowTiles = kShape.row_tiles;
  static constexpr int kWaveRows = P::Y * kRowTiles;
  static constexpr int kSlots = P::SLOTS * kRowTiles;
  static constexpr int kKeyTiles = kWaveKeys / P::X;
  static constexpr int kDimTiles = kHeadSize / P::X;
  static constexpr bool kQueryInShared = kRowTiles > 1;
  // Rows are padded so that lanes that read a column meet different banks.
  static constexpr int kRowStride = kHeadSize + 8;

 public:
  using Ops = LaneOps;
  static constexpr int kStages = kShape.stages;
  static constexpr int32_t kKeys = kWaveKeys * kShape.key_waves;
  static constexpr float kUnit = 1.0f;
  static constexpr int32_t kRows = kWaveRows * kShape.row_waves;
  static constexpr int32_t kThreads = P::WAVE * kShape.row_waves * kShape.key_waves;
  static_assert(kHeadSize % (P::X * P::kTiles) == 0 && kHeadSize % P::K == 0);
  static_assert(kWaveKeys % (P::X * P::kTiles) == 0 && kWaveKeys % P::K == 0);
  static_assert(kKeys <= kThreads);

 private:
  static constexpr int kValueRows = P::kTransposes ? kKeys : kHeadSize;
  static constexpr int kValueStride = P::kTransposes ? kRowStride : kKeys + 4;
  struct Stage {
    alignas(16) uint16_t keys[kKeys * kRowStride];
    alignas(16) uint16_t values[kValueRows * kValueStride];
  };
  struct Merge {  // of key waves
    float output[kShape.key_waves][kRows][kHeadSize];
    float maximum[kShape.key_waves][kRows];
    float sum[kShape.key_waves][kRows];
  };
  struct NoMerge {};

 public:
  struct Shared {
    union {
      Stage stages[kStages];
      std::conditional_t<(kShape.key_waves > 1), Merge, NoMerge> merge;
    };
    KeyPlace places[kStages][kKeys];
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
        aligned_((reinterpret_cast<uintptr_t>(args.keys) % 16 |
                  reinterpret_cast<uintptr_t>(args.values) % 16 |
                  (args.block_stride | args.key_head_stride | args.key_token_stride |
                   args.value_head_stride | args.value_token_stride) %
                      8) == 0) {}

  SIMT_METHOD void LoadQuery(Query& q, float factor) {
    // bfloat16 could not hold the scaled query exactly, so the scores are scaled instead.
    factor_ = factor;
    const bool aligned = (reinterpret_cast<uintptr_t>(args_.query) % 16 |
                          (args_.query_token_stride | args_.query_head_stride) % 8) == 0;
    const uint16_t* query = static_cast<const uint16_t*>(args_.query);
    if constexpr (kQueryInShared) {
      for (int i = simt::Thread(); i < kRows * kPieces; i += kThreads) {
        const int row = i / kPieces, dim = i % kPieces * 8;
        const bool valid = row < item_.row_count;
        const int64_t offset =
            valid ? RowOffset(row, args_.query_token_stride, args_.query_head_stride) : 0;
        uint16_t* to = shared_->query + row * kRowStride + dim;
        if (aligned) {
          simt::CopyAsync16(to, query + offset + dim, valid);
        } else {
          simt::StorePiece(to,
                           valid ? simt::LoadUnalignedPiece(query + offset + dim) : simt::Piece{});
        }
      }
    }
    Begin();
    if constexpr (!kQueryInShared) {
      SIMT_UNROLL
      for (int f = 0; f < kHeadSize / P::K; ++f) {
        SIMT_UNROLL
        for (int i = 0; i < 2 * P::NY; i += 2) {
          const int row = wave_row_ + P::y(lane_, i);
          const uint16_t* from = query +
                                 RowOffset(row, args_.query_token_stride, args_.query_head_stride) +
                                 f * P::K + P::yk(lane_, i);
          uint32_t word = 0;
          if (row < item_.row_count) word = aligned ? simt::LoadWord(from) : simt::LoadPair(from);
          q.f[f].words[i / 2] = word;
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
    if constexpr (kStages > 1) simt::WaitForCopies<kStages - 2>();
    PublishPlaces();
#if !defined(TESSERA_DROP_STAGING_BARRIER)  // defined only by the test that shows that the emulator
                                            // notices
    // Everybody's part of this step has arrived, and nobody reads the last step's any more.
    simt::Sync();
#endif
    const int32_t left = item_.key_end - first - (kStages - 1) * kKeys;
    CopyStep(left);
    FindPlaces(left - kKeys);
    if constexpr (kStages == 1) simt::Sync();
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
    const uint16_t* keys = shared_->stages[next_stage_].keys + key_wave_ * kWaveKeys * kRowStride;
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
          for (int r = 0; r < kRowTiles; ++r) P::MultiplyAdd(k[j], row[r], s.t[r][t + j]);
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

  // Caches with a scale for each token and head are not staged by this policy yet.
  SIMT_METHOD void ScaleKeys(Scores&) {}
  SIMT_METHOD void ScaleValues(Scores&) {}

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
    const uint16_t* values = shared_->stages[next_stage_].values;
    SIMT_UNROLL
    for (int f = 0; f < kWaveKeys / P::K; ++f) {
      Fragment<P::NY> p[kRowTiles];
      SIMT_UNROLL
      for (int r = 0; r < kRowTiles; ++r) {
        SIMT_UNROLL
        for (int i = 0; i < 2 * P::NY; i += 2) {
          p[r].words[i / 2] =
              simt::PackBFloat16(s.t[r][P::p_tile(f, i)].v[P::p_elem(f, i)],
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
          for (int r = 0; r < kRowTiles; ++r) P::MultiplyAdd(v[j], p[r], o.t[r][t + j]);
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
    } else {
      SIMT_UNROLL
      for (int u = 0; u < kSlots; ++u) {
        const int row = RowOfSlot(u);
        if (row >= item_.row_count) continue;
        const float sum = l.v[u];
        // A row that saw no key: 0, not 0 / 0.
        const float inverse = sum != 0.0f ? scale / sum : 0.0f;
        const RowWriter writer(args_, item_, row, kHeadSize);
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
  static constexpr int kPieces = kHeadSize / 8;  // 16 bytes each, of a row of K or V
  static constexpr int kCopies = (kKeys * kPieces + kThreads - 1) / kThreads;  // by each thread

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

  // Requests the item's first steps.
  SIMT_METHOD void Begin() {
    int32_t left = item_.key_end - item_.key_begin;
    FindPlaces(left);
    SIMT_UNROLL
    for (int stage = 1; stage < kStages; ++stage) {
      PublishPlaces();
      simt::Sync();
      CopyStep(left);
      left -= kKeys;
      FindPlaces(left);
    }
  }

  // Each of the first kKeys threads looks up one key of the step that begins where `left` keys of
  // the item are left. What it finds is used a step later only: nobody waits for the block table.
  SIMT_METHOD void FindPlaces(int32_t left) {
    if (simt::Thread() < kKeys && simt::Thread() < left) {
      found_ = FindKey(args_, item_, item_.key_end - left + simt::Thread());
    }
  }
  SIMT_METHOD void PublishPlaces() {
    if (simt::Thread() < kKeys) {
      shared_->places[next_stage_][simt::Thread()] = PlaceOf(args_, item_, found_);
    }
  }

  // Copies the step whose places were published: its first `count` keys. Keys past the item's end
  // become zeros: there may be NaN in memory.
  SIMT_METHOD void CopyStep(int32_t count) {
    Stage* stage = shared_->stages + next_stage_;
    const KeyPlace* places = shared_->places[next_stage_];
    if (aligned_) {
      KeyPlace place[kCopies];  // read together, not each one when its turn comes
      SIMT_UNROLL
      for (int i = 0; i < kCopies; ++i) place[i] = places[KeyOfPiece(i) % kKeys];
      SIMT_UNROLL
      for (int i = 0; i < kCopies; ++i) CopyPieces<true>(stage, i, place[i], count);
      if constexpr (!P::kTransposes) {
        SIMT_UNROLL
        for (int i = 0; i < (kCopies + 1) / 2; ++i) TransposePieces<true>(stage, i, count);
      }
    } else {
      SIMT_ROLLED
      for (int i = 0; i < kCopies; ++i) {
        CopyPieces<false>(stage, i, places[KeyOfPiece(i) % kKeys], count);
        if (!P::kTransposes) TransposePieces<false>(stage, i, count);
      }
    }
    simt::CommitCopies();
    next_stage_ = next_stage_ + 1 == kStages ? 0 : next_stage_ + 1;
  }

  // A step is kKeys * kPieces pieces; the thread's i-th one is:
  SIMT_METHOD static unsigned PieceOf(int i) {
    return static_cast<unsigned>(i * kThreads + simt::Thread());
  }
  SIMT_METHOD static int KeyOfPiece(int i) { return static_cast<int>(PieceOf(i) / kPieces); }

  template <bool kAligned>
  SIMT_METHOD void CopyPieces(Stage* stage, int i, const KeyPlace& place, int count) {
    const int key = KeyOfPiece(i), dim = static_cast<int>(PieceOf(i) % kPieces * 8);
    if (kKeys * kPieces % kThreads != 0 && key >= kKeys) return;
    CopyPiece<kAligned>(stage->keys + key * kRowStride + dim,
                        static_cast<const uint16_t*>(args_.keys) + dim + place.key, key < count);
    if constexpr (P::kTransposes) {
      CopyPiece<kAligned>(stage->values + key * kRowStride + dim,
                          static_cast<const uint16_t*>(args_.values) + dim + place.value,
                          key < count);
    }
  }

  // Pieces of V at the same dims of two neighbouring keys become eight words of V transposed. Four
  // lanes read 64 bytes of a row.
  template <bool kAligned>
  SIMT_METHOD void TransposePieces(Stage* stage, int i, int count) {
    const unsigned piece = PieceOf(i);
    if (piece >= kKeys * kPieces / 2) return;
    const int key = static_cast<int>(piece / 4 % (kKeys / 2) * 2);
    const int dim = static_cast<int>(piece % 4 + piece / (2 * kKeys) * 4) * 8;
    const KeyPlace* places = shared_->places[next_stage_] + key;
    const uint16_t* values = static_cast<const uint16_t*>(args_.values) + dim;
    const simt::Piece a = ReadPiece<kAligned>(values + places[0].value, key < count);
    const simt::Piece b = ReadPiece<kAligned>(values + places[1].value, key + 1 < count);
    uint16_t* to = stage->values + dim * kValueStride + key;
    SIMT_UNROLL
    for (int w = 0; w < 4; ++w) {
      simt::StoreWord(to + 2 * w * kValueStride, (a.words[w] & 0xffffu) | (b.words[w] << 16));
      simt::StoreWord(to + (2 * w + 1) * kValueStride,
                      (a.words[w] >> 16) | (b.words[w] & 0xffff0000u));
    }
  }

  template <bool kAligned>
  SIMT_METHOD static void CopyPiece(uint16_t* to, const uint16_t* from, bool valid) {
    if constexpr (kAligned) {
      simt::CopyAsync16(to, from, valid);
    } else {
      simt::StorePiece(to, ReadPiece<false>(from, valid));
    }
  }
  template <bool kAligned>
  SIMT_METHOD static simt::Piece ReadPiece(const uint16_t* from, bool valid) {
    if (!valid) return simt::Piece{};
    return kAligned ? simt::LoadPiece(from) : simt::LoadUnalignedPiece(from);
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
      const RowWriter writer(args_, item_, row, kHeadSize);
      writer.Pair(dim, low * inverse, high * inverse);
      if (dim == 0) writer.Lse(maximum, sum);
    }
  }

  SIMT_METHOD int64_t RowOffset(int row, int64_t token_stride, int64_t head_stride) const {
    const RowPlace place = PlaceOfRow(args_, item_, row);
    return place.token * token_stride + place.head * head_stride;
  }

  const KernelArgs& args_;
  const WorkItem& item_;
  Shared* shared_;
  KeyInBlock found_ = {0, 0};  // to be published next
  int lane_;
  int wave_row_;  // first row of this wave in the item
  int key_wave_;
  bool aligned_;        // rows of K and V begin at multiples of 16 bytes
  int next_stage_ = 0;  // to be copied into next, which until then is the one that is computed
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
