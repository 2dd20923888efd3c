// The scalar tile policy: one lane, one number at a time, any C++ compiler. The slow twin of the
// vector policy.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "attention/kernel/cpu/wide_memory.h"
#include "attention/kernel/element.h"
#include "attention/kernel/kernel_args.h"
#include "attention/kernel/key_range.h"
#include "attention/kernel/logits.h"

namespace tessera::kernel::scalar {

#define TESSERA_FN inline
#include "attention/kernel/paged_attention.inl"
#undef TESSERA_FN

struct ScalarOps {
  static constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
  static float Mul(float a, float b) { return a * b; }
  static float Add(float a, float b) { return a + b; }
  static float Tanh(float x) { return std::tanh(x); }
  static float Sub(float a, float b) { return a - b; }
  static float Exp2(float x) { return std::exp2(x); }
  static float ZeroIfMinusInfinity(float x) { return x == kMinusInfinity ? 0.0f : x; }
  static float Distance(int32_t key, int32_t position) {
    return static_cast<float>(key - position);
  }
  static float SqrtDistance(int32_t key, int32_t position) {
    return key < position ? std::sqrt(static_cast<float>(position - key)) : 0.0f;
  }
  static float AddBias(float s, const float* bias, int32_t key, int32_t first, int32_t count) {
    return key >= first && key - first < count ? s + bias[key - first] : s;
  }
  static float KeepInRange(float s, int32_t key, int32_t begin, int32_t end) {
    return key >= begin && key < end ? s : kMinusInfinity;
  }
};

template <class Element>
class ScalarTiles {
 public:
  using Ops = ScalarOps;
  static constexpr float kUnit = 1.0f;
  struct Query {};  // the tiles lie in WideMemory
  struct Scores {};
  struct Output {};
  struct RowStats {
    float v[WideMemory::kMaxRows];
  };

  ScalarTiles(const KernelArgs& args, const WorkItem& item, void* memory)
      : m_(args, item, memory), rows_(item.row_count) {}

  static int32_t StepKeys() { return 16; }

  void LoadQuery(Query&, float factor) { m_.LoadQuery(factor); }

  void Zero(Output&) { std::fill_n(m_.output, int64_t{rows_} * m_.value_stride, 0.0f); }

  void Fill(RowStats& stats, float value) { std::fill_n(stats.v, rows_, value); }

  template <class F>
  void FillRows(RowStats& stats, const F& f) {
    for (int32_t r = 0; r < rows_; ++r) stats.v[r] = f(r);
  }

  void LoadKeysValues(int32_t first, int32_t count) {
    m_.FindPages(first, count, sizeof(typename Element::Storage));
  }

  void QueryKey(const Query&, Scores&) {
    for (int32_t r = 0; r < rows_; ++r) {
      const float* q = m_.query + int64_t{r} * m_.query_stride;
      for (int32_t k = 0; k < m_.count; ++k) {
        float sum = 0.0f;
        for (int32_t d = 0; d < m_.args.head_size; ++d) {
          sum += q[d] * Element::Load(m_.key_rows[k], d);
        }
        Score(r, k) = sum;
      }
    }
  }

  template <class F>
  void MapScores(Scores&, int32_t first, const F& f) {
    for (int32_t r = 0; r < rows_; ++r) {
      const auto& row = f.Row(r);
      for (int32_t k = 0; k < m_.count; ++k) Score(r, k) = row(Score(r, k), first + k);
    }
  }

  void ScaleKeys(Scores&) {
    for (int32_t r = 0; r < rows_; ++r) {
      for (int32_t k = 0; k < m_.count; ++k) Score(r, k) *= m_.key_scales[k];
    }
  }

  void ScaleValues(Scores&) {
    for (int32_t r = 0; r < rows_; ++r) {
      for (int32_t k = 0; k < m_.count; ++k) Score(r, k) *= m_.value_scales[k];
    }
  }

  void MaxOverKeys(const Scores&, RowStats& m) {
    for (int32_t r = 0; r < rows_; ++r) {
      for (int32_t k = 0; k < m_.count; ++k) m.v[r] = std::max(m.v[r], Score(r, k));
    }
  }

  void Exp2(Scores&, const RowStats& m, const RowStats& factor, RowStats& l) {
    for (int32_t r = 0; r < rows_; ++r) {
      const float reference = Ops::ZeroIfMinusInfinity(m.v[r]);
      float sum = 0.0f;
      for (int32_t k = 0; k < m_.count; ++k) {
        Score(r, k) = std::exp2(Score(r, k) - reference);
        sum += Score(r, k);
      }
      l.v[r] = l.v[r] * factor.v[r] + sum;
    }
  }

  template <class F>
  void MapRows(RowStats& a, RowStats& b, const F& f) {
    for (int32_t r = 0; r < rows_; ++r) f(a.v[r], b.v[r]);
  }

  void ScaleRows(Output&, const RowStats& factor) {
    for (int32_t r = 0; r < rows_; ++r) {
      float* o = m_.output + int64_t{r} * m_.value_stride;
      for (int32_t d = 0; d < m_.args.value_size; ++d) o[d] *= factor.v[r];
    }
  }

  void ProbabilityValue(const Scores&, Output&) {
    for (int32_t r = 0; r < rows_; ++r) {
      float* o = m_.output + int64_t{r} * m_.value_stride;
      for (int32_t k = 0; k < m_.count; ++k) {
        const float p = Score(r, k);
        for (int32_t d = 0; d < m_.args.value_size; ++d) {
          o[d] += p * Element::Load(m_.value_rows[k], d);
        }
      }
    }
  }

  void SumOverLanes(RowStats&) {}

  void Finish(Output&, const RowStats& m, const RowStats& l, float scale) {
    m_.Finish(m.v, l.v, scale);
  }

 private:
  float& Score(int32_t row, int32_t key) { return m_.scores[row * WideMemory::kMaxKeys + key]; }

  WideMemory m_;
  int32_t rows_;
};

}  // namespace tessera::kernel::scalar
