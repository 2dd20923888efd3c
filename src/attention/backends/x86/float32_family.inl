// The family of many_rows.inl that computes in float32: any cache, any AVX-512 CPU. Keys and values
// are staged as float32.
//
// No include guard and no namespace, as many_rows.inl; behind panel.inl.

template <class Cache>
struct Float32Family {
  static constexpr int32_t kKeyStep = 64;
  static constexpr int32_t kKeyMultiple = 16;
  static constexpr int32_t kMaxBlocks = 8;
  static constexpr int32_t kScoreStep = 64;
  static constexpr int32_t kMaxTerms = 1;
  static constexpr int64_t kCacheSize = Cache::kSize;
  static constexpr bool kPairs = false;

  static int32_t Depth(int32_t head_size) { return head_size; }
  static int32_t Terms(DType) { return 1; }

  static __m512i QueryWords(const float* row, int32_t word, int32_t) {
    return _mm512_loadu_si512(row + word);
  }

  static __m512 MultiplyAdd(__m512 c, __m512 a, __m512 b) { return _mm512_fmadd_ps(a, b, c); }

  // to[key][dimension]; keys past `count` are 0.
  static void StageKeys(const char* const* keys, int32_t count, int32_t padded, int32_t head_size,
                        int32_t stride, float* to) {
    StageRows(keys, count, padded, head_size, stride, to);
  }

  // to[key][dimension]; the padding of dimensions and keys is 0.
  static void StageValues(const char* const* values, int32_t count, int32_t padded,
                          int32_t value_size, int32_t stride, float* to) {
    StageRows(values, count, padded, value_size, stride, to);
  }

  template <int kVectors>
  static void Scores(const float* keys, int32_t key_stride, int32_t first, int32_t count,
                     const float* query, int32_t depth, int32_t, float* scores) {
    Multiply<Float32Family<void>, Start::kZero, kVectors>(
        {keys + int64_t{first} * key_stride, key_stride, 1}, count, query, depth, scores);
  }

  template <int kVectors>
  static void Outputs(const float* values, int32_t value_rows, int32_t first, int32_t count,
                      const float* probabilities, float* output) {
    Multiply<Float32Family<void>, Start::kAdd, kVectors>(
        {values + int64_t{first} * value_rows, 1, value_rows}, value_rows, probabilities, count,
        output);
  }

 private:
  static void StageRows(const char* const* rows, int32_t count, int32_t padded, int32_t size,
                        int32_t stride, float* to) {
    for (int32_t k = 0; k < padded; ++k, to += stride) {
      if (k >= count) {
        std::fill_n(to, stride, 0.0f);
        continue;
      }
      int32_t i = 0;
      for (; i + kPiece <= size; i += kPiece) {
        __m512 piece[2];
        Cache::LoadInOrder(rows[k] + i * Cache::kSize, kPiece, piece);
        _mm512_store_ps(to + i, piece[0]);
        _mm512_store_ps(to + i + kLanes, piece[1]);
      }
      if (i >= stride) continue;
      __m512 piece[2];
      Cache::LoadInOrder(rows[k] + i * Cache::kSize, size - i, piece);
      _mm512_store_ps(to + i, piece[0]);
      if (i + kLanes < stride) _mm512_store_ps(to + i + kLanes, piece[1]);
    }
  }
};

// What the products are compiled for, whatever the cache.
template <>
struct Float32Family<void> {
  static __m512 MultiplyAdd(__m512 c, __m512 a, __m512 b) { return _mm512_fmadd_ps(a, b, c); }
};
