// The two products of the vector policy for few rows, which is decoding: one copy for each
// instruction set.
//
// Memory is the limit there, so the cache is read in its own form, each key and value once for the
// rows that registers hold, and the next step's rows are fetched while this step's are multiplied.
// Dimensions lie in the lanes, in the order in which whole registers of narrow elements fall apart
// into float32 with the fewest operations; the query and the output are kept in that order too.

#if defined(TESSERA_ATTENTION_KERNEL_FEW_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TESSERA_ATTENTION_KERNEL_FEW_ROWS_INL_H_
#undef TESSERA_ATTENTION_KERNEL_FEW_ROWS_INL_H_
#else
#define TESSERA_ATTENTION_KERNEL_FEW_ROWS_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "attention/kernel/cpu/simd_ops-inl.h"
#include "attention/kernel/element.h"

#if HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128

HWY_BEFORE_NAMESPACE();
namespace tessera::kernel {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

constexpr int32_t kFloatLanes = static_cast<int32_t>(hn::MaxLanes(FloatTag()));
constexpr bool kManyRegisters = HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM_A64;  // 32 instead of 16
// Rows that share what is loaded of the cache.
constexpr int32_t kSharedRows = kManyRegisters ? 4 : 2;

// Elements of a row in pieces of kVecs vectors of float32; element i of a piece comes to lie at
// place Place(i) of them.
template <class Element>
struct Piece {
  static constexpr int32_t kVecs = std::is_same_v<Element, BFloat16Element> ? 2
                                   : kByteFloat<Element>                    ? 4
                                                                            : 1;
  static constexpr int32_t kSize = kVecs * kFloatLanes;

  // The even elements, then the odd ones.
  static constexpr int32_t Place(int32_t i) { return kVecs == 1 ? i : i % 2 * (kSize / 2) + i / 2; }

  static HWY_INLINE void Load(const void* row, int32_t i, FloatVec* to) {
    const FloatTag d;
    if constexpr (std::is_same_v<Element, BFloat16Element>) {
      const hn::RebindToUnsigned<FloatTag> d32;
      const auto pairs = hn::BitCast(d32, hn::LoadU(hn::Repartition<uint16_t, FloatTag>(),
                                                    static_cast<const uint16_t*>(row) + i));
      to[0] = hn::BitCast(d, hn::ShiftLeft<16>(pairs));
      to[1] = hn::BitCast(d, hn::And(pairs, hn::Set(d32, 0xffff0000u)));
    } else if constexpr (kByteFloat<Element>) {
      const hn::Repartition<uint8_t, FloatTag> d8;
      const hn::Repartition<uint16_t, FloatTag> d16;
      const auto bytes = hn::LoadU(d8, static_cast<const uint8_t*>(row) + i);
      const auto pairs = hn::BitCast(d16, bytes);
      const auto even = hn::ShiftLeft<8>(pairs);
      // NaN is rare: it takes a branch instead of operations for each element.
      if (HWY_UNLIKELY(!hn::AllFalse(d8, IsNan(d8, bytes)))) {
        Promote(Float16Bits<Element, true>(d16, even), to);
        Promote(Float16Bits<Element, true>(d16, hn::And(pairs, hn::Set(d16, 0xff00))), to + 2);
      } else {
        Promote(Float16Bits<Element, false>(d16, even), to);
        Promote(Float16Bits<Element, false>(d16, pairs), to + 2);
      }
    } else {
      to[0] = LoadElements<Element>(row, i);
    }
  }

 private:
  // The codes that Float16Bits() does not map by a shift.
  template <class D8, class V8>
  static HWY_INLINE auto IsNan(D8 d8, V8 bytes) {
    if constexpr (std::is_same_v<Element, E4M3FNElement>) {
      return hn::Eq(hn::And(bytes, hn::Set(d8, 0x7f)), hn::Set(d8, 0x7f));
    } else if constexpr (std::is_same_v<Element, E4M3FNUZElement>) {
      return hn::Eq(bytes, hn::Set(d8, 0x80));
    } else {
      return hn::FirstN(d8, 0);
    }
  }

  template <class V16>
  static HWY_INLINE void Promote(V16 bits, FloatVec* to) {
    const hn::Rebind<uint16_t, FloatTag> dh;
    const hn::Rebind<hwy::float16_t, FloatTag> df16;
    to[0] = FromFloat16(FloatTag(), hn::BitCast(df16, hn::LowerHalf(dh, bits)));
    to[1] = FromFloat16(FloatTag(), hn::BitCast(df16, hn::UpperHalf(dh, bits)));
  }
};

// A vector at a time, in order: what is left behind the whole pieces.
template <class Element>
struct OneVector {
  static constexpr int32_t kVecs = 1;
  static HWY_INLINE void Load(const void* row, int32_t i, FloatVec* to) {
    to[0] = LoadElements<Element>(row, i);
  }
};

// `row`, of which whole pieces are reordered: into the pieces' order, or back.
template <class Element, bool kBack>
HWY_INLINE void ReorderPieces(float* row, int32_t size) {
  using P = Piece<Element>;
  if constexpr (P::kVecs > 1) {
    float piece[P::kSize];
    for (int32_t i = 0; i + P::kSize <= size; i += P::kSize) {
      std::copy_n(row + i, P::kSize, piece);
      for (int32_t j = 0; j < P::kSize; ++j) {
        row[i + (kBack ? j : P::Place(j))] = piece[kBack ? P::Place(j) : j];
      }
    }
  }
}

// Halves are folded by `f` until four lanes are left.
template <class D, class F>
HWY_INLINE hn::Vec<hn::FixedTag<float, 4>> FoldToFour(D /*d*/, hn::Vec<D> v, const F& f) {
  if constexpr (hn::MaxLanes(D()) == 4) {
    return v;
  } else {
    const hn::Half<D> half;
    return FoldToFour(half, f(hn::LowerHalf(half, v), hn::UpperHalf(half, v)), f);
  }
}

// All lanes of each of four vectors folded by `f`: first within blocks of four lanes, for all of
// the vectors at once.
template <class F>
HWY_INLINE hn::Vec<hn::FixedTag<float, 4>> FoldEach(const FloatVec v[4], const F& f) {
  const FloatTag d;
  const hn::Repartition<uint64_t, FloatTag> d64;
  const auto ab =
      hn::BitCast(d64, f(hn::InterleaveLower(d, v[0], v[1]), hn::InterleaveUpper(d, v[0], v[1])));
  const auto ce =
      hn::BitCast(d64, f(hn::InterleaveLower(d, v[2], v[3]), hn::InterleaveUpper(d, v[2], v[3])));
  return FoldToFour(d,
                    f(hn::BitCast(d, hn::InterleaveLower(d64, ab, ce)),
                      hn::BitCast(d, hn::InterleaveUpper(d64, ab, ce))),
                    f);
}

struct AddVectors {
  template <class V>
  HWY_INLINE V operator()(V a, V b) const {
    return hn::Add(a, b);
  }
};
struct MaxVectors {
  template <class V>
  HWY_INLINE V operator()(V a, V b) const {
    return hn::Max(a, b);
  }
};

// What a product reads of the cache: rows of keys or of values, and rows to prefetch beside them,
// one for each.
struct CacheRows {
  const char* const* rows;
  const char* const* next;
  int32_t count;
};

template <class Element, class Load, int32_t kRows>
HWY_INLINE void AddProducts(const float* HWY_RESTRICT query, int64_t stride, const CacheRows& keys,
                            int32_t first, int32_t dim, FloatVec acc[kRows][4]) {
  constexpr int64_t kBytes = sizeof(typename Element::Storage);
  HWY_UNROLL(4)
  for (int32_t k = 0; k < 4; ++k) {
    __builtin_prefetch(keys.next[first + k] + dim * kBytes);
    FloatVec key[Load::kVecs];
    Load::Load(keys.rows[first + k], dim, key);
    HWY_UNROLL(4)
    for (int32_t v = 0; v < Load::kVecs; ++v) {
      HWY_UNROLL(4)
      for (int32_t r = 0; r < kRows; ++r) {
        const FloatVec q = hn::Load(FloatTag(), query + r * stride + dim + v * kFloatLanes);
        acc[r][k] = hn::MulAdd(q, key[v], acc[r][k]);
      }
    }
  }
}

// S[row < kRows, key] = Q K^T, four keys at a time: keys.count is a multiple of that, `size` of
// kFloatLanes.
template <class Element, int32_t kRows>
HWY_NOINLINE void DotKeys(const float* HWY_RESTRICT query, int64_t stride, int32_t size,
                          const CacheRows& keys, float* HWY_RESTRICT s, int64_t s_stride) {
  for (int32_t first = 0; first < keys.count; first += 4) {
    FloatVec acc[kRows][4];
    HWY_UNROLL(4)
    for (int32_t r = 0; r < kRows; ++r) {
      HWY_UNROLL(4)
      for (int32_t k = 0; k < 4; ++k) acc[r][k] = hn::Zero(FloatTag());
    }
    int32_t dim = 0;
    for (; dim + Piece<Element>::kSize <= size; dim += Piece<Element>::kSize) {
      AddProducts<Element, Piece<Element>, kRows>(query, stride, keys, first, dim, acc);
    }
    for (; dim < size; dim += kFloatLanes) {
      AddProducts<Element, OneVector<Element>, kRows>(query, stride, keys, first, dim, acc);
    }
    HWY_UNROLL(4)
    for (int32_t r = 0; r < kRows; ++r) {
      hn::StoreU(FoldEach(acc[r], AddVectors()), hn::FixedTag<float, 4>(),
                 s + r * s_stride + first);
    }
  }
}

// O[row < kRows, dim ..] += P V, kPieces pieces wide.
template <class Element, class Load, int32_t kRows, int32_t kPieces>
HWY_INLINE void AddValues(const float* HWY_RESTRICT probabilities, int64_t stride,
                          const CacheRows& values, int32_t dim, float* HWY_RESTRICT o,
                          int64_t o_stride) {
  constexpr int32_t kVecs = Load::kVecs * kPieces;
  constexpr int64_t kBytes = sizeof(typename Element::Storage);
  const FloatTag d;
  FloatVec acc[kRows][kVecs];
  HWY_UNROLL(4)
  for (int32_t r = 0; r < kRows; ++r) {
    HWY_UNROLL(8)
    for (int32_t j = 0; j < kVecs; ++j)
      acc[r][j] = hn::Load(d, o + r * o_stride + dim + j * kFloatLanes);
  }
  for (int32_t k = 0; k < values.count; ++k) {
    FloatVec value[kVecs];
    HWY_UNROLL(4)
    for (int32_t p = 0; p < kPieces; ++p) {
      const int32_t at = dim + p * Load::kVecs * kFloatLanes;
      __builtin_prefetch(values.next[k] + at * kBytes);
      Load::Load(values.rows[k], at, value + p * Load::kVecs);
    }
    HWY_UNROLL(4)
    for (int32_t r = 0; r < kRows; ++r) {
      const FloatVec p = hn::Set(d, probabilities[r * stride + k]);
      HWY_UNROLL(8)
      for (int32_t j = 0; j < kVecs; ++j) acc[r][j] = hn::MulAdd(p, value[j], acc[r][j]);
    }
  }
  HWY_UNROLL(4)
  for (int32_t r = 0; r < kRows; ++r) {
    HWY_UNROLL(8)
    for (int32_t j = 0; j < kVecs; ++j)
      hn::Store(acc[r][j], d, o + r * o_stride + dim + j * kFloatLanes);
  }
}

// All of O, from probabilities [row][key]; `size` is a multiple of kFloatLanes.
template <class Element, int32_t kRows>
HWY_NOINLINE void AddAllValues(const float* probabilities, int64_t stride, const CacheRows& values,
                               int32_t size, float* o, int64_t o_stride) {
  using P = Piece<Element>;
  // At most 16 accumulators of 32 registers, or 8 of 16.
  constexpr int32_t kVecs = kManyRegisters && kRows <= 2 ? 8 : 4;
  constexpr int32_t kPieces = kVecs / P::kVecs;
  int32_t dim = 0;
  for (; dim + kPieces * P::kSize <= size; dim += kPieces * P::kSize) {
    AddValues<Element, P, kRows, kPieces>(probabilities, stride, values, dim, o, o_stride);
  }
  for (; dim + P::kSize <= size; dim += P::kSize) {
    AddValues<Element, P, kRows, 1>(probabilities, stride, values, dim, o, o_stride);
  }
  for (; dim < size; dim += kFloatLanes) {
    AddValues<Element, OneVector<Element>, kRows, 1>(probabilities, stride, values, dim, o,
                                                     o_stride);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace tessera::kernel
HWY_AFTER_NAMESPACE();

#endif  // a target with vectors
#endif  // TESSERA_ATTENTION_KERNEL_FEW_ROWS_INL_H_
