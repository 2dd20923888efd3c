// Attention of few rows: decoding. Memory is the limit, so the cache is read in its own form, every
// key and value once, and the next step's are fetched while this step's are multiplied.
//
// Dimensions lie in the lanes. Four rows at a time share each key and value that is loaded; scores
// are sums over the lanes, of four keys and four rows together.
//
// No include guard and no namespace, as many_rows.inl; behind block_rows.h.

constexpr int32_t kMaxFewRows = 16;   // of an item
constexpr int64_t kMaxElements = 64;  // of a piece

// In floats, for heads of these sizes.
inline int64_t FewRowsMemory(int32_t head_size, int32_t value_size) {
  return kMaxFewRows * (RoundUp(head_size, kMaxElements) + RoundUp(value_size, kMaxElements));
}

// The sums over the lanes of 16 vectors, four of each of four rows: lane 4 r + k is that of [r][k].
template <int kRows>
inline __m512 SumLanes(const __m512 v[kRows][4]) {
  __m512 rows[4];
  TESSERA_UNROLL
  for (int r = 0; r < 4; ++r) {
    if (r >= kRows) {
      rows[r] = _mm512_setzero_ps();
      continue;
    }
    const __m512 a =
        _mm512_add_ps(_mm512_unpacklo_ps(v[r][0], v[r][1]), _mm512_unpackhi_ps(v[r][0], v[r][1]));
    const __m512 b =
        _mm512_add_ps(_mm512_unpacklo_ps(v[r][2], v[r][3]), _mm512_unpackhi_ps(v[r][2], v[r][3]));
    rows[r] = _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x44), _mm512_shuffle_ps(a, b, 0xee));
  }
  const __m512 a = _mm512_add_ps(_mm512_shuffle_f32x4(rows[0], rows[1], 0x44),
                                 _mm512_shuffle_f32x4(rows[0], rows[1], 0xee));
  const __m512 b = _mm512_add_ps(_mm512_shuffle_f32x4(rows[2], rows[3], 0x44),
                                 _mm512_shuffle_f32x4(rows[2], rows[3], 0xee));
  return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
}

// With kTerms > 0 scores are bfloat16 dot products, `Words::MultiplyAdd()`, of keys that bfloat16
// holds and of queries as the sum of so many bfloat16 terms; else float32's.
template <class Cache, class Words = void, int kTerms = 0>
class FewRows {
 public:
  // `memory` holds FewRowsMemory() floats, aligned to 64 bytes.
  FewRows(const kernel::KernelArgs& args, const kernel::WorkItem& item, float* memory)
      : rows_(args, item),
        scale_(args, item),
        count_(item.row_count),
        query_stride_(RoundUp(args.head_size, kElements)),
        output_stride_(RoundUp(args.value_size, kElements)),
        query_(memory),
        output_(memory + kMaxFewRows * int64_t{query_stride_}) {}

  void Run() {
    LoadQueries();
    std::fill_n(output_, int64_t{count_} * output_stride_, 0.0f);
    for (int32_t r = 0; r < count_; ++r) {
      maximum_[r] = rows_.Sink(r);
      sum_[r] = 0.0f;
    }
    const int32_t end = rows_.item.key_end;
    int32_t count = std::min(kStep, end - rows_.item.key_begin);
    if (count > 0) rows_.FindKeys(rows_.item.key_begin, count, Cache::kSize, key_[0], value_[0]);
    int32_t now = 0;
    for (int32_t first = rows_.item.key_begin; count > 0; now = 1 - now) {
      const int32_t next_count = std::min(kStep, end - first - count);
      if (next_count > 0) {
        rows_.FindKeys(first + count, next_count, Cache::kSize, key_[1 - now], value_[1 - now]);
      }
      // Past the last key: prefetches of what is there already.
      for (int32_t k = std::max(0, next_count); k < kStep; ++k) {
        key_[1 - now][k] = key_[now][0];
        value_[1 - now][k] = value_[now][0];
      }
      Step(first, count, key_[now], value_[now], key_[1 - now], value_[1 - now]);
      first += count;
      count = next_count;
    }
    Store();
  }

 private:
  static constexpr int32_t kStep = 32;  // keys

  static constexpr int32_t kElements = Cache::kElements;
  static constexpr int kPieceVectors = kElements / kLanes;

  void LoadQueries() {
    for (int32_t r = 0; r < count_; ++r) {
      float* query = query_ + int64_t{r} * query_stride_;
      std::fill_n(query, query_stride_, 0.0f);
      ReadRow(static_cast<DType>(rows_.args.query_dtype), rows_.Query(r), rows_.args.head_size,
              scale_.sign, query);
      for (int32_t i = 0; i < query_stride_; i += kElements) {
        float piece[kElements];
        std::copy_n(query + i, kElements, piece);
        for (int32_t j = 0; j < kElements; ++j) query[i + Cache::Place(j)] = piece[j];
      }
      if constexpr (kTerms > 0) MakeDotTerms(query);
    }
  }

  // In place: two vectors of a query -> one of its first term, and one of its second.
  void MakeDotTerms(float* query) const {
    for (int32_t i = 0; i < query_stride_; i += kPiece) {
      __m512 rest[2] = {_mm512_load_ps(query + i), _mm512_load_ps(query + i + kLanes)};
      for (int term = 0; term < 2; ++term) {
        const __m512i pairs = Words::Pairs(rest[0], rest[1]);
        _mm512_store_si512(query + i + term * kLanes, pairs);
        __m512 taken[2];
        BFloat16Cache::Split(pairs, taken);
        rest[0] = _mm512_sub_ps(rest[0], taken[0]);
        rest[1] = _mm512_sub_ps(rest[1], taken[1]);
      }
    }
  }

  void Step(int32_t first, int32_t count, const char** keys, const char** values,
            const char* const* next_keys, const char* const* next_values) {
    // Whole groups of four keys are multiplied; the last key stands for those that are missing.
    const int32_t padded = (count + 3) / 4 * 4;
    for (int32_t k = count; k < padded; ++k) keys[k] = keys[count - 1];
    if (rows_.HasTokenScales()) rows_.ReadScales(keys, count, key_scales_, value_scales_);
    for (int32_t r = 0; r < count_; r += 4) {
      switch (std::min(4, count_ - r)) {
        case 4:
          Rows<4>(r, first, count, padded, keys, values, next_keys, next_values);
          break;
        case 3:
          Rows<3>(r, first, count, padded, keys, values, next_keys, next_values);
          break;
        case 2:
          Rows<2>(r, first, count, padded, keys, values, next_keys, next_values);
          break;
        default:
          Rows<1>(r, first, count, padded, keys, values, next_keys, next_values);
      }
    }
  }

  template <int kRows>
  void Rows(int32_t row, int32_t first, int32_t count, int32_t padded, const char* const* keys,
            const char* const* values, const char* const* next_keys,
            const char* const* next_values) {
    alignas(64) float scores[kRows][kStep];
    float factors[kRows];
    for (int32_t k = 0; k < padded; k += 4) {
      Scores<kRows>(query_ + int64_t{row} * query_stride_, keys + k, next_keys + k, scores, k);
    }
    for (int r = 0; r < kRows; ++r) factors[r] = Softmax(row + r, first, count, scores[r]);

    float* output = output_ + int64_t{row} * output_stride_;
    // 24 registers hold the sums, the values and the probabilities.
    constexpr int kPieces = (kRows <= 2 ? 8 : 4) / kPieceVectors;
    const int32_t whole = rows_.args.value_size / kElements * kElements;
    int32_t dim = 0;
    for (; dim + kPieces * kElements <= whole; dim += kPieces * kElements) {
      Values<kRows, kPieces, false>(scores, count, factors, values, next_values, dim, output);
    }
    for (; dim < whole; dim += kElements) {
      Values<kRows, 1, false>(scores, count, factors, values, next_values, dim, output);
    }
    if (dim < rows_.args.value_size) {
      Values<kRows, 1, true>(scores, count, factors, values, next_values, dim, output);
    }
  }

  // scores[r][k .. k + 3] = q_r . K of four keys.
  template <int kRows>
  void Scores(const float* query, const char* const* keys, const char* const* next_keys,
              float scores[kRows][kStep], int32_t k) {
    constexpr int64_t kLine = 64;
    const int32_t size = rows_.args.head_size;
    // A key's own scale lies behind it.
    const int64_t bytes = size * Cache::kSize + (rows_.HasTokenScales() ? kLine : 0);
    for (int i = 0; i < 4; ++i) {
      for (int64_t b = 0; b < bytes; b += kLine) {
        _mm_prefetch(next_keys[i] + b, _MM_HINT_T0);
      }
    }
    __m512 sums[kRows][4];
    TESSERA_UNROLL
    for (int r = 0; r < kRows; ++r) {
      TESSERA_UNROLL
      for (int i = 0; i < 4; ++i) sums[r][i] = _mm512_setzero_ps();
    }
    int32_t dim = 0;
    for (; dim + kElements <= size; dim += kElements) {
      TESSERA_UNROLL
      for (int i = 0; i < 4; ++i) {
        const char* key = keys[i] + dim * Cache::kSize;
        if constexpr (kTerms > 0) {
          __m512i pairs[kPieceVectors / 2];
          Cache::LoadDots(key, pairs);
          AddDots<kRows>(query + dim, pairs, i, sums);
        } else {
          __m512 elements[kPieceVectors];
          Cache::Load(key, elements);
          AddProducts<kRows>(query + dim, elements, i, sums);
        }
      }
    }
    if (dim < size) {
      TESSERA_UNROLL
      for (int i = 0; i < 4; ++i) {
        const char* key = keys[i] + dim * Cache::kSize;
        if constexpr (kTerms > 0) {
          __m512i pairs[kPieceVectors / 2];
          Cache::LoadSomeDots(key, size - dim, pairs);
          AddDots<kRows>(query + dim, pairs, i, sums);
        } else {
          __m512 elements[kPieceVectors];
          Cache::LoadSome(key, size - dim, elements);
          AddProducts<kRows>(query + dim, elements, i, sums);
        }
      }
    }
    const __m512 all = SumLanes<kRows>(sums);
    _mm_store_ps(&scores[0][k], _mm512_castps512_ps128(all));
    if constexpr (kRows > 1) _mm_store_ps(&scores[1][k], _mm512_extractf32x4_ps(all, 1));
    if constexpr (kRows > 2) _mm_store_ps(&scores[2][k], _mm512_extractf32x4_ps(all, 2));
    if constexpr (kRows > 3) _mm_store_ps(&scores[3][k], _mm512_extractf32x4_ps(all, 3));
  }

  template <int kRows>
  void AddProducts(const float* query, const __m512* key, int i, __m512 sums[kRows][4]) {
    TESSERA_UNROLL
    for (int j = 0; j < kPieceVectors; ++j) {
      TESSERA_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const __m512 q = _mm512_load_ps(query + r * int64_t{query_stride_} + j * kLanes);
        sums[r][i] = _mm512_fmadd_ps(q, key[j], sums[r][i]);
      }
    }
  }

  template <int kRows>
  void AddDots(const float* query, const __m512i* key, int i, __m512 sums[kRows][4]) {
    TESSERA_UNROLL
    for (int j = 0; j < kPieceVectors / 2; ++j) {
      TESSERA_UNROLL
      for (int r = 0; r < kRows; ++r) {
        TESSERA_UNROLL
        for (int term = 0; term < kTerms; ++term) {
          const __m512 q =
              _mm512_load_ps(query + r * int64_t{query_stride_} + j * kPiece + term * kLanes);
          sums[r][i] = Words::MultiplyAdd(sums[r][i], q, _mm512_castsi512_ps(key[j]));
        }
      }
    }
  }

  // Scores of keys first .. first + count - 1 -> probabilities relative to the row's new maximum,
  // each times its value's own scale. Returns the factor that moves earlier sums to it.
  float Softmax(int32_t row, int32_t first, int32_t count, float* scores) {
    if (rows_.HasTokenScales()) Multiply(key_scales_, count, scores);
    const __m512 old_maximum = _mm512_set1_ps(maximum_[row]);
    maximum_[row] =
        std::max(maximum_[row], _mm512_reduce_max_ps(ToLogits(row, first, count, scores)));
    const __m512 maximum = _mm512_set1_ps(maximum_[row]);
    const __m512 reference = math::Reference<Avx512Ops>(maximum);
    __m512 sum = _mm512_setzero_ps();
    for (int32_t k = 0; k < count; k += kLanes) {
      const __m512 p = math::Probability<Avx512Ops>(_mm512_load_ps(scores + k), reference);
      _mm512_store_ps(scores + k, p);
      sum = _mm512_add_ps(sum, p);
    }
    if (rows_.HasTokenScales()) Multiply(value_scales_, count, scores);
    const float factor = _mm512_cvtss_f32(math::Correction<Avx512Ops>(old_maximum, maximum));
    sum_[row] = sum_[row] * factor + _mm512_reduce_add_ps(sum);
    return factor;
  }

  // Returns the maxima of the logits, which take the scores' place.
  __m512 ToLogits(int32_t row, int32_t first, int32_t count, float* scores) const {
    const kernel::KernelArgs& args = rows_.args;
    float scale = scale_.size * kLog2e;
    if (HasBias(args)) {
      const math::BiasTransform<Avx512Ops> bias{args, rows_.item, rows_.rows};
      MapScores(scale_.size, bias.Row(row), first, count, scores);
      scale = 1.0f;
    } else if (args.soft_cap > 0) {
      const math::SoftCap<Avx512Ops> cap{1.0f / args.soft_cap, args.soft_cap * kLog2e};
      MapScores(scale_.size, cap, first, count, scores);
      scale = 1.0f;
    }
    const math::MaskTransform<Avx512Ops> mask{args, rows_.item, rows_.rows};
    return MapScores(scale, mask.Row(row), first, count, scores);
  }

  // s = f(s * scale, key); returns their maxima.
  template <class F>
  static __m512 MapScores(float scale, const F& f, int32_t first, int32_t count, float* scores) {
    __m512 maximum = _mm512_set1_ps(Avx512Ops::kMinusInfinity);
    for (int32_t k = 0; k < count; k += kLanes) {
      // Past the largest int32 keys turn negative, which nobody sees either.
      const __m512i key = _mm512_add_epi32(_mm512_set1_epi32(first + k), FirstIntegers());
      const __m512 s = f(_mm512_mul_ps(_mm512_load_ps(scores + k), _mm512_set1_ps(scale)), key);
      _mm512_store_ps(scores + k, s);
      maximum = _mm512_max_ps(maximum, s);
    }
    return maximum;
  }

  static void Multiply(const float* factors, int32_t count, float* scores) {
    for (int32_t k = 0; k < count; k += kLanes) {
      _mm512_store_ps(scores + k,
                      _mm512_mul_ps(_mm512_load_ps(scores + k), _mm512_load_ps(factors + k)));
    }
  }

  // output[r][dim .. dim + kElements kPieces) = output * factor + P V; of the only piece `size -
  // dim` elements with kSome.
  template <int kRows, int kPieces, bool kSome>
  void Values(const float scores[kRows][kStep], int32_t count, const float* factors,
              const char* const* values, const char* const* next_values, int32_t dim,
              float* output) {
    constexpr int kVectors = kPieceVectors * kPieces;
    constexpr int64_t kPieceBytes = kElements * Cache::kSize;
    __m512 sums[kRows][kVectors];
    TESSERA_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const __m512 factor = _mm512_set1_ps(factors[r]);
      TESSERA_UNROLL
      for (int j = 0; j < kVectors; ++j) {
        sums[r][j] = _mm512_mul_ps(
            factor, _mm512_load_ps(output + r * int64_t{output_stride_} + dim + j * kLanes));
      }
    }
    for (int32_t k = 0; k < count; ++k) {
      const char* value = values[k] + dim * Cache::kSize;
      const char* next = next_values[k] + dim * Cache::kSize;
      __m512 v[kVectors];
      TESSERA_UNROLL
      for (int p = 0; p < kPieces; ++p) {
        _mm_prefetch(next + p * kPieceBytes, _MM_HINT_T0);
        if constexpr (kPieceBytes > 64) _mm_prefetch(next + p * kPieceBytes + 64, _MM_HINT_T0);
        if constexpr (kSome) {
          Cache::LoadSome(value, rows_.args.value_size - dim, v);
        } else {
          Cache::Load(value + p * kPieceBytes, v + kPieceVectors * p);
        }
      }
      TESSERA_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const __m512 p = _mm512_set1_ps(scores[r][k]);
        TESSERA_UNROLL
        for (int j = 0; j < kVectors; ++j) sums[r][j] = _mm512_fmadd_ps(p, v[j], sums[r][j]);
      }
    }
    TESSERA_UNROLL
    for (int r = 0; r < kRows; ++r) {
      TESSERA_UNROLL
      for (int j = 0; j < kVectors; ++j) {
        _mm512_store_ps(output + r * int64_t{output_stride_} + dim + j * kLanes, sums[r][j]);
      }
    }
  }

  void Store() {
    const float value_scale = HeadScale(rows_.args, rows_.item, rows_.args.value_scales);
    float row[kElements];
    for (int32_t r = 0; r < count_; ++r) {
      float* output = output_ + int64_t{r} * output_stride_;
      const CpuRows::Target target = rows_.Output(r);
      sum_[r] += kernel::scalar::Correction<kernel::ScalarOps>(rows_.Sink(r), maximum_[r]);
      const float factor =
          kernel::scalar::OutputFactor<kernel::ScalarOps>(sum_[r], target.factor * value_scale);
      for (int32_t i = 0; i < output_stride_; i += kElements) {
        for (int32_t j = 0; j < kElements; ++j) row[j] = output[i + Cache::Place(j)] * factor;
        std::copy_n(row, kElements, output + i);
      }
      WriteRow(target.dtype, output, rows_.args.value_size, target.data);
      rows_.StoreLse(r, maximum_[r], sum_[r]);
    }
  }

  CpuRows rows_;
  const ScoreScale scale_;
  const int32_t count_;
  const int32_t query_stride_;   // floats
  const int32_t output_stride_;  // floats
  float* const query_;           // [rows, query stride], a piece's elements in the cache's places
  float* const output_;          // [rows, output stride], likewise
  float maximum_[kMaxFewRows];   // in units of log2
  float sum_[kMaxFewRows];
  alignas(64) float key_scales_[kStep] = {};    // of the keys now, by token and head
  alignas(64) float value_scales_[kStep] = {};  // likewise
  const char* key_[2][kStep];
  const char* value_[2][kStep];
};
