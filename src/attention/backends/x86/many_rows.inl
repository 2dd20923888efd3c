// Attention of many rows: prefilling, and decoding with many query heads for each KV head.
//
// Rows lie in the lanes. Both products are C[i, row] += sum over k of A[i, k] B[k, row] with A read
// word by word: S^T = K Q^T needs the keys as they lie in the cache and the queries transposed
// once; O^T = V^T P^T needs the probabilities as the first product left them. So maxima, sums and
// masks are vertical, and neither scores nor keys are ever transposed.
//
// A block of 64 rows takes one step of keys at a time; its scores stay in the first-level cache.
// All blocks of an item share what is staged of a step. `Family` (float32_family.inl,
// bf16_family.inl, amx_family.inl) supplies the words' meaning:
//   kKeyStep, kKeyMultiple        keys of a step; what the number of staged keys is rounded up to
//   kCacheSize                    bytes of an element of the cache
//   kMaxBlocks                    blocks of an item
//   kScoreStep                    keys whose scores are made at a time, to stay in the first cache
//   kPairs                        a word of B is two bfloat16 (else one float32)
//   Depth(size), Terms(dtype)     words of a query's term; terms of which the query is the sum
//   QueryWords(row, word, term)   16 words of a query row
//   Pairs(p, q), AddPair(sum, w)  probabilities of two keys -> words; sum + both, as they were
//   rounded StageKeys, StageValues        cache rows -> A Scores<kVectors>, Outputs<kVectors>   the
//   two products for a block of kVectors * 16 rows
//
// No include guard and no namespace: each family's source file includes this inside a namespace and
// a target region of its own, so that small functions of the family are inlined here, after
// block_rows.h.

// Where everything lies, in words of 4 bytes; each part begins at a multiple of 64 bytes.
template <class Family>
struct ManyRowsLayout {
  ManyRowsLayout(int32_t head_size, int32_t value_size)
      : depth(Family::Depth(head_size)),
        key_stride(RoundUp(depth, kLanes)),
        value_rows(RoundUp(value_size, kPiece)),
        row_stride(std::max(RoundUp(head_size, kPiece), value_rows)),
        query_block(int64_t{Family::kMaxTerms} * key_stride * kBlockRows),
        output_block(int64_t{value_rows} * kBlockRows),
        output(Family::kMaxBlocks * query_block),
        keys(output + Family::kMaxBlocks * output_block),
        values(keys + int64_t{Family::kKeyStep} * key_stride),
        scores(values + int64_t{Family::kKeyStep} * value_rows),
        probabilities(scores + int64_t{Family::kScoreStep} * kBlockRows),
        rows(probabilities + int64_t{Family::kKeyStep} / (Family::kPairs ? 2 : 1) * kBlockRows),
        words(rows + int64_t{kLanes} * row_stride) {}

  int32_t depth;
  int32_t key_stride;    // of a staged key
  int32_t value_rows;    // dimensions of a value, padded
  int32_t row_stride;    // of a plain row
  int64_t query_block;   // [terms, depth, kBlockRows]
  int64_t output_block;  // [value_rows, kBlockRows]
  int64_t output;
  int64_t keys;           // [kKeyStep, key_stride]
  int64_t values;         // as the family likes it
  int64_t scores;         // [kScoreStep, kBlockRows]
  int64_t probabilities;  // [kKeyStep (/ 2), kBlockRows]
  int64_t rows;           // [kLanes, row_stride]: plain queries, then plain results
  int64_t words;
};

template <class Family>
class ManyRows {
 public:
  // `memory` holds ManyRowsLayout::words words, aligned to 64 bytes.
  ManyRows(const kernel::KernelArgs& args, const kernel::WorkItem& item, float* memory)
      : rows_(args, item),
        scale_(args, item),
        layout_(args.head_size, args.value_size),
        memory_(memory),
        count_(item.row_count),
        blocks_((item.row_count + kBlockRows - 1) / kBlockRows),
        terms_(Family::Terms(static_cast<DType>(args.query_dtype))) {
    const bool plain = args.soft_cap <= 0 && !HasBias(args);
    to_log2_ = plain ? scale_.size * kLog2e : kLog2e;
  }

  void Run() {
    Start();
    int32_t first = rows_.item.key_begin;
    int32_t count = std::min(Family::kKeyStep, rows_.item.key_end - first);
    if (count > 0) rows_.FindKeys(first, count, Family::kCacheSize, keys_, values_);
    while (count > 0) {
      const int32_t padded = RoundUp(count, Family::kKeyMultiple);
      if (rows_.HasTokenScales()) ReadScales(count);
      Family::StageKeys(keys_, count, padded, rows_.args.head_size, layout_.key_stride, Keys());
      Family::StageValues(values_, count, padded, rows_.args.value_size, layout_.value_rows,
                          Values());
      const int32_t next_count = std::min(Family::kKeyStep, rows_.item.key_end - first - count);
      if (next_count > 0) {
        rows_.FindKeys(first + count, next_count, Family::kCacheSize, keys_, values_);
      }
      for (int32_t block = 0; block < blocks_; ++block) {
        PrefetchShare(block, next_count);
        const Block& range = ranges_[block];
        if (first >= range.any.end || first + count <= range.any.begin) continue;
        const bool all =
            count == padded && first >= range.all.begin && first + count <= range.all.end;
        switch ((std::min(kBlockRows, count_ - block * kBlockRows) + kLanes - 1) / kLanes) {
          case 1:
            BlockStep<1>(block, first, padded, all);
            break;
          case 2:
            BlockStep<2>(block, first, padded, all);
            break;
          case 3:
            BlockStep<3>(block, first, padded, all);
            break;
          default:
            BlockStep<4>(block, first, padded, all);
        }
      }
      first += count;
      count = next_count;
    }
    for (int32_t row = 0; row < count_; row += kLanes) Store(row);
  }

 private:
  struct Block {
    kernel::KeyRange any;  // keys that at least one row sees
    kernel::KeyRange all;  // keys that each row sees
  };

  float* Query(int32_t block) { return memory_ + block * layout_.query_block; }
  float* Output(int32_t block) { return memory_ + layout_.output + block * layout_.output_block; }
  float* Keys() { return memory_ + layout_.keys; }
  float* Values() { return memory_ + layout_.values; }
  float* Scores() { return memory_ + layout_.scores; }
  // From that of key `key` of the step on.
  float* Probabilities(int32_t key) {
    return memory_ + layout_.probabilities + int64_t{key} / (Family::kPairs ? 2 : 1) * kBlockRows;
  }
  float* PlainRow(int32_t i) { return memory_ + layout_.rows + i * int64_t{layout_.row_stride}; }

  void Start() {
    for (int32_t row = 0; row < blocks_ * kBlockRows; ++row) {
      const kernel::KeyRange visible = row < count_ ? rows_.Visible(row) : kernel::KeyRange{0, 0};
      begin_[row] = visible.begin;
      end_[row] = visible.end;
      reference_[row] = rows_.Sink(row) / to_log2_;
      weight_[row] = sum_[row] = 0.0f;
      if (row >= count_) continue;
      if (HasBias(rows_.args)) {
        const kernel::RowBias bias = BiasOfRow(rows_.args, rows_.item, rows_.rows, row);
        slopes_[row] = bias.slope;
        positions_[row] = bias.position;
      }
      Block& block = ranges_[row / kBlockRows];
      if (row % kBlockRows == 0) block = {visible, visible};
      block.any = {std::min(block.any.begin, visible.begin), std::max(block.any.end, visible.end)};
      block.all = {std::max(block.all.begin, visible.begin), std::min(block.all.end, visible.end)};
    }
    for (int32_t row = 0; row < count_; row += kLanes) PackQuery(row);
    std::fill_n(memory_ + layout_.output, blocks_ * layout_.output_block, 0.0f);
  }

  // Weights do without the values' scales again: hence the inverses, and no scale is 0.
  void ReadScales(int32_t count) {
    rows_.ReadScales(keys_, count, key_scales_, value_scales_);
    std::fill(value_scales_ + count, value_scales_ + Family::kKeyStep, 1.0f);
    for (int32_t k = 0; k < Family::kKeyStep; ++k) {
      // 0, or so small that products with it would vanish; NaN stays.
      if (std::abs(value_scales_[k]) < 0x1p-64f) {
        value_scales_[k] = std::copysign(0x1p-64f, value_scales_[k]);
      }
      inverse_scales_[k] = 1.0f / value_scales_[k];
    }
  }

  // 16 rows from `row` on -> 16 columns of the block's B.
  void PackQuery(int32_t row) {
    for (int32_t i = 0; i < kLanes; ++i) {
      float* plain = PlainRow(i);
      const bool exists = row + i < count_;
      if (!exists) {
        std::fill_n(plain, layout_.row_stride, 0.0f);
        continue;
      }
      ReadRow(static_cast<DType>(rows_.args.query_dtype), rows_.Query(row + i),
              rows_.args.head_size, scale_.sign, plain);
    }
    float* query = Query(row / kBlockRows) + row % kBlockRows;
    for (int32_t term = 0; term < terms_; ++term) {
      for (int32_t word = 0; word < layout_.depth; word += kLanes) {
        __m512i words[kLanes];
        for (int i = 0; i < kLanes; ++i) {
          words[i] = Family::QueryWords(PlainRow(i), word, term);
        }
        Transpose(words);
        const int32_t used = std::min(kLanes, layout_.depth - word);
        for (int32_t i = 0; i < used; ++i) {
          _mm512_store_si512(query + int64_t{term * layout_.depth + word + i} * kBlockRows,
                             words[i]);
        }
      }
    }
  }

  // The next step's keys and values, a share while each block is multiplied.
  void PrefetchShare(int32_t block, int32_t next_count) const {
    constexpr int64_t kLine = 64;
    const int64_t key_bytes = rows_.args.head_size * Family::kCacheSize;
    const int64_t value_bytes = rows_.args.value_size * Family::kCacheSize;
    for (int32_t k = block * next_count / blocks_; k < (block + 1) * next_count / blocks_; ++k) {
      for (int64_t b = 0; b < key_bytes; b += kLine) _mm_prefetch(keys_[k] + b, _MM_HINT_T1);
      for (int64_t b = 0; b < value_bytes; b += kLine) _mm_prefetch(values_[k] + b, _MM_HINT_T1);
    }
  }

  template <int kVectors>
  void BlockStep(int32_t block, int32_t first, int32_t padded, bool all_visible) {
    // Keys from `begin` on have probabilities that await their values.
    int32_t begin = 0;
    for (int32_t k = 0; k < padded; k += Family::kScoreStep) {
      const int32_t keys = std::min(Family::kScoreStep, padded - k);
      Family::template Scores<kVectors>(Keys(), layout_.key_stride, k, keys, Query(block),
                                        layout_.depth, terms_, Scores());
      if (rows_.HasTokenScales()) ScaleScores<kVectors>(key_scales_ + k, keys);
      ToLogits<kVectors>(block, int64_t{first} + k, keys, all_visible);
      __m512 maximum[kVectors];
      if (Exceeds<kVectors>(block, keys, maximum)) {
        if (k > begin) AddValues<kVectors>(block, begin, k);
        begin = k;
        Rescale<kVectors>(block, maximum);
      }
      if (rows_.HasTokenScales()) {
        Exponentials<kVectors, true>(block, k, keys);
      } else {
        Exponentials<kVectors, false>(block, k, keys);
      }
    }
    AddValues<kVectors>(block, begin, padded);
  }

  template <int kVectors>
  void AddValues(int32_t block, int32_t begin, int32_t end) {
    Family::template Outputs<kVectors>(Values(), layout_.value_rows, begin, end - begin,
                                       Probabilities(begin), Output(block));
  }

  // Scores of key k times factors[k].
  template <int kVectors>
  void ScaleScores(const float* factors, int32_t keys) {
    for (int32_t k = 0; k < keys; ++k) {
      const __m512 factor = _mm512_set1_ps(factors[k]);
      for (int j = 0; j < kVectors; ++j) {
        float* s = Scores() + int64_t{k} * kBlockRows + j * kLanes;
        _mm512_store_ps(s, _mm512_mul_ps(_mm512_load_ps(s), factor));
      }
    }
  }

  // Of the block's scores of keys from `first` on; but plain ones stay as they are, for to_log2_.
  template <int kVectors>
  void ToLogits(int32_t block, int64_t first, int32_t keys, bool all_visible) {
    const kernel::KernelArgs& args = rows_.args;
    for (int j = 0; j < kVectors; ++j) {
      const int32_t row = block * kBlockRows + j * kLanes;
      float* const scores = Scores() + j * kLanes;
      float scale = scale_.size;
      if (args.soft_cap > 0) {
        const math::SoftCap<Avx512Ops> cap{1.0f / args.soft_cap, args.soft_cap};
        MapScores(scale, cap, first, keys, scores);
        scale = 1.0f;
      }
      if (HasBias(args)) {
        const math::AddAlibi<Avx512Ops> alibi{_mm512_load_si512(positions_ + row),
                                              _mm512_load_ps(slopes_ + row), args.alibi_sqrt != 0};
        MapScores(scale, alibi, first, keys, scores);
        if (args.query_query_bias != nullptr) AddTables(row, first, keys, scores);
      }
      if (!all_visible) {
        const math::Mask<Avx512Ops> mask{_mm512_load_si512(begin_ + row),
                                         _mm512_load_si512(end_ + row)};
        MapScores(1.0f, mask, first, keys, scores);
      }
    }
  }

  // s = f(s * scale, key) for the scores of 16 rows.
  template <class F>
  static void MapScores(float scale, const F& f, int64_t first, int32_t keys, float* scores) {
    for (int32_t k = 0; k < keys; ++k, scores += kBlockRows) {
      // Keys that only fill the step up may lie past the largest int32: they turn negative, which
      // nobody sees either.
      const __m512i key = _mm512_set1_epi32(static_cast<int32_t>(first + k));
      const __m512 s = _mm512_mul_ps(_mm512_load_ps(scores), _mm512_set1_ps(scale));
      _mm512_store_ps(scores, f(s, key));
    }
  }

  // The query-query bias, which few keys have, of 16 rows from `row` on.
  void AddTables(int32_t row, int64_t first, int32_t keys, float* scores) const {
    for (int32_t i = 0; i < std::min(kLanes, count_ - row); ++i) {
      const kernel::RowBias bias = BiasOfRow(rows_.args, rows_.item, rows_.rows, row + i);
      const int64_t end = std::min<int64_t>(first + keys, int64_t{bias.first_key} + bias.num_keys);
      for (int64_t key = std::max<int64_t>(first, bias.first_key); key < end; ++key) {
        scores[(key - first) * kBlockRows + i] += bias.table[key - bias.first_key];
      }
    }
  }

  // The keys' maxima, and whether a row's is so far above its reference that probabilities relative
  // to that would grow beyond 2^8. Until then the reference stays, which may well be below the
  // maximum: sums and outputs need no correction.
  template <int kVectors>
  bool Exceeds(int32_t block, int32_t keys, __m512* maximum) {
    const float* scores = Scores();
    TESSERA_UNROLL
    for (int j = 0; j < kVectors; ++j) maximum[j] = _mm512_set1_ps(Avx512Ops::kMinusInfinity);
    for (int32_t k = 0; k < keys; ++k) {
      TESSERA_UNROLL
      for (int j = 0; j < kVectors; ++j) {
        maximum[j] =
            _mm512_max_ps(maximum[j], _mm512_load_ps(scores + k * kBlockRows + j * kLanes));
      }
    }
    const __m512 margin = _mm512_set1_ps(8.0f / to_log2_);
    __mmask16 above = 0;
    TESSERA_UNROLL
    for (int j = 0; j < kVectors; ++j) {
      const __m512 reference = _mm512_load_ps(reference_ + block * kBlockRows + j * kLanes);
      above |= _mm512_cmp_ps_mask(maximum[j], _mm512_add_ps(reference, margin), _CMP_GT_OQ);
    }
    return above != 0;
  }

  // References become the maxima; what is summed up follows.
  template <int kVectors>
  void Rescale(int32_t block, const __m512* maximum) {
    const __m512 to_log2 = _mm512_set1_ps(to_log2_);
    __m512 factors[kVectors];
    TESSERA_UNROLL
    for (int j = 0; j < kVectors; ++j) {
      float* reference = reference_ + block * kBlockRows + j * kLanes;
      float* sum = sum_ + block * kBlockRows + j * kLanes;
      float* weight = weight_ + block * kBlockRows + j * kLanes;
      const __m512 old_reference = _mm512_load_ps(reference);
      const __m512 new_reference = _mm512_max_ps(old_reference, maximum[j]);
      factors[j] = math::Correction<Avx512Ops>(old_reference, new_reference, to_log2);
      _mm512_store_ps(reference, new_reference);
      _mm512_store_ps(sum, _mm512_mul_ps(_mm512_load_ps(sum), factors[j]));
      _mm512_store_ps(weight, _mm512_mul_ps(_mm512_load_ps(weight), factors[j]));
    }
    float* output = Output(block);
    for (int32_t dim = 0; dim < layout_.value_rows; ++dim, output += kBlockRows) {
      TESSERA_UNROLL
      for (int j = 0; j < kVectors; ++j) {
        float* o = output + j * kLanes;
        _mm512_store_ps(o, _mm512_mul_ps(_mm512_load_ps(o), factors[j]));
      }
    }
  }

  // Scores of the step's keys from `first` on -> probabilities relative to the references; with
  // kScaled they go to the values times those' own scales.
  template <int kVectors, bool kScaled>
  void Exponentials(int32_t block, int32_t first, int32_t keys) {
    const float* s = Scores();
    const float* scales = value_scales_ + first;
    [[maybe_unused]] const float* inverse = inverse_scales_ + first;
    float* to = Probabilities(first);
    float* sums = sum_ + block * kBlockRows;
    float* weights = weight_ + block * kBlockRows;
    const __m512 to_log2 = _mm512_set1_ps(to_log2_);
    __m512 reference[kVectors], sum[kVectors], weight[kVectors];
    TESSERA_UNROLL
    for (int j = 0; j < kVectors; ++j) {
      const __m512 raw = _mm512_load_ps(reference_ + block * kBlockRows + j * kLanes);
      reference[j] = _mm512_mul_ps(math::Reference<Avx512Ops>(raw), to_log2);
      sum[j] = _mm512_load_ps(sums + j * kLanes);
      weight[j] = _mm512_load_ps(weights + j * kLanes);
    }
    if constexpr (Family::kPairs) {
      for (int32_t k = 0; k < keys; k += 2, s += 2 * kBlockRows, to += kBlockRows) {
        TESSERA_UNROLL
        for (int j = 0; j < kVectors; ++j) {
          const __m512 p =
              math::Probability<ShortOps>(_mm512_load_ps(s + j * kLanes), to_log2, reference[j]);
          const __m512 q = math::Probability<ShortOps>(_mm512_load_ps(s + kBlockRows + j * kLanes),
                                                       to_log2, reference[j]);
          sum[j] = _mm512_add_ps(sum[j], _mm512_add_ps(p, q));
          if constexpr (kScaled) {
            const __m512i pair = Family::Pairs(_mm512_mul_ps(p, _mm512_set1_ps(scales[k])),
                                               _mm512_mul_ps(q, _mm512_set1_ps(scales[k + 1])));
            __m512 both[2];
            BFloat16Cache::Split(pair, both);
            weight[j] = _mm512_fmadd_ps(both[0], _mm512_set1_ps(inverse[k]), weight[j]);
            weight[j] = _mm512_fmadd_ps(both[1], _mm512_set1_ps(inverse[k + 1]), weight[j]);
            _mm512_store_si512(to + j * kLanes, pair);
          } else {
            const __m512i pair = Family::Pairs(p, q);
            weight[j] = Family::AddPair(weight[j], pair);
            _mm512_store_si512(to + j * kLanes, pair);
          }
        }
      }
    } else {
      for (int32_t k = 0; k < keys; ++k, s += kBlockRows, to += kBlockRows) {
        TESSERA_UNROLL
        for (int j = 0; j < kVectors; ++j) {
          __m512 p =
              math::Probability<Avx512Ops>(_mm512_load_ps(s + j * kLanes), to_log2, reference[j]);
          sum[j] = _mm512_add_ps(sum[j], p);
          weight[j] = sum[j];
          if constexpr (kScaled) p = _mm512_mul_ps(p, _mm512_set1_ps(scales[k]));
          _mm512_store_ps(to + j * kLanes, p);
        }
      }
    }
    TESSERA_UNROLL
    for (int j = 0; j < kVectors; ++j) {
      _mm512_store_ps(sums + j * kLanes, sum[j]);
      _mm512_store_ps(weights + j * kLanes, weight[j]);
    }
  }

  // 16 rows from `row` on.
  void Store(int32_t row) {
    const float* output = Output(row / kBlockRows) + row % kBlockRows;
    __m512 weight = _mm512_load_ps(weight_ + row);
    if (CountsSinks(rows_.args, rows_.item)) {
      alignas(64) float sinks[kLanes];
      for (int32_t i = 0; i < kLanes; ++i) sinks[i] = rows_.Sink(row + i) / to_log2_;
      const __m512 sink = math::Correction<Avx512Ops>(
          _mm512_load_ps(sinks), _mm512_load_ps(reference_ + row), _mm512_set1_ps(to_log2_));
      weight = _mm512_add_ps(weight, sink);
      _mm512_store_ps(sum_ + row, _mm512_add_ps(_mm512_load_ps(sum_ + row), sink));
    }
    // The scale is the same for all rows.
    const float scale =
        rows_.Output(row).factor * HeadScale(rows_.args, rows_.item, rows_.args.value_scales);
    const __m512 factor = math::OutputFactor<Avx512Ops>(weight, _mm512_set1_ps(scale));
    for (int32_t dim = 0; dim < layout_.value_rows; dim += kLanes) {
      __m512i words[kLanes];
      for (int i = 0; i < kLanes; ++i) {
        words[i] = _mm512_castps_si512(
            _mm512_mul_ps(_mm512_load_ps(output + int64_t{dim + i} * kBlockRows), factor));
      }
      Transpose(words);
      for (int i = 0; i < kLanes; ++i) _mm512_storeu_si512(PlainRow(i) + dim, words[i]);
    }
    for (int32_t i = 0; i < std::min(kLanes, count_ - row); ++i) {
      const CpuRows::Target target = rows_.Output(row + i);
      WriteRow(target.dtype, PlainRow(i), rows_.args.value_size, target.data);
      rows_.StoreLse(row + i, reference_[row + i] * to_log2_, sum_[row + i]);
    }
  }

  CpuRows rows_;
  const ScoreScale scale_;
  const ManyRowsLayout<Family> layout_;
  float* const memory_;
  const int32_t count_;
  const int32_t blocks_;
  const int32_t terms_;
  float to_log2_;  // of a score as it lies in Scores() when probabilities are made, positive
  Block ranges_[Family::kMaxBlocks];
  alignas(64) int32_t begin_[Family::kMaxBlocks * kBlockRows];
  alignas(64) int32_t end_[Family::kMaxBlocks * kBlockRows];
  alignas(64) float reference_[Family::kMaxBlocks * kBlockRows];  // a score
  alignas(64) float sum_[Family::kMaxBlocks * kBlockRows];        // of probabilities, for the lse
  alignas(64) float weight_[Family::kMaxBlocks * kBlockRows];  // as they were rounded, for outputs
  alignas(64) float slopes_[Family::kMaxBlocks * kBlockRows] = {};       // ALiBi's
  alignas(64) int32_t positions_[Family::kMaxBlocks * kBlockRows] = {};  // of the rows
  // Of a step's keys, by token and head.
  alignas(64) float key_scales_[Family::kKeyStep] = {};
  alignas(64) float value_scales_[Family::kKeyStep] = {};  // not 0
  alignas(64) float inverse_scales_[Family::kKeyStep] = {};
  const char* keys_[Family::kKeyStep];
  const char* values_[Family::kKeyStep];
};
