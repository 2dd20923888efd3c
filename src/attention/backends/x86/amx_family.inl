// The family of many_rows.inl for AMX and caches whose elements bfloat16 holds: 16 x 16 of C, 16 x
// 32 elements of A and 32 x 16 of B are one tile register each, B in pairs as bf16_family.inl has
// it. A is K or V transposed.
//
// One tile of A meets all four of B's and C's at a time: four independent sums hide the latency of
// a product. The numbers of tile registers are part of the instructions, hence no loops over them.
//
// No include guard and no namespace, as many_rows.inl; behind bf16_family.inl.

// LDTILECFG's operand (Intel's Software Developer's Manual, volume 2): eight full tiles.
struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t bytes_per_row[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileConfig) == 64);

// Tile registers are set up for an item, and given back: a thread that holds none is switched
// faster.
class TileRegisters {
 public:
  TileRegisters() {
    const TileConfig config;
    _tile_loadconfig(&config);
  }
  ~TileRegisters() { _tile_release(); }
  TileRegisters(const TileRegisters&) = delete;
  TileRegisters& operator=(const TileRegisters&) = delete;
};

template <class Cache>
struct AmxFamily {
  static constexpr int32_t kKeyStep = 256;
  static constexpr int32_t kKeyMultiple = 32;
  static constexpr int32_t kMaxBlocks = 8;
  static constexpr int32_t kScoreStep = 32;
  static constexpr int32_t kMaxTerms = 2;
  static constexpr int64_t kCacheSize = Cache::kSize;
  static constexpr bool kPairs = true;

  // Whole tiles.
  static int32_t Depth(int32_t head_size) { return RoundUp(head_size, 32) / 2; }
  static int32_t Terms(DType query) { return BFloat16Words::Terms(query); }
  static __m512i QueryWords(const float* row, int32_t word, int32_t term) {
    return BFloat16Words::QueryWords(row, word, term);
  }
  static __m512i Pairs(__m512 even, __m512 odd) { return BFloat16Words::Pairs(even, odd); }
  // Where there is AMX, VDPBF16PS is slow.
  static __m512 AddPair(__m512 sum, __m512i pair) {
    __m512 both[2];
    BFloat16Cache::Split(pair, both);
    return _mm512_add_ps(sum, _mm512_add_ps(both[0], both[1]));
  }

  // to[16 keys][16 words][key][word]: each tile of A is one piece of memory, and those that are
  // multiplied one after another lie so.
  static void StageKeys(const char* const* keys, int32_t count, int32_t padded, int32_t head_size,
                        int32_t stride, float* to) {
    for (int32_t k = 0; k < padded; ++k) {
      float* row = to + int64_t{k / kLanes} * kLanes * stride + k % kLanes * kLanes;
      for (int32_t word = 0; word < stride; word += kLanes, row += kTileWords) {
        _mm512_store_si512(row,
                           BFloat16Family<Cache>::LoadPiece(keys, k, count, 2 * word, head_size));
      }
    }
  }

  // to[16 dimensions][32 keys][dimension][pair of keys], likewise.
  static void StageValues(const char* const* values, int32_t count, int32_t padded,
                          int32_t value_size, int32_t value_rows, float* to) {
    for (int32_t k = 0; k < padded; k += 2 * kLanes, to += kTileWords) {
      for (int32_t dim = 0; dim < value_rows; dim += kPiece) {
        float* tiles = to + int64_t{dim / kLanes} * kValueTile;
        StageTiles<false>(values, k, count, value_size, dim, tiles);
        StageTiles<true>(values, k, count, value_size, dim, tiles);
      }
    }
  }

  template <int kVectors>
  static void Scores(const float* keys, int32_t key_stride, int32_t first, int32_t count,
                     const float* query, int32_t depth, int32_t terms, float* scores) {
    for (int32_t k = 0; k < count; k += kLanes) {
      const float* a = keys + int64_t{first + k} * key_stride;
      float* c = scores + int64_t{k} * kBlockRows;
      MultiplyTiles<kVectors, false>(a, query, depth, c);
      if (terms > 1) {
        MultiplyTiles<kVectors, true>(a, query + int64_t{depth} * kBlockRows, depth, c);
      }
    }
  }

  template <int kVectors>
  static void Outputs(const float* values, int32_t value_rows, int32_t first, int32_t count,
                      const float* probabilities, float* output) {
    for (int32_t dim = 0; dim < value_rows; dim += kLanes) {
      const float* a =
          values + int64_t{dim / kLanes} * kValueTile + int64_t{first / 32} * kTileWords;
      MultiplyTiles<kVectors, true>(a, probabilities, count / 2,
                                    output + int64_t{dim} * kBlockRows);
    }
  }

 private:
  static constexpr int64_t kRowBytes = kBlockRows * 4;
  static constexpr int64_t kTileRowBytes = 64;
  static constexpr int64_t kTileWords = 256;
  // Of 16 dimensions of all keys; a line more, so that dimensions do not share a cache's set.
  static constexpr int64_t kValueTile = kKeyStep / 32 * kTileWords + kLanes;

  // 16 of the 32 dimensions from `dim` on, of 32 keys from `k` on.
  template <bool kHigh>
  static void StageTiles(const char* const* values, int32_t k, int32_t count, int32_t size,
                         int32_t dim, float* to) {
    __m512i words[kLanes];
    TESSERA_UNROLL
    for (int32_t pair = 0; pair < kLanes; ++pair) {
      const __m512i even = BFloat16Family<Cache>::LoadPiece(values, k + 2 * pair, count, dim, size);
      const __m512i odd =
          BFloat16Family<Cache>::LoadPiece(values, k + 2 * pair + 1, count, dim, size);
      words[pair] = kHigh ? _mm512_unpackhi_epi16(even, odd) : _mm512_unpacklo_epi16(even, odd);
    }
    Transpose(words);
    // Unpacking took four of every eight dimensions.
    for (int32_t i = 0; i < kLanes; ++i) {
      const int32_t row = i / 4 * 8 + i % 4 + (kHigh ? 4 : 0);
      _mm512_store_si512(to + row / kLanes * kValueTile + row % kLanes * kLanes, words[i]);
    }
  }

  // C [16, 16 kVectors] (+)= A [16, depth words] B [depth, 16 kVectors]. Each tile of A, which
  // comes from the second-level cache, is loaded once for all rows of the block; B stays in the
  // first.
  template <int kVectors, bool kAdd>
  static void MultiplyTiles(const float* a, const float* b, int32_t depth, float* c) {
    // The compiler does not know that tiles are loaded from what was stored before.
    std::atomic_signal_fence(std::memory_order_seq_cst);
    if constexpr (kAdd) {
      _tile_loadd(0, c, kRowBytes);
      if constexpr (kVectors > 1) _tile_loadd(1, c + kLanes, kRowBytes);
      if constexpr (kVectors > 2) _tile_loadd(2, c + 2 * kLanes, kRowBytes);
      if constexpr (kVectors > 3) _tile_loadd(3, c + 3 * kLanes, kRowBytes);
    } else {
      _tile_zero(0);
      _tile_zero(1);
      _tile_zero(2);
      _tile_zero(3);
    }
    for (int32_t k = 0; k < depth; k += kLanes) {
      _tile_loadd(4, a, kTileRowBytes);
      _tile_loadd(5, b, kRowBytes);
      _tile_dpbf16ps(0, 4, 5);
      if constexpr (kVectors > 1) {
        _tile_loadd(6, b + kLanes, kRowBytes);
        _tile_dpbf16ps(1, 4, 6);
      }
      if constexpr (kVectors > 2) {
        _tile_loadd(7, b + 2 * kLanes, kRowBytes);
        _tile_dpbf16ps(2, 4, 7);
      }
      if constexpr (kVectors > 3) {
        _tile_loadd(5, b + 3 * kLanes, kRowBytes);
        _tile_dpbf16ps(3, 4, 5);
      }
      a += kTileWords;
      b += int64_t{kLanes} * kBlockRows;
    }
    _tile_stored(0, c, kRowBytes);
    if constexpr (kVectors > 1) _tile_stored(1, c + kLanes, kRowBytes);
    if constexpr (kVectors > 2) _tile_stored(2, c + 2 * kLanes, kRowBytes);
    if constexpr (kVectors > 3) _tile_stored(3, c + 3 * kLanes, kRowBytes);
  }
};
