// 8-bit floats for few_rows.inl, 64 at a time: VPERMI2B looks up 128 entries at once, which are
// the magnitudes' halves.
//
// No include guard and no namespace, as many_rows.inl; behind block_rows.h.

template <DType kType>
constexpr std::array<uint8_t, 128> MakeMagnitudeBytes(int shift) {
  std::array<uint8_t, 128> table{};
  for (size_t code = 0; code < 128; ++code) {
    table[code] = static_cast<uint8_t>(kMagnitudes<kType>[code] >> shift);
  }
  return table;
}

template <DType kType>
struct VbmiByteFloatCache {
  static constexpr DType kDType = kType;
  static constexpr int64_t kSize = 1;
  static constexpr int32_t kElements = 64;

  // Unpacking takes eight of every sixteen elements; pairs are of two vectors.
  static constexpr int32_t Place(int32_t i) {
    const int32_t word = i / 16 * 8 + i % 8;
    return i / 8 % 2 * kPiece + word % 2 * kLanes + word / 2;
  }
  static void Load(const char* from, __m512* to) { Convert(_mm512_loadu_si512(from), to); }
  static void LoadSome(const char* from, int32_t count, __m512* to) {
    Convert(_mm512_maskz_loadu_epi8((uint64_t{1} << count) - 1, from), to);
  }
  static void LoadDots(const char* from, __m512i* to) { Pairs(_mm512_loadu_si512(from), to); }
  static void LoadSomeDots(const char* from, int32_t count, __m512i* to) {
    Pairs(_mm512_maskz_loadu_epi8((uint64_t{1} << count) - 1, from), to);
  }

 private:
  alignas(64) static constexpr std::array<uint8_t, 128> kLow = MakeMagnitudeBytes<kType>(0);
  alignas(64) static constexpr std::array<uint8_t, 128> kHigh = MakeMagnitudeBytes<kType>(8);

  static void Pairs(__m512i codes, __m512i* to) {
    __m512i low = _mm512_permutex2var_epi8(_mm512_load_si512(kLow.data()), codes,
                                           _mm512_load_si512(kLow.data() + 64));
    __m512i high = _mm512_permutex2var_epi8(_mm512_load_si512(kHigh.data()), codes,
                                            _mm512_load_si512(kHigh.data() + 64));
    const __m512i sign_bit = _mm512_set1_epi8(-0x80);
    if constexpr (kType == DType::kE4M3FNUZ) {
      const __mmask64 nan = _mm512_cmpeq_epi8_mask(codes, sign_bit);
      low = _mm512_mask_mov_epi8(low, nan, _mm512_set1_epi8(-1));
      high = _mm512_mask_mov_epi8(high, nan, _mm512_set1_epi8(-1));
    }
    // high | sign
    constexpr int kOrAnd = 0xf8;
    high = _mm512_ternarylogic_epi32(high, codes, sign_bit, kOrAnd);
    to[0] = _mm512_unpacklo_epi8(low, high);
    to[1] = _mm512_unpackhi_epi8(low, high);
  }
  static void Convert(__m512i codes, __m512* to) {
    __m512i pairs[2];
    Pairs(codes, pairs);
    BFloat16Cache::Split(pairs[0], to);
    BFloat16Cache::Split(pairs[1], to + 2);
  }
};
