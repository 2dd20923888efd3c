// The vector tile policy: any CPU that Highway knows, one copy of this code for each instruction
// set.
//
// S = Q K^T and O += P V are both  C[row, lane] += A[row, k] * B[k, lane]  with one row panel of C
// in registers: keys lie in the lanes of S (K is transposed into float32 when a step begins, which
// every row of the item then shares), head dimensions in those of O.

#if defined(TESSERA_ATTENTION_KERNEL_TILES_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TESSERA_ATTENTION_KERNEL_TILES_SIMD_INL_H_
#undef TESSERA_ATTENTION_KERNEL_TILES_SIMD_INL_H_
#else
#define TESSERA_ATTENTION_KERNEL_TILES_SIMD_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "attention/kernel/cpu/few_rows-inl.h"
#include "attention/kernel/cpu/simd_ops-inl.h"
#include "attention/kernel/cpu/wide_memory.h"
#include "attention/kernel/element.h"
#include "attention/kernel/item_rows.h"
#include "attention/kernel/kernel_args.h"
#include "attention/kernel/logits.h"
#include "attention/kernel/ops.h"
#include "attention/kernel/tiles.h"

#if HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128

HWY_BEFORE_NAMESPACE();
namespace tessera::kernel {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

#define TESSERA_FN HWY_INLINE
#include "attention/kernel/paged_attention.inl"
#undef TESSERA_FN

constexpr int32_t kLanes = kFloatLanes;
// A panel of C takes kPanelRows * kPanelVecs registers of the 32 (AVX-512, NEON) or 16 there are.
constexpr int32_t kPanelRows = 6;
constexpr int32_t kPanelVecs = kManyRegisters ? 4 : 2;

struct LoadFloats {
  const float* data;
  int64_t stride;
  HWY_INLINE FloatVec operator()(int32_t k, int32_t i) const {
    return hn::Load(FloatTag(), data + k * stride + i);
  }
};

// C[row < kRows, column .. column + kVecs vectors] (+)= sum over k < depth of A[row, k] * B(k,
// column).
template <int32_t kRows, int32_t kVecs, bool kAccumulate, class LoadB>
HWY_INLINE void PanelColumns(const float* HWY_RESTRICT a, int64_t a_stride, int32_t depth,
                             const LoadB& load, int32_t column, float* HWY_RESTRICT c,
                             int64_t c_stride) {
  const FloatTag d;
  FloatVec acc[kRows][kVecs];
  for (int32_t r = 0; r < kRows; ++r) {
    for (int32_t j = 0; j < kVecs; ++j) {
      acc[r][j] = kAccumulate ? hn::Load(d, c + r * c_stride + column + j * kLanes) : hn::Zero(d);
    }
  }
  for (int32_t k = 0; k < depth; ++k) {
    FloatVec b[kVecs];
    for (int32_t j = 0; j < kVecs; ++j) b[j] = load(k, column + j * kLanes);
    for (int32_t r = 0; r < kRows; ++r) {
      const FloatVec value = hn::Set(d, a[r * a_stride + k]);
      for (int32_t j = 0; j < kVecs; ++j) acc[r][j] = hn::MulAdd(value, b[j], acc[r][j]);
    }
  }
  for (int32_t r = 0; r < kRows; ++r) {
    for (int32_t j = 0; j < kVecs; ++j) {
      hn::Store(acc[r][j], d, c + r * c_stride + column + j * kLanes);
    }
  }
}

// The same for all columns; `columns` is a multiple of kLanes. Not inlined: one copy serves every
// kernel instance.
template <int32_t kRows, bool kAccumulate, class LoadB>
HWY_NOINLINE void Panel(const float* HWY_RESTRICT a, int64_t a_stride, int32_t depth,
                        const LoadB& load, int32_t columns, float* HWY_RESTRICT c,
                        int64_t c_stride) {
  int32_t i = 0;
  for (; i + kPanelVecs * kLanes <= columns; i += kPanelVecs * kLanes) {
    PanelColumns<kRows, kPanelVecs, kAccumulate>(a, a_stride, depth, load, i, c, c_stride);
  }
  for (; i < columns; i += kLanes) {
    PanelColumns<kRows, 1, kAccumulate>(a, a_stride, depth, load, i, c, c_stride);
  }
}

// C[rows, columns] (+)= A[rows, depth] * B, panel by panel.
template <bool kAccumulate, class LoadB>
HWY_INLINE void MultiplyRows(int32_t rows, const float* a, int64_t a_stride, int32_t depth,
                             const LoadB& load, int32_t columns, float* c, int64_t c_stride) {
  int32_t row = 0;
  for (; row + kPanelRows <= rows; row += kPanelRows) {
    Panel<kPanelRows, kAccumulate>(a + row * a_stride, a_stride, depth, load, columns,
                                   c + row * c_stride, c_stride);
  }
  const float* a_rest = a + row * a_stride;
  float* c_rest = c + row * c_stride;
  switch (rows - row) {
    case 5:
      return Panel<5, kAccumulate>(a_rest, a_stride, depth, load, columns, c_rest, c_stride);
    case 4:
      return Panel<4, kAccumulate>(a_rest, a_stride, depth, load, columns, c_rest, c_stride);
    case 3:
      return Panel<3, kAccumulate>(a_rest, a_stride, depth, load, columns, c_rest, c_stride);
    case 2:
      return Panel<2, kAccumulate>(a_rest, a_stride, depth, load, columns, c_rest, c_stride);
    case 1:
      return Panel<1, kAccumulate>(a_rest, a_stride, depth, load, columns, c_rest, c_stride);
    default:
      return;
  }
}

template <class Element>
class SimdTiles {
 public:
  using Ops = SimdOps;
  static constexpr float kUnit = ElementUnit<Element>();
  static constexpr int32_t kAhead = 1;
  struct Query {};  // the tiles lie in WideMemory
  struct Scores {};
  struct Output {};
  struct RowStats {
    alignas(64) float v[WideMemory::kMaxRows];
  };

  SimdTiles(const KernelArgs& args, const WorkItem& item, void* memory)
      : m_(args, item, memory),
        rows_(item.row_count),
        // Sums over lanes cost some four operations for each row and key, transposing about one for
        // each dimension of a key.
        few_(rows_ * 6 < args.head_size && (args.head_size | args.value_size) % kLanes == 0) {}

  // Of few rows the keys and values of two steps, this one's and the next one's, stay in the
  // first-level cache.
  HWY_INLINE int32_t StepKeys() const { return few_ ? kFewRowsKeys : WideMemory::kMaxKeys; }

  HWY_INLINE void Fetch(int32_t left) {
    m_.Fetch(left, StepKeys(), sizeof(typename Element::Storage));
  }
  HWY_INLINE void Deposit(int32_t /*left*/) { m_.Deposit(); }

  HWY_INLINE void FetchQuery() {}
  HWY_INLINE void LoadQuery(Query&, float factor) {
    m_.LoadQuery(factor);
    for (int32_t r = 0; few_ && r < rows_; ++r) {
      ReorderPieces<Element, false>(m_.query + int64_t{r} * m_.query_stride, m_.args.head_size);
    }
  }

  HWY_INLINE void Zero(Output&) { std::fill_n(m_.output, int64_t{rows_} * m_.value_stride, 0.0f); }

  HWY_INLINE void Zero(RowStats& stats) { std::fill_n(stats.v, WideMemory::kMaxRows, 0.0f); }

  HWY_INLINE void StartMaximum(RowStats& m) {
    // Whole vectors of rows are corrected: what lies past the last one must at least be numbers.
    Zero(m);
    for (int32_t r = 0; r < rows_; ++r) m.v[r] = m_.rows.Sink(r);
  }

  HWY_INLINE void QueryKey(const Query&, Scores&) {
    if (few_) return DotFewRows();
    TransposeKeys();
    MultiplyRows<false>(rows_, m_.query, m_.query_stride, m_.args.head_size,
                        LoadFloats{m_.keys, WideMemory::kMaxKeys}, KeyColumns(), m_.scores,
                        WideMemory::kMaxKeys);
  }

  template <class F>
  HWY_INLINE void MapScores(Scores&, int32_t first, const F& f) {
    const FloatTag d;
    const IntTag di;
    for (int32_t r = 0; r < rows_; ++r) {
      float* s = ScoreRow(r);
      const auto& row = f.Row(r);
      for (int32_t k = 0; k < m_.count; k += kLanes) {
        hn::Store(row(hn::Load(d, s + k), hn::Iota(di, first + k)), d, s + k);
      }
    }
  }

  HWY_INLINE void ScaleKeys(Scores&) { ScaleColumns(m_.key_scales); }
  HWY_INLINE void ScaleValues(Scores&) { ScaleColumns(m_.value_scales); }

  HWY_INLINE void MaxOverKeys(const Scores&, RowStats& m) {
    const FloatTag d;
    const hn::FixedTag<float, 4> four;
    for (int32_t first = 0; first < rows_; first += 4) {
      FloatVec maximum[4];
      for (int32_t r = 0; r < 4; ++r) {
        // A row that the item does not have repeats the last one.
        const float* s = ScoreRow(std::min(first + r, rows_ - 1));
        maximum[r] = hn::Load(d, s);
        for (int32_t k = kLanes; k < m_.count; k += kLanes) {
          maximum[r] = hn::Max(maximum[r], hn::Load(d, s + k));
        }
      }
      const auto largest = FoldEach(maximum, MaxVectors());
      hn::Store(hn::Max(hn::Load(four, m.v + first), largest), four, m.v + first);
    }
  }

  HWY_INLINE void Probabilities(Scores&, const RowStats& m, const RowStats& factor, RowStats& l) {
    const FloatTag d;
    const hn::FixedTag<float, 4> four;
    for (int32_t first = 0; first < rows_; first += 4) {
      FloatVec sum[4];
      for (int32_t r = 0; r < 4; ++r) {
        sum[r] = hn::Zero(d);
        if (first + r >= rows_) continue;
        float* s = ScoreRow(first + r);
        const FloatVec reference = Reference<Ops>(Ops::Set(m.v[first + r]));
        for (int32_t k = 0; k < m_.count; k += kLanes) {
          const FloatVec p = Probability<Ops>(hn::Load(d, s + k), reference);
          hn::Store(p, d, s + k);
          sum[r] = hn::Add(sum[r], p);
        }
      }
      hn::Store(hn::MulAdd(hn::Load(four, l.v + first), hn::Load(four, factor.v + first),
                           FoldEach(sum, AddVectors())),
                four, l.v + first);
    }
  }

  HWY_INLINE void Correct(RowStats& old_to_factor, const RowStats& m) {
    const FloatTag d;
    for (int32_t r = 0; r < rows_; r += kLanes) {
      float* old = old_to_factor.v + r;
      hn::Store(Correction<Ops>(hn::Load(d, old), hn::Load(d, m.v + r)), d, old);
    }
  }

  HWY_INLINE void AddRows(RowStats& sum, const RowStats& x) {
    for (int32_t r = 0; r < rows_; ++r) sum.v[r] += x.v[r];
  }

  HWY_INLINE void ScaleRows(Output&, const RowStats& factor) {
    const FloatTag d;
    for (int32_t r = 0; r < rows_; ++r) {
      if (factor.v[r] == 1.0f) continue;  // the common case once a row has met its largest score
      float* o = OutputRow(r);
      const FloatVec f = hn::Set(d, factor.v[r]);
      for (int32_t i = 0; i < m_.value_stride; i += kLanes) {
        hn::Store(hn::Mul(hn::Load(d, o + i), f), d, o + i);
      }
    }
  }

  HWY_INLINE void ProbabilityValue(const Scores&, Output&) {
    if (few_) return AddValuesOfFewRows();
    StageValues();
    MultiplyRows<true>(rows_, m_.scores, WideMemory::kMaxKeys, m_.count,
                       LoadFloats{m_.values, m_.value_stride}, m_.value_stride, m_.output,
                       m_.value_stride);
  }

  HWY_INLINE void SumOverLanes(RowStats&) {}

  HWY_INLINE void Finish(Output&, const RowStats& m, const RowStats& l, float scale) {
    for (int32_t r = 0; few_ && r < rows_; ++r) {
      ReorderPieces<Element, true>(OutputRow(r), m_.args.value_size);
    }
    m_.Finish(m.v, l.v, scale);
  }

 private:
  static constexpr int32_t kFewRowsKeys = 32;

  HWY_INLINE void ScaleColumns(const float* scales) {
    const FloatTag d;
    for (int32_t r = 0; r < rows_; ++r) {
      float* s = ScoreRow(r);
      for (int32_t k = 0; k < m_.count; k += kLanes) {
        hn::Store(hn::Mul(hn::Load(d, s + k), hn::Load(d, scales + k)), d, s + k);
      }
    }
  }

  // Columns of S that are computed: the step's keys, rounded up to whole vectors.
  HWY_INLINE int32_t KeyColumns() const { return (m_.count + kLanes - 1) / kLanes * kLanes; }

  HWY_INLINE float* ScoreRow(int32_t row) const { return m_.scores + row * WideMemory::kMaxKeys; }
  HWY_INLINE float* OutputRow(int32_t row) const {
    return m_.output + int64_t{row} * m_.value_stride;
  }

  // Where no key follows, the prefetches go to what is there already.
  HWY_INLINE void PadNext() {
    for (int32_t k = std::max(0, m_.next_count); k < (m_.count + 3) / 4 * 4; ++k) {
      m_.next_key_rows[k] = m_.key_rows[0];
      m_.next_value_rows[k] = m_.value_rows[0];
    }
  }

  // f.operator()<rows>(first) for the rows, as many at a time as share what is loaded.
  template <class F>
  HWY_INLINE void ForSharedRows(const F& f) {
    int32_t row = 0;
    for (; row + kSharedRows <= rows_; row += kSharedRows) f.template operator()<kSharedRows>(row);
    if constexpr (kSharedRows > 2) {
      if (rows_ - row == 3) return f.template operator()<3>(row);
      if (rows_ - row == 2) return f.template operator()<2>(row);
    }
    if (rows_ - row == 1) f.template operator()<1>(row);
  }

  HWY_INLINE void DotFewRows() {
    PadNext();
    // Whole groups of four keys: the last key stands for those that are missing.
    const int32_t padded = (m_.count + 3) / 4 * 4;
    for (int32_t k = m_.count; k < padded; ++k) m_.key_rows[k] = m_.key_rows[m_.count - 1];
    ForSharedRows([&]<int32_t kRows>(int32_t row) HWY_ATTR {
      DotKeys<Element, kRows>(
          m_.query + int64_t{row} * m_.query_stride, m_.query_stride, m_.args.head_size,
          {.rows = m_.key_rows, .next = row == 0 ? m_.next_key_rows : m_.key_rows, .count = padded},
          ScoreRow(row), WideMemory::kMaxKeys);
    });
    // Whole vectors of scores are read: what lies past the last four keys must at least be numbers.
    for (int32_t r = 0; padded < KeyColumns() && r < rows_; ++r) {
      std::fill(ScoreRow(r) + padded, ScoreRow(r) + KeyColumns(), 0.0f);
    }
  }

  HWY_INLINE void AddValuesOfFewRows() {
    ForSharedRows([&]<int32_t kRows>(int32_t row) HWY_ATTR {
      AddAllValues<Element, kRows>(ScoreRow(row), WideMemory::kMaxKeys,
                                   {.rows = m_.value_rows,
                                    .next = row == 0 ? m_.next_value_rows : m_.value_rows,
                                    .count = m_.count},
                                   m_.args.value_size, OutputRow(row), m_.value_stride);
    });
  }

  // Keys past the step's count repeat the last one: their scores are masked, and no memory past the
  // sequence is read.
  HWY_INLINE void SelectFourKeys(int32_t key, const char** rows) const {
    for (int32_t i = 0; i < 4; ++i) {
      rows[i] = m_.key_rows[std::min(key + i, m_.count - 1)];
      if (key + i < m_.next_count) PrefetchNext(key + i);
    }
  }

  HWY_INLINE void StageValues() {
    const FloatTag d;
    const int32_t size = m_.args.value_size;
    for (int32_t k = 0; k < m_.count; ++k) {
      float* row = m_.values + int64_t{k} * m_.value_stride;
      int32_t i = 0;
      for (; i + kLanes <= size; i += kLanes) {
        hn::Store(LoadElements<Element>(m_.value_rows[k], i), d, row + i);
      }
      for (; i < size; ++i) row[i] = Element::Load(m_.value_rows[k], i) / kUnit;
      for (; i < m_.value_stride; ++i) row[i] = 0.0f;
    }
  }

  // keys[dimension][key] = K[key][dimension], in blocks of 4 keys.
  HWY_INLINE void TransposeKeys() {
    for (int32_t k = 0; k < m_.count; k += 4) {
      const char* rows[4];
      SelectFourKeys(k, rows);
      int32_t dim = 0;
      for (; dim + kBlockDims <= m_.args.head_size; dim += kBlockDims) {
        TransposeBlock(rows, dim, m_.keys + dim * WideMemory::kMaxKeys + k);
      }
      for (; dim < m_.args.head_size; ++dim) {
        for (int32_t i = 0; i < 4; ++i) {
          m_.keys[dim * WideMemory::kMaxKeys + k + i] = Element::Load(rows[i], dim) / kUnit;
        }
      }
    }
    // Whole vectors are multiplied: what lies past the last block must at least be numbers.
    const int32_t filled = (m_.count + 3) / 4 * 4;
    const int32_t used = KeyColumns();
    for (int32_t dim = 0; filled < used && dim < m_.args.head_size; ++dim) {
      std::fill(m_.keys + dim * WideMemory::kMaxKeys + filled,
                m_.keys + dim * WideMemory::kMaxKeys + used, 0.0f);
    }
  }

  // A step's worth of time is enough for memory to answer; pages are too short for the hardware's
  // own prefetcher.
  HWY_INLINE void PrefetchNext(int32_t key) const {
    constexpr int64_t kLine = 64;
    constexpr int64_t kElement = sizeof(typename Element::Storage);
    // No helper function for the two loops: g++ takes one that only prefetches for one without
    // effect.
    const char* k = m_.next_key_rows[key];
    for (int64_t i = 0; i < m_.args.head_size * kElement; i += kLine) __builtin_prefetch(k + i);
    const char* v = m_.next_value_rows[key];
    for (int64_t i = 0; i < m_.args.value_size * kElement; i += kLine) __builtin_prefetch(v + i);
  }

  // 16 bytes of each of 4 rows.
  static constexpr int32_t kBlockDims = 16 / sizeof(typename Element::Storage);

  static HWY_INLINE void TransposeBlock(const char* const* rows, int32_t dim, float* out) {
    const hn::FixedTag<uint8_t, 16> d8;
    const hn::FixedTag<uint32_t, 4> d32;
    const hn::FixedTag<uint64_t, 2> d64;
    const int64_t offset = dim * static_cast<int64_t>(sizeof(typename Element::Storage));
    const auto r0 =
        hn::BitCast(d32, hn::LoadU(d8, reinterpret_cast<const uint8_t*>(rows[0]) + offset));
    const auto r1 =
        hn::BitCast(d32, hn::LoadU(d8, reinterpret_cast<const uint8_t*>(rows[1]) + offset));
    const auto r2 =
        hn::BitCast(d32, hn::LoadU(d8, reinterpret_cast<const uint8_t*>(rows[2]) + offset));
    const auto r3 =
        hn::BitCast(d32, hn::LoadU(d8, reinterpret_cast<const uint8_t*>(rows[3]) + offset));
    const auto a = hn::BitCast(d64, hn::InterleaveLower(d32, r0, r1));
    const auto b = hn::BitCast(d64, hn::InterleaveLower(d32, r2, r3));
    const auto c = hn::BitCast(d64, hn::InterleaveUpper(d32, r0, r1));
    const auto e = hn::BitCast(d64, hn::InterleaveUpper(d32, r2, r3));
    StoreWords(hn::BitCast(d32, hn::InterleaveLower(d64, a, b)), 0, out);
    StoreWords(hn::BitCast(d32, hn::InterleaveUpper(d64, a, b)), 1, out);
    StoreWords(hn::BitCast(d32, hn::InterleaveLower(d64, c, e)), 2, out);
    StoreWords(hn::BitCast(d32, hn::InterleaveUpper(d64, c, e)), 3, out);
  }

  // Word `w` of 4 keys: one float32 dimension, two 16-bit ones (the even one in the low half), or
  // four of 8 bits.
  template <class V32>
  static HWY_INLINE void StoreWords(V32 words, int32_t w, float* out) {
    const hn::FixedTag<float, 4> d;
    const hn::FixedTag<uint32_t, 4> d32;
    if constexpr (std::is_same_v<Element, Float32Element>) {
      hn::Store(hn::BitCast(d, words), d, out + w * WideMemory::kMaxKeys);
    } else if constexpr (std::is_same_v<Element, BFloat16Element>) {
      const auto high = hn::Set(d32, 0xffff0000u);
      hn::Store(hn::BitCast(d, hn::ShiftLeft<16>(words)), d, out + 2 * w * WideMemory::kMaxKeys);
      hn::Store(hn::BitCast(d, hn::And(words, high)), d, out + (2 * w + 1) * WideMemory::kMaxKeys);
    } else if constexpr (kByteFloat<Element>) {
      const hn::FixedTag<uint16_t, 4> d16;
      float* first = out + 4 * w * WideMemory::kMaxKeys;
      const auto store = [&](V32 bytes, int32_t i) HWY_ATTR {
        const auto upper = hn::And(bytes, hn::Set(d32, 0xff00u));
        hn::Store(FromByteFloats<Element>(d, hn::TruncateTo(d16, upper)), d,
                  first + i * WideMemory::kMaxKeys);
      };
      store(hn::ShiftLeft<8>(words), 0);
      store(words, 1);
      store(hn::ShiftRight<8>(words), 2);
      store(hn::ShiftRight<16>(words), 3);
    } else if constexpr (std::is_same_v<Element, Int8Element>) {
      const hn::FixedTag<int32_t, 4> di32;
      float* first = out + 4 * w * WideMemory::kMaxKeys;
      // The byte is moved to the top, then down with its sign.
      const auto store = [&](V32 bytes, int32_t i) HWY_ATTR {
        hn::Store(hn::ConvertTo(d, hn::ShiftRight<24>(hn::BitCast(di32, bytes))), d,
                  first + i * WideMemory::kMaxKeys);
      };
      store(hn::ShiftLeft<24>(words), 0);
      store(hn::ShiftLeft<16>(words), 1);
      store(hn::ShiftLeft<8>(words), 2);
      store(words, 3);
    } else {
      const hn::FixedTag<uint16_t, 4> d16;
      const hn::FixedTag<hwy::float16_t, 4> df16;
      const auto low =
          hn::BitCast(df16, hn::TruncateTo(d16, hn::And(words, hn::Set(d32, 0xffffu))));
      const auto high = hn::BitCast(df16, hn::TruncateTo(d16, hn::ShiftRight<16>(words)));
      hn::Store(FromFloat16(d, low), d, out + 2 * w * WideMemory::kMaxKeys);
      hn::Store(FromFloat16(d, high), d, out + (2 * w + 1) * WideMemory::kMaxKeys);
    }
  }

  WideMemory m_;
  int32_t rows_;
  const bool few_;
};
static_assert(Tiles<SimdTiles<Float32Element>>);

}  // namespace HWY_NAMESPACE
}  // namespace tessera::kernel
HWY_AFTER_NAMESPACE();

#endif  // a target with vectors
#endif  // TESSERA_ATTENTION_KERNEL_TILES_SIMD_INL_H_
