// The tile policy of GPUs: matrix fragments in the registers of a wave's lanes, K and V staged in
// shared memory for the waves of a block. `P` is one of matrix_policies.h; a block of kWaves waves
// holds kWaves * P::Y rows.
#pragma once

#include "attention/kernel/kernel_args.h"
#include "attention/kernel/key_range.h"
#include "attention/kernel/logits.h"
#include "attention/kernel/matrix_policies.h"
#include "attention/kernel/simt.h"

namespace tessera::kernel::lanes {

#define TESSERA_FN SIMT_METHOD
#include "attention/kernel/paged_attention.inl"
#undef TESSERA_FN

struct LaneOps {
  static constexpr float kMinusInfinity = -__builtin_inff();
  SIMT_DEVICE float Mul(float a, float b) { return a * b; }
  SIMT_DEVICE float Add(float a, float b) { return a + b; }
  SIMT_DEVICE float Sub(float a, float b) { return a - b; }
  SIMT_DEVICE float Exp2(float x) { return simt::Exp2(x); }
  SIMT_DEVICE float Max(float a, float b) { return b > a ? b : a; }
  // 1 - 2 / (e^(2x) + 1): runs into its limits without overflow trouble (infinity gives 1, 0 gives
  // -1).
  SIMT_DEVICE float Tanh(float x) {
    return 1.0f - 2.0f / (simt::Exp2(2.0f * 1.44269504088896340736f * x) + 1.0f);
  }
  SIMT_DEVICE float ZeroIfMinusInfinity(float x) { return x == kMinusInfinity ? 0.0f : x; }
  SIMT_DEVICE float Distance(int32_t key, int32_t position) {
    return static_cast<float>(key - position);
  }
  SIMT_DEVICE float SqrtDistance(int32_t key, int32_t position) {
    return key < position ? simt::Sqrt(static_cast<float>(position - key)) : 0.0f;
  }
  SIMT_DEVICE float AddBias(float s, const float* bias, int32_t key, int32_t first, int32_t count) {
    return key >= first && key - first < count ? s + bias[key - first] : s;
  }
  SIMT_DEVICE float KeepInRange(float s, int32_t key, int32_t begin, int32_t end) {
    return key >= begin && key < end ? s : kMinusInfinity;
  }
};

// bfloat16 queries and cache; output bfloat16 or float32 by kFloatOutput.
template <class P, int kHeadSize, int kStepKeys, int kWaves, bool kFloatOutput>
class SimtTiles {
 public:
  using Ops = LaneOps;
  static constexpr int32_t kKeys = kStepKeys;
  static constexpr int32_t kRows = P::Y * kWaves;
  static constexpr int32_t kThreads = P::WAVE * kWaves;
  static_assert(kHeadSize % P::X == 0 && kHeadSize % P::K == 0);
  static_assert(kStepKeys % P::X == 0 && kStepKeys % P::K == 0);

  // Rows are padded so that lanes that read a column meet different banks.
  struct Shared {
    alignas(16) uint16_t keys[kStepKeys][kHeadSize + 8];
    alignas(16) uint16_t values[kHeadSize][kStepKeys + 4];  // transposed
  };

  struct Query {
    Fragment<P::NY> f[kHeadSize / P::K];
  };
  struct Scores {
    Accumulator<P::NE> t[kStepKeys / P::X];
  };
  struct Output {
    Accumulator<P::NE> t[kHeadSize / P::X];
  };
  struct RowStats {
    float v[P::SLOTS];
  };

  SIMT_METHOD SimtTiles(const KernelArgs& args, const WorkItem& item, Shared* shared)
      : args_(args),
        item_(item),
        shared_(shared),
        lane_(simt::Thread() % P::WAVE),
        wave_row_(simt::Thread() / P::WAVE * P::Y) {}

  SIMT_METHOD void LoadQuery(Query& q, float factor) {
    // bfloat16 could not hold the scaled query exactly, so the scores are scaled instead.
    factor_ = factor;
    SIMT_UNROLL
    for (int f = 0; f < kHeadSize / P::K; ++f) {
      SIMT_UNROLL
      for (int i = 0; i < 2 * P::NY; i += 2) {
        const int row = wave_row_ + P::y(lane_, i);
        const int dim = f * P::K + P::yk(lane_, i);
        q.f[f].words[i / 2] =
            row < item_.row_count
                ? simt::LoadPair(static_cast<const uint16_t*>(args_.query) +
                                 RowOffset(row, args_.query_token_stride, args_.query_head_stride) +
                                 dim)
                : 0u;
      }
    }
  }

  SIMT_METHOD void Zero(Output& o) {
    SIMT_UNROLL
    for (int t = 0; t < kHeadSize / P::X; ++t) {
      SIMT_UNROLL
      for (int e = 0; e < P::NE; ++e) o.t[t].v[e] = 0.0f;
    }
  }

  SIMT_METHOD void Fill(RowStats& stats, float value) {
    SIMT_UNROLL
    for (int u = 0; u < P::SLOTS; ++u) stats.v[u] = value;
  }

  template <class F>
  SIMT_METHOD void FillRows(RowStats& stats, const F& f) {
    SIMT_UNROLL
    for (int u = 0; u < P::SLOTS; ++u) stats.v[u] = f(RowOfSlot(u));
  }

  SIMT_METHOD void LoadKeysValues(int32_t first, int32_t count) {
    simt::Sync();  // the other waves have read the last step's
    constexpr int kPairs = kHeadSize / 2;
    for (int piece = simt::Thread(); piece < kStepKeys * kPairs; piece += kThreads) {
      const int key = piece / kPairs;
      const int dim = piece % kPairs * 2;
      uint32_t k = 0, v = 0;  // what lies past the range may be NaN in memory
      if (key < count) {
        const KeyPlace place = PlaceOfKey(args_, item_, first + key);
        k = simt::LoadPair(static_cast<const uint16_t*>(args_.keys) + place.key + dim);
        v = simt::LoadPair(static_cast<const uint16_t*>(args_.values) + place.value + dim);
      }
      shared_->keys[key][dim] = static_cast<uint16_t>(k);
      shared_->keys[key][dim + 1] = static_cast<uint16_t>(k >> 16);
      shared_->values[dim][key] = static_cast<uint16_t>(v);
      shared_->values[dim + 1][key] = static_cast<uint16_t>(v >> 16);
    }
#if !defined(TESSERA_DROP_STAGING_BARRIER)  // defined only by the test that shows that the emulator
                                            // notices
    simt::Sync();
#endif
  }

  SIMT_METHOD void QueryKey(const Query& q, Scores& s) {
    SIMT_UNROLL
    for (int t = 0; t < kStepKeys / P::X; ++t) {
      SIMT_UNROLL
      for (int e = 0; e < P::NE; ++e) s.t[t].v[e] = 0.0f;
      SIMT_UNROLL
      for (int f = 0; f < kHeadSize / P::K; ++f) {
        Fragment<P::NX> k;
        SIMT_UNROLL
        for (int i = 0; i < 2 * P::NX; i += 2) {
          k.words[i / 2] =
              simt::LoadPair(&shared_->keys[t * P::X + P::x(lane_, i)][f * P::K + P::xk(lane_, i)]);
        }
        P::MultiplyAdd(k, q.f[f], s.t[t]);
      }
      SIMT_UNROLL
      for (int e = 0; e < P::NE; ++e) s.t[t].v[e] *= factor_;
    }
  }

  template <class F>
  SIMT_METHOD void MapScores(Scores& s, int32_t first, const F& f) {
    SIMT_UNROLL
    for (int u = 0; u < P::SLOTS; ++u) {
      const auto& row = f.Row(RowOfSlot(u));
      SIMT_UNROLL
      for (int t = 0; t < kStepKeys / P::X; ++t) {
        SIMT_UNROLL
        for (int e = 0; e < P::NE; ++e) {
          if (P::slot(e) != u) continue;
          s.t[t].v[e] = row(s.t[t].v[e], first + t * P::X + P::cx(lane_, e));
        }
      }
    }
  }

  // Caches with a scale for each token and head are not staged by this policy yet.
  SIMT_METHOD void ScaleKeys(Scores&) {}
  SIMT_METHOD void ScaleValues(Scores&) {}

  SIMT_METHOD void MaxOverKeys(const Scores& s, RowStats& m) {
    SIMT_UNROLL
    for (int t = 0; t < kStepKeys / P::X; ++t) {
      SIMT_UNROLL
      for (int e = 0; e < P::NE; ++e) m.v[P::slot(e)] = Ops::Max(m.v[P::slot(e)], s.t[t].v[e]);
    }
    SIMT_UNROLL
    for (int u = 0; u < P::SLOTS; ++u) {
      SIMT_UNROLL
      for (int r = 0; r < P::NRED; ++r) {
        m.v[u] = Ops::Max(m.v[u], simt::ShuffleXor<P::WAVE>(m.v[u], P::red(r)));
      }
    }
  }

  SIMT_METHOD void Exp2(Scores& s, const RowStats& m, const RowStats& factor, RowStats& l) {
    SIMT_UNROLL
    for (int u = 0; u < P::SLOTS; ++u) l.v[u] *= factor.v[u];
    SIMT_UNROLL
    for (int t = 0; t < kStepKeys / P::X; ++t) {
      SIMT_UNROLL
      for (int e = 0; e < P::NE; ++e) {
        const int u = P::slot(e);
        s.t[t].v[e] = simt::Exp2(s.t[t].v[e] - Ops::ZeroIfMinusInfinity(m.v[u]));
        l.v[u] += s.t[t].v[e];
      }
    }
  }

  template <class F>
  SIMT_METHOD void MapRows(RowStats& a, RowStats& b, const F& f) {
    SIMT_UNROLL
    for (int u = 0; u < P::SLOTS; ++u) f(a.v[u], b.v[u]);
  }

  SIMT_METHOD void ScaleRows(Output& o, const RowStats& factor) {
    SIMT_UNROLL
    for (int t = 0; t < kHeadSize / P::X; ++t) {
      SIMT_UNROLL
      for (int e = 0; e < P::NE; ++e) o.t[t].v[e] *= factor.v[P::slot(e)];
    }
  }

  SIMT_METHOD void ProbabilityValue(const Scores& s, Output& o) {
    SIMT_UNROLL
    for (int f = 0; f < kStepKeys / P::K; ++f) {
      Fragment<P::NY> p;
      SIMT_UNROLL
      for (int i = 0; i < 2 * P::NY; i += 2) {
        p.words[i / 2] = simt::PackBFloat16(s.t[P::p_tile(f, i)].v[P::p_elem(f, i)],
                                            s.t[P::p_tile(f, i + 1)].v[P::p_elem(f, i + 1)]);
      }
      SIMT_UNROLL
      for (int t = 0; t < kHeadSize / P::X; ++t) {
        Fragment<P::NX> v;
        SIMT_UNROLL
        for (int i = 0; i < 2 * P::NX; i += 2) {
          v.words[i / 2] = simt::LoadPair(
              &shared_->values[t * P::X + P::x(lane_, i)][f * P::K + P::xk(lane_, i)]);
        }
        P::MultiplyAdd(v, p, o.t[t]);
      }
    }
  }

  SIMT_METHOD void SumOverLanes(RowStats& l) {
    SIMT_UNROLL
    for (int u = 0; u < P::SLOTS; ++u) {
      SIMT_UNROLL
      for (int r = 0; r < P::NRED; ++r) l.v[u] += simt::ShuffleXor<P::WAVE>(l.v[u], P::red(r));
    }
  }

  SIMT_METHOD void Finish(Output& o, const RowStats& m, const RowStats& l, float scale) {
    constexpr float kLn2 = 0.69314718055994530942f;
    SIMT_UNROLL
    for (int t = 0; t < kHeadSize / P::X; ++t) {
      SIMT_UNROLL
      for (int e = 0; e < P::NE; ++e) {
        const int row = wave_row_ + P::cy(lane_, e);
        if (row >= item_.row_count) continue;
        const int dim = t * P::X + P::cx(lane_, e);
        const float sum = l.v[P::slot(e)];
        const bool saw_key = sum != 0.0f;
        Store(row, dim, saw_key ? o.t[t].v[e] * scale / sum : 0.0f);
        if (dim == 0) {
          StoreLse(row, saw_key ? (m.v[P::slot(e)] + simt::Log2(sum)) * kLn2 : Ops::kMinusInfinity);
        }
      }
    }
  }

 private:
  // A slot's elements lie in one row.
  SIMT_METHOD int RowOfSlot(int u) const {
    int row = 0;
    SIMT_UNROLL
    for (int e = 0; e < P::NE; ++e) {
      if (P::slot(e) == u) row = P::cy(lane_, e);
    }
    return wave_row_ + row;
  }
  SIMT_METHOD int64_t Token(int row) const {
    return int64_t{RowsOf(args_, item_).first_token} + (item_.row_begin + row) / args_.group;
  }
  SIMT_METHOD int64_t Head(int row) const {
    return int64_t{item_.kv_head} * args_.group + (item_.row_begin + row) % args_.group;
  }
  SIMT_METHOD int64_t RowOffset(int row, int64_t token_stride, int64_t head_stride) const {
    return Token(row) * token_stride + Head(row) * head_stride;
  }
  SIMT_METHOD void Store(int row, int dim, float value) const {
    if (item_.partial_row >= 0) {
      args_.partial_output[(item_.partial_row + row) * kHeadSize + dim] = value;
      return;
    }
    const int64_t offset =
        RowOffset(row, args_.output_token_stride, args_.output_head_stride) + dim;
    if constexpr (kFloatOutput) {
      static_cast<float*>(args_.output)[offset] = value;
    } else {
      static_cast<uint16_t*>(args_.output)[offset] =
          static_cast<uint16_t>(simt::BFloat16Bits(value));
    }
  }
  SIMT_METHOD void StoreLse(int row, float lse) const {
    if (item_.partial_row >= 0) {
      args_.partial_lse[item_.partial_row + row] = lse;
    } else if (args_.lse != nullptr) {
      args_.lse[Token(row) * args_.num_heads + Head(row)] = lse;
    }
  }

  const KernelArgs& args_;
  const WorkItem& item_;
  Shared* shared_;
  int lane_;
  int wave_row_;  // first row of this wave in the item
  float factor_ = 1.0f;
};

// One thread block computes one item.
template <class Tiles, Logits kLogits>
SIMT_DEVICE void RunBlock(const KernelArgs& args, const WorkItem* items) {
  SIMT_SHARED typename Tiles::Shared shared;
  const WorkItem item = items[simt::Block()];
  Tiles tiles(args, item, &shared);
  Attend<Tiles, kLogits>(tiles, args, item);
}

}  // namespace tessera::kernel::lanes
