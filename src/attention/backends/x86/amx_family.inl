// The family of many_rows.inl for bfloat16 caches and AMX: 16 x 16 of C, 16 x 32 elements of A and
// 32 x 16 of B are one tile register each, B in pairs as bf16_family.inl has it. A is K as the
// cache holds it, or V transposed.
//
// Four tiles of C are multiplied at a time: two of A and two of B are loaded for four products, so
// that loading keeps pace. The numbers of tile registers are part of the instructions, hence the
// functions without loops.
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

struct AmxFamily {
  static constexpr int32_t kKeyStep = 128;
  static constexpr int32_t kKeyMultiple = 32;
  static constexpr int32_t kMaxTerms = 2;
  static constexpr int64_t kCacheSize = 2;
  static constexpr bool kPairs = true;

  // Whole tiles.
  static int32_t Depth(int32_t head_size) { return RoundUp(head_size, 32) / 2; }
  static int32_t Terms(DType query) { return BFloat16Family::Terms(query); }
  static __m512i QueryWords(const float* row, int32_t word, int32_t term) {
    return BFloat16Family::QueryWords(row, word, term);
  }
  static __m512i Pairs(__m512 even, __m512 odd) { return BFloat16Family::Pairs(even, odd); }

  static void StageKeys(const char* const* keys, int32_t count, int32_t padded, int32_t head_size,
                        int32_t stride, float* to) {
    BFloat16Family::StageKeys(keys, count, padded, head_size, stride, to);
  }

  // to[dimension][pair of keys], rows kKeyStep / 2 words apart.
  static void StageValues(const char* const* values, int32_t count, int32_t padded,
                          int32_t value_size, int32_t value_rows, float* to) {
    for (int32_t k = 0; k < padded; k += 2 * kLanes) {
      for (int32_t i = 0; i < value_rows; i += kPiece) {
        __m512i low[kLanes], high[kLanes];
        for (int32_t pair = 0; pair < kLanes; ++pair) {
          const __m512i even =
              BFloat16Family::LoadPiece(values, k + 2 * pair, count, i, value_size);
          const __m512i odd =
              BFloat16Family::LoadPiece(values, k + 2 * pair + 1, count, i, value_size);
          low[pair] = _mm512_unpacklo_epi16(even, odd);
          high[pair] = _mm512_unpackhi_epi16(even, odd);
        }
        Transpose(low);
        Transpose(high);
        // Unpacking took four of every eight dimensions each.
        for (int32_t word = 0; word < kLanes; ++word) {
          const int32_t dim = i + word / 4 * 8 + word % 4;
          float* row = to + int64_t{dim} * (kKeyStep / 2) + k / 2;
          _mm512_store_si512(row, low[word]);
          _mm512_store_si512(row + 4 * int64_t{kKeyStep / 2}, high[word]);
        }
      }
    }
  }

  template <int kVectors>
  static void Scores(const float* keys, int32_t key_stride, int32_t count, const float* query,
                     int32_t depth, int32_t terms, float* scores) {
    for (int32_t k = 0; k < count; k += 2 * kLanes) {
      const float* a = keys + int64_t{k} * key_stride;
      float* c = scores + int64_t{k} * kBlockRows;
      for (int32_t term = 0; term < terms; ++term) {
        const float* b = query + int64_t{term} * depth * kBlockRows;
        MultiplyRows<kVectors>(term > 0, a, key_stride, b, depth, c);
      }
    }
  }

  template <int kVectors>
  static void Outputs(const float* values, int32_t value_rows, int32_t count,
                      const float* probabilities, const __m512* factors, float* output) {
    Rescale<kVectors>(value_rows, factors, output);
    for (int32_t dim = 0; dim < value_rows; dim += 2 * kLanes) {
      MultiplyRows<kVectors>(true, values + int64_t{dim} * (kKeyStep / 2), kKeyStep / 2,
                             probabilities, count / 2, output + int64_t{dim} * kBlockRows);
    }
  }

 private:
  static constexpr int64_t kRowBytes = kBlockRows * 4;

  // Tiles are added to in memory, which no factor can reach on the way. Once a row has met its
  // largest score, the factor is 1.
  template <int kVectors>
  static void Rescale(int32_t value_rows, const __m512* factors, float* output) {
    __mmask16 changed = 0;
    TESSERA_UNROLL
    for (int j = 0; j < kVectors; ++j) {
      changed |= _mm512_cmpneq_ps_mask(factors[j], _mm512_set1_ps(1.0f));
    }
    if (changed == 0) return;
    for (int32_t dim = 0; dim < value_rows; ++dim) {
      TESSERA_UNROLL
      for (int j = 0; j < kVectors; ++j) {
        float* o = output + int64_t{dim} * kBlockRows + j * kLanes;
        _mm512_store_ps(o, _mm512_mul_ps(_mm512_load_ps(o), factors[j]));
      }
    }
  }

  // C [32, rows] (+)= A [32, depth words] B [depth, rows]; `a_row` in words.
  template <int kVectors>
  static void MultiplyRows(bool add, const float* a, int32_t a_row, const float* b, int32_t depth,
                           float* c) {
    TESSERA_UNROLL
    for (int j = 0; j + 1 < kVectors; j += 2) {
      Multiply32x32(add, a, a_row * int64_t{4}, b + j * kLanes, depth, c + j * kLanes);
    }
    if constexpr (kVectors % 2 == 1) {
      Multiply32x16(add, a, a_row * int64_t{4}, b + (kVectors - 1) * kLanes, depth,
                    c + (kVectors - 1) * kLanes);
    }
  }

  static void Multiply32x32(bool add, const float* a, int64_t a_bytes, const float* b,
                            int32_t depth, float* c) {
    // The compiler does not know that tiles are loaded from what was stored before.
    std::atomic_signal_fence(std::memory_order_seq_cst);
    float* c_low = c + int64_t{kLanes} * kBlockRows;
    const float* a_low = a + a_bytes / 4 * kLanes;
    if (add) {
      _tile_loadd(0, c, kRowBytes);
      _tile_loadd(1, c + kLanes, kRowBytes);
      _tile_loadd(2, c_low, kRowBytes);
      _tile_loadd(3, c_low + kLanes, kRowBytes);
    } else {
      _tile_zero(0);
      _tile_zero(1);
      _tile_zero(2);
      _tile_zero(3);
    }
    for (int32_t k = 0; k < depth; k += kLanes, b += int64_t{kLanes} * kBlockRows) {
      _tile_loadd(4, a + k, a_bytes);
      _tile_loadd(6, b, kRowBytes);
      _tile_dpbf16ps(0, 4, 6);
      _tile_loadd(7, b + kLanes, kRowBytes);
      _tile_dpbf16ps(1, 4, 7);
      _tile_loadd(5, a_low + k, a_bytes);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, c, kRowBytes);
    _tile_stored(1, c + kLanes, kRowBytes);
    _tile_stored(2, c_low, kRowBytes);
    _tile_stored(3, c_low + kLanes, kRowBytes);
  }

  static void Multiply32x16(bool add, const float* a, int64_t a_bytes, const float* b,
                            int32_t depth, float* c) {
    // The compiler does not know that tiles are loaded from what was stored before.
    std::atomic_signal_fence(std::memory_order_seq_cst);
    float* c_low = c + int64_t{kLanes} * kBlockRows;
    const float* a_low = a + a_bytes / 4 * kLanes;
    if (add) {
      _tile_loadd(0, c, kRowBytes);
      _tile_loadd(2, c_low, kRowBytes);
    } else {
      _tile_zero(0);
      _tile_zero(2);
    }
    for (int32_t k = 0; k < depth; k += kLanes, b += int64_t{kLanes} * kBlockRows) {
      _tile_loadd(4, a + k, a_bytes);
      _tile_loadd(6, b, kRowBytes);
      _tile_dpbf16ps(0, 4, 6);
      _tile_loadd(5, a_low + k, a_bytes);
      _tile_dpbf16ps(2, 5, 6);
    }
    _tile_stored(0, c, kRowBytes);
    _tile_stored(2, c_low, kRowBytes);
  }
};
