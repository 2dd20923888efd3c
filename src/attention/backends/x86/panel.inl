// The products of many_rows.inl for vector instructions:
//   C[i, row] = start + sum over k of A[i, k] B[k, row],  rows of B and C kBlockRows apart,
// with a panel of C, some i by kVectors * 16 rows, in registers. Family::MultiplyAdd(c, a, b) adds
// the product of words.
//
// No include guard and no namespace, as many_rows.inl.

enum class Start { kZero, kAdd };

// Word (i, k) of A lies at data[i * row + k * step].
struct PanelOperand {
  const float* data;
  int64_t row;
  int64_t step;
};

template <class Family, Start kStart, int kRows, int kVectors>
inline void Panel(const PanelOperand& a, const float* b, int32_t depth, float* c) {
  __m512 sums[kRows][kVectors];
  TESSERA_UNROLL
  for (int i = 0; i < kRows; ++i) {
    TESSERA_UNROLL
    for (int j = 0; j < kVectors; ++j) {
      sums[i][j] = kStart == Start::kZero ? _mm512_setzero_ps()
                                          : _mm512_load_ps(c + i * kBlockRows + j * kLanes);
    }
  }
  const float* data = a.data;
  for (int32_t k = 0; k < depth; ++k, data += a.step, b += kBlockRows) {
    __m512 column[kVectors];
    TESSERA_UNROLL
    for (int j = 0; j < kVectors; ++j) column[j] = _mm512_load_ps(b + j * kLanes);
    TESSERA_UNROLL
    for (int i = 0; i < kRows; ++i) {
      __m512 word = _mm512_set1_ps(data[i * a.row]);
#if defined(__clang__)
      // Clang 16 crashes where it folds this broadcast into a bfloat16 product.
      asm("" : "+v"(word));
#endif
      TESSERA_UNROLL
      for (int j = 0; j < kVectors; ++j) {
        sums[i][j] = Family::MultiplyAdd(sums[i][j], word, column[j]);
      }
    }
  }
  TESSERA_UNROLL
  for (int i = 0; i < kRows; ++i) {
    TESSERA_UNROLL
    for (int j = 0; j < kVectors; ++j) {
      _mm512_store_ps(c + i * kBlockRows + j * kLanes, sums[i][j]);
    }
  }
}

// `rows`, the number of i, is a multiple of 16. Not inlined: one copy serves a family's caches.
template <class Family, Start kStart, int kVectors>
__attribute__((noinline)) void Multiply(PanelOperand a, int32_t rows, const float* b, int32_t depth,
                                        float* c) {
  // As many sums as hide the latency of an addition: at least ten; registers are 32.
  constexpr int kRows = kVectors == 1 ? 16 : kVectors == 4 ? 4 : 8;
  for (int32_t i = 0; i < rows; i += kRows) {
    Panel<Family, kStart, kRows, kVectors>(a, b, depth, c);
    a.data += kRows * a.row;
    c += kRows * kBlockRows;
  }
}
