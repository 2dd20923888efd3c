// The family of many_rows.inl for AVX512-BF16 and caches whose elements bfloat16 holds: a word is
// two neighbouring dimensions of keys and queries, or two neighbouring keys of values and
// probabilities.
//
// Keys and values are exact. Probabilities are rounded to bfloat16. Queries that bfloat16 does not
// hold are the sum of two bfloat16 terms, whose error is below 2^-16 of the query.
//
// No include guard and no namespace, as many_rows.inl; behind panel.inl.

// What does not depend on the cache.
struct BFloat16Words {
  static int32_t Depth(int32_t head_size) { return (head_size + 1) / 2; }
  // The 8-bit types have no more bits than bfloat16.
  static int32_t Terms(DType query) {
    return query == DType::kBFloat16 || SizeOf(query) == 1 ? 1 : 2;
  }

  static __m512i QueryWords(const float* row, int32_t word, int32_t term) {
    __m512 low = _mm512_loadu_ps(row + 2 * word);
    __m512 high = _mm512_loadu_ps(row + 2 * word + kLanes);
    __m512i words = (__m512i)_mm512_cvtne2ps_pbh(high, low);
    if (term == 0) return words;
    low = _mm512_sub_ps(low, BFloat16Cache::Widen(_mm512_castsi512_si256(words)));
    high = _mm512_sub_ps(high, BFloat16Cache::Widen(_mm512_extracti64x4_epi64(words, 1)));
    return (__m512i)_mm512_cvtne2ps_pbh(high, low);
  }

  // Probabilities of an even key and of the one behind it.
  static __m512i Pairs(__m512 even, __m512 odd) {
    const __m512i interleave =
        _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                         21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_permutexvar_epi16(interleave, (__m512i)_mm512_cvtne2ps_pbh(odd, even));
  }

  static __m512 AddPair(__m512 sum, __m512i pair) {
    constexpr int32_t kTwoOnes = 0x3f803f80;
    return MultiplyAdd(sum, _mm512_castsi512_ps(pair),
                       _mm512_castsi512_ps(_mm512_set1_epi32(kTwoOnes)));
  }

  static __m512 MultiplyAdd(__m512 c, __m512 a, __m512 b) {
    return _mm512_dpbf16_ps(c, (__m512bh)a, (__m512bh)b);
  }
};

template <class Cache>
struct BFloat16Family : BFloat16Words {
  static constexpr int32_t kKeyStep = 64;
  static constexpr int32_t kKeyMultiple = 16;
  static constexpr int32_t kMaxBlocks = 8;
  static constexpr int32_t kScoreStep = 64;
  static constexpr int32_t kMaxTerms = 2;
  static constexpr int64_t kCacheSize = Cache::kSize;
  static constexpr bool kPairs = true;

  // to[key][pair of dimensions]; what is padding is 0.
  static void StageKeys(const char* const* keys, int32_t count, int32_t padded, int32_t head_size,
                        int32_t stride, float* to) {
    for (int32_t k = 0; k < padded; ++k, to += stride) {
      for (int32_t i = 0; i < 2 * stride; i += kPiece) {
        _mm512_store_si512(to + i / 2, LoadPiece(keys, k, count, i, head_size));
      }
    }
  }

  // to[pair of keys][dimension].
  static void StageValues(const char* const* values, int32_t count, int32_t padded,
                          int32_t value_size, int32_t stride, float* to) {
    const __m512i first =
        _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6,
                         37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
    const __m512i second = _mm512_add_epi16(first, _mm512_set1_epi16(kLanes));
    for (int32_t k = 0; k < padded; k += 2, to += stride) {
      for (int32_t i = 0; i < stride; i += kPiece) {
        const __m512i even = LoadPiece(values, k, count, i, value_size);
        const __m512i odd = LoadPiece(values, k + 1, count, i, value_size);
        _mm512_store_si512(to + i, _mm512_permutex2var_epi16(even, first, odd));
        _mm512_store_si512(to + i + kLanes, _mm512_permutex2var_epi16(even, second, odd));
      }
    }
  }

  // 32 elements of row `row` from `i` on; 0 past its end, and past the last row.
  static __m512i LoadPiece(const char* const* rows, int32_t row, int32_t count, int32_t i,
                           int32_t size) {
    if (row >= count) return _mm512_setzero_si512();
    return Cache::LoadPairs(rows[row] + i * Cache::kSize, std::max(0, size - i));
  }

  template <int kVectors>
  static void Scores(const float* keys, int32_t key_stride, int32_t first, int32_t count,
                     const float* query, int32_t depth, int32_t terms, float* scores) {
    const PanelOperand operand{keys + int64_t{first} * key_stride, key_stride, 1};
    Multiply<BFloat16Words, Start::kZero, kVectors>(operand, count, query, depth, scores);
    if (terms > 1) {
      Multiply<BFloat16Words, Start::kAdd, kVectors>(
          operand, count, query + int64_t{depth} * kBlockRows, depth, scores);
    }
  }

  template <int kVectors>
  static void Outputs(const float* values, int32_t value_rows, int32_t first, int32_t count,
                      const float* probabilities, float* output) {
    Multiply<BFloat16Words, Start::kAdd, kVectors>(
        {values + int64_t{first / 2} * value_rows, 1, value_rows}, value_rows, probabilities,
        count / 2, output);
  }
};
