// The scalar tile policy: one lane, one number at a time, any C++ compiler. The slow twin of the
// vector policy.
#pragma once

#include <algorithm>
#include <cstdint>

#include "attention/kernel/cpu/scalar_ops.h"
#include "attention/kernel/cpu/wide_memory.h"
#include "attention/kernel/element.h"
#include "attention/kernel/kernel_args.h"
#include "attention/kernel/logits.h"
#include "attention/kernel/tiles.h"

namespace tessera::kernel::scalar {

#define TESSERA_FN inline
#include "attention/kernel/paged_attention.inl"
#undef TESSERA_FN

template <class Element>
class ScalarTiles {
 public:
  using Ops = ScalarOps;
  static constexpr float kUnit = 1.0f;
  static constexpr int32_t kAhead = 1;
  struct Query {};  // the tiles lie in WideMemory
  struct Scores {};
  struct Output {};
  struct RowStats {
    float v[WideMemory::kMaxRows];
  };

  ScalarTiles(const KernelArgs& args, const WorkItem& item, void* memory)
      : m_(args, item, memory), rows_(item.row_count) {}

  static int32_t StepKeys() { return 16; }

  void Fetch(int32_t left) { m_.Fetch(left, StepKeys(), sizeof(typename Element::Storage)); }
  void Deposit(int32_t /*left*/) { m_.Deposit(); }

  void FetchQuery() {}
  void LoadQuery(Query&, float factor) { m_.LoadQuery(factor); }

  void Zero(Output&) { std::fill_n(m_.output, int64_t{rows_} * m_.value_stride, 0.0f); }

  void Zero(RowStats& stats) { std::fill_n(stats.v, rows_, 0.0f); }

  void StartMaximum(RowStats& m) {
    for (int32_t r = 0; r < rows_; ++r) m.v[r] = m_.rows.Sink(r);
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
      for (int32_t k = 0; k < m_.count; ++k) m.v[r] = Ops::Max(m.v[r], Score(r, k));
    }
  }

  void Correct(RowStats& old_to_factor, const RowStats& m) {
    for (int32_t r = 0; r < rows_; ++r) {
      old_to_factor.v[r] = Correction<Ops>(old_to_factor.v[r], m.v[r]);
    }
  }

  void Probabilities(Scores&, const RowStats& m, const RowStats& factor, RowStats& l) {
    for (int32_t r = 0; r < rows_; ++r) {
      const float reference = Reference<Ops>(m.v[r]);
      float sum = 0.0f;
      for (int32_t k = 0; k < m_.count; ++k) {
        Score(r, k) = Probability<Ops>(Score(r, k), reference);
        sum += Score(r, k);
      }
      l.v[r] = l.v[r] * factor.v[r] + sum;
    }
  }

  void AddRows(RowStats& sum, const RowStats& x) {
    for (int32_t r = 0; r < rows_; ++r) sum.v[r] = Ops::Add(sum.v[r], x.v[r]);
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
static_assert(Tiles<ScalarTiles<Float32Element>>);

}  // namespace tessera::kernel::scalar
