// Vector instructions, each against a plain expression: on numbers of all kinds, with some lanes
// off.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <random>

#include "device/gpu/gfx942/testing/wave_fixture.h"
#include "tessera/dtype.h"

namespace tessera::gfx942 {
namespace {

using U = uint32_t;
using I = int32_t;
using W = uint64_t;

float F(W bits) { return std::bit_cast<float>(static_cast<U>(bits)); }
double D(W bits) { return std::bit_cast<double>(bits); }
float H(W bits) { return Float16ToFloat(static_cast<uint16_t>(bits)); }
W B(float f) { return std::bit_cast<U>(f); }
W B(double d) { return std::bit_cast<W>(d); }
W BH(float f) { return FloatToFloat16(f); }
U Low(W w) { return static_cast<U>(w); }
U High(W w) { return static_cast<U>(w >> 32); }
I S(W w) { return static_cast<I>(w); }
int64_t L(W w) { return static_cast<int64_t>(w); }

// What numbers a test is fed with.
enum class Kind { kBits, kFloat, kDouble, kHalf, kSmallFloat };

W Draw(std::mt19937_64& random, Kind kind) {
  const W bits = random();
  const auto pick = bits >> 58;  // one of 64
  switch (kind) {
    case Kind::kBits: {
      constexpr W kSpecial[] = {0,          1,      ~W{0},  0x80000000, 0x7fffffff,
                                W{1} << 63, 0xffff, 0x8000, 31,         32};
      return pick < std::size(kSpecial) ? kSpecial[pick] : pick < 20 ? bits & 0x3f : bits;
    }
    case Kind::kFloat: {
      constexpr float kSpecial[] = {0.0f,
                                    -0.0f,
                                    1.0f,
                                    std::numeric_limits<float>::infinity(),
                                    -std::numeric_limits<float>::infinity(),
                                    0.5f,
                                    -2.5f,
                                    1e-3f};
      if (pick < std::size(kSpecial)) return B(kSpecial[pick]);
      if (pick == 20) return B(std::numeric_limits<float>::quiet_NaN());
      return B(std::ldexp(static_cast<float>(static_cast<I>(bits)), static_cast<int>(pick) - 60));
    }
    case Kind::kSmallFloat:
      return B(static_cast<float>(static_cast<I>(bits)) * 0x1p-27f);
    case Kind::kDouble: {
      if (pick == 0) return B(0.0);
      if (pick == 1) return B(-std::numeric_limits<double>::infinity());
      if (pick == 2) return B(std::numeric_limits<double>::quiet_NaN());
      return B(std::ldexp(static_cast<double>(L(bits)), static_cast<int>(pick) - 80));
    }
    case Kind::kHalf: {
      if (pick == 0) return 0x7c00;
      const float small = static_cast<float>(static_cast<int16_t>(bits)) * 0x1p-12f;
      // Another number in the upper half.
      return BH(small) | (bits >> 8 & 0x3fff) << 16;
    }
  }
  return bits;
}

// Of one lane: a = v[2:3], b = v[4:5], c = v[6:7], old = v[0:1] as they were.
struct In {
  W a, b, c, old;
  int lane;
};

bool Alike(W got, W want, int bits, Kind kind, double ulps) {
  if (bits == 32) got = Low(got), want = Low(want);
  if (got == want) return true;
  if (kind == Kind::kDouble && bits == 64) {
    if (std::isnan(D(want))) return std::isnan(D(got));
    return std::fabs(D(got) - D(want)) <= ulps * 2.3e-16 * std::fabs(D(want));
  }
  if (bits == 32 && (kind == Kind::kFloat || kind == Kind::kSmallFloat)) {
    if (std::isnan(F(want))) return std::isnan(F(got));
    return std::fabs(F(got) - F(want)) <= ulps * 1.2e-7 * std::fabs(F(want));
  }
  if (bits == 32 && kind == Kind::kHalf && std::isnan(H(want)) && std::isnan(H(got))) {
    return true;
  }
  return false;
}

// Executes `text`, which writes v0 or v[0:1] (`bits`), in some hundred lanes.
void Check(const std::string& text, Kind kind, int bits, const std::function<W(const In&)>& want,
           double ulps = 0) {
  std::mt19937_64 random(std::hash<std::string>{}(text));
  for (int round = 0; round < 6; ++round) {
    TestWave test;
    Wave& w = test.wave;
    const W exec = round == 0 ? ~W{0} : random() | 1;
    w.SetScalar64(kExec, exec);
    w.SetScalar64(kVcc, 0x123456789abcdef0 ^ random());
    w.SetScalar64(10, random());
    In in[kLanes];
    for (int l = 0; l < kLanes; ++l) {
      in[l] = {Draw(random, kind), Draw(random, kind), Draw(random, kind), Draw(random, kind), l};
      test.SetPair(2, l, in[l].a);
      test.SetPair(4, l, in[l].b);
      test.SetPair(6, l, in[l].c);
      test.SetPair(0, l, in[l].old);
    }
    test.Must(text);
    for (int l = 0; l < kLanes; ++l) {
      const W got = bits == 64 ? test.Pair(0, l) : w.v(0)[l];
      if ((exec >> l & 1) == 0) {
        EXPECT_EQ(got, bits == 64 ? in[l].old : Low(in[l].old)) << text << ", a lane that is off";
        continue;
      }
      const W wanted = want(in[l]);
      EXPECT_TRUE(Alike(got, wanted, bits, kind, ulps))
          << text << " of " << std::hex << in[l].a << ", " << in[l].b << ", " << in[l].c
          << " gives " << got << ", not " << wanted;
      if (::testing::Test::HasFailure()) return;
    }
  }
}

void Bits(const std::string& text, const std::function<W(const In&)>& want) {
  Check(text, Kind::kBits, 32, want);
}
void Wide(const std::string& text, const std::function<W(const In&)>& want) {
  Check(text, Kind::kBits, 64, want);
}
void Float(const std::string& text, const std::function<W(const In&)>& want, double ulps = 0) {
  Check(text, Kind::kFloat, 32, want, ulps);
}
void Double(const std::string& text, const std::function<W(const In&)>& want, double ulps = 0) {
  Check(text, Kind::kDouble, 64, want, ulps);
}
void Halves(const std::string& text, const std::function<W(const In&)>& want) {
  Check(text, Kind::kHalf, 32, want);
}

TEST(VectorInstructions, Integers) {
  Bits("v_mov_b32_e32 v0, v2", [](const In& i) { return i.a; });
  Bits("v_mov_b32_e32 v0, -7", [](const In&) { return W{0xfffffff9}; });
  Bits("v_mov_b32_e32 v0, 1.0", [](const In&) { return W{0x3f800000}; });
  Bits("v_accvgpr_read_b32 v0, a0", [](const In&) { return 0; });
  Wide("v_mov_b64_e32 v[0:1], v[2:3]", [](const In& i) { return i.a; });
  Bits("v_add_u32_e32 v0, v2, v4", [](const In& i) { return i.a + i.b; });
  Bits("v_sub_u32_e32 v0, v2, v4", [](const In& i) { return i.a - i.b; });
  Bits("v_subrev_u32_e32 v0, 5, v4", [](const In& i) { return i.b - 5; });
  Bits("v_add3_u32 v0, v2, v4, v6", [](const In& i) { return i.a + i.b + i.c; });
  Bits("v_mul_lo_u32 v0, v2, v4", [](const In& i) { return i.a * i.b; });
  Bits("v_mul_hi_u32 v0, v2, v4", [](const In& i) { return W{Low(i.a)} * Low(i.b) >> 32; });
  Bits("v_mul_hi_i32 v0, v2, v4",
       [](const In& i) { return High(static_cast<W>(int64_t{S(i.a)} * S(i.b))); });
  const auto u24 = [](W x) { return x & 0xffffff; };
  const auto i24 = [](W x) { return int64_t{static_cast<I>(Low(x) << 8) >> 8}; };
  Bits("v_mul_u32_u24_e32 v0, v2, v4", [&](const In& i) { return u24(i.a) * u24(i.b); });
  Bits("v_mul_i32_i24_e32 v0, v2, v4",
       [&](const In& i) { return static_cast<W>(i24(i.a) * i24(i.b)); });
  Bits("v_mul_hi_i32_i24_e32 v0, v2, v4",
       [&](const In& i) { return static_cast<W>(i24(i.a) * i24(i.b)) >> 32; });
  Bits("v_mad_u32_u24 v0, v2, v4, v6", [&](const In& i) { return u24(i.a) * u24(i.b) + i.c; });
  Bits("v_mad_i32_i24 v0, v2, v4, v6",
       [&](const In& i) { return static_cast<W>(i24(i.a) * i24(i.b)) + i.c; });
  Bits("v_max_i32_e32 v0, v2, v4", [](const In& i) { return S(i.a) > S(i.b) ? i.a : i.b; });
  Bits("v_min_i32_e32 v0, v2, v4", [](const In& i) { return S(i.a) < S(i.b) ? i.a : i.b; });
  Bits("v_max_u32_e32 v0, v2, v4", [](const In& i) { return Low(i.a) > Low(i.b) ? i.a : i.b; });
  Bits("v_min_u32_e32 v0, v2, v4", [](const In& i) { return Low(i.a) < Low(i.b) ? i.a : i.b; });
  Bits("v_and_b32_e32 v0, v2, v4", [](const In& i) { return i.a & i.b; });
  Bits("v_or_b32_e32 v0, v2, v4", [](const In& i) { return i.a | i.b; });
  Bits("v_xor_b32_e32 v0, v2, v4", [](const In& i) { return i.a ^ i.b; });
  Bits("v_not_b32_e32 v0, v2", [](const In& i) { return ~i.a; });
  Bits("v_lshlrev_b32_e32 v0, v2, v4", [](const In& i) { return i.b << (i.a % 32); });
  Bits("v_lshrrev_b32_e32 v0, v2, v4", [](const In& i) { return Low(i.b) >> (i.a % 32); });
  Bits("v_ashrrev_i32_e32 v0, v2, v4",
       [](const In& i) { return static_cast<W>(S(i.b) >> (i.a % 32)); });
  Bits("v_lshl_or_b32 v0, v2, v4, v6", [](const In& i) { return i.a << (i.b % 32) | i.c; });
  Bits("v_and_or_b32 v0, v2, v4, v6", [](const In& i) { return (i.a & i.b) | i.c; });
  Bits("v_or3_b32 v0, v2, v4, v6", [](const In& i) { return i.a | i.b | i.c; });
  Bits("v_lshl_add_u32 v0, v2, v4, v6", [](const In& i) { return (i.a << (i.b % 32)) + i.c; });
  Bits("v_add_lshl_u32 v0, v2, v4, v6", [](const In& i) { return (i.a + i.b) << (i.c % 32); });
  Bits("v_xad_u32 v0, v2, v4, v6", [](const In& i) { return (i.a ^ i.b) + i.c; });
  Bits("v_bfe_u32 v0, v2, v4, v6",
       [](const In& i) { return (W{Low(i.a)} >> (i.b % 32)) % (W{1} << (i.c % 32)); });
  Bits("v_bfe_i32 v0, v2, v4, v6", [](const In& i) {
    const W width = i.c % 32, field = (W{Low(i.a)} >> (i.b % 32)) % (W{1} << width);
    return width > 0 && (field >> (width - 1)) != 0 ? field - (W{1} << width) : field;
  });
  Bits("v_bfi_b32 v0, v2, v4, v6", [](const In& i) { return (i.a & i.b) | (~i.a & i.c); });
  Bits("v_bfrev_b32_e32 v0, v2", [](const In& i) {
    W r = 0;
    for (int k = 0; k < 32; ++k) r = r << 1 | (i.a >> k & 1);
    return r;
  });
  Bits("v_ffbh_u32_e32 v0, v2", [](const In& i) {
    return Low(i.a) == 0 ? ~W{0} : static_cast<W>(std::countl_zero(Low(i.a)));
  });
  Bits("v_ffbl_b32_e32 v0, v2", [](const In& i) {
    return Low(i.a) == 0 ? ~W{0} : static_cast<W>(std::countr_zero(Low(i.a)));
  });
  Bits("v_bcnt_u32_b32 v0, v2, v4",
       [](const In& i) { return static_cast<W>(std::popcount(Low(i.a))) + i.b; });
  Bits("v_perm_b32 v0, v2, v4, v6", [](const In& i) {
    const W both = i.a << 32 | Low(i.b);
    W r = 0;
    for (int k = 0; k < 4; ++k) {
      const W s = i.c >> (8 * k) & 255;
      const W sign = 0 - (both >> (16 * (s & 3) + 15) & 1);
      r |= (s < 8 ? both >> (8 * s) & 255 : s < 12 ? sign & 255 : s == 12 ? 0 : 255) << (8 * k);
    }
    return r;
  });
  Wide("v_lshlrev_b64 v[0:1], v2, v[4:5]", [](const In& i) { return i.b << (i.a % 64); });
  Wide("v_lshrrev_b64 v[0:1], v2, v[4:5]", [](const In& i) { return i.b >> (i.a % 64); });
  Wide("v_ashrrev_i64 v[0:1], v2, v[4:5]",
       [](const In& i) { return static_cast<W>(L(i.b) >> (i.a % 64)); });
  Wide("v_lshl_add_u64 v[0:1], v[2:3], 3, v[6:7]", [](const In& i) { return i.a * 8 + i.c; });
}

TEST(VectorInstructions, RareIntegers) {
  Bits("v_add_i32 v0, v2, v4", [](const In& i) { return i.a + i.b; });
  Bits("v_sub_i32 v0, v2, v4", [](const In& i) { return i.a - i.b; });
  Bits("v_xnor_b32_e32 v0, v2, v4", [](const In& i) { return ~(i.a ^ i.b); });
  Bits("v_bfm_b32 v0, v2, v4",
       [](const In& i) { return ((W{1} << (i.a % 32)) - 1) << (i.b % 32); });
  Bits("v_alignbit_b32 v0, v2, v4, 6", [](const In& i) { return (i.a << 32 | Low(i.b)) >> 6; });
  Bits("v_alignbyte_b32 v0, v2, v4, 3", [](const In& i) { return (i.a << 32 | Low(i.b)) >> 24; });
  Bits("v_max3_u32 v0, v2, v4, v6", [](const In& i) {
    return std::max({Low(i.a), Low(i.b), Low(i.c)});
  });
  Bits("v_min3_u32 v0, v2, v4, v6", [](const In& i) {
    return std::min({Low(i.a), Low(i.b), Low(i.c)});
  });
  Bits("v_max3_i32 v0, v2, v4, v6", [](const In& i) {
    return static_cast<W>(std::max({S(i.a), S(i.b), S(i.c)}));
  });
  Bits("v_min3_i32 v0, v2, v4, v6", [](const In& i) {
    return static_cast<W>(std::min({S(i.a), S(i.b), S(i.c)}));
  });
  Bits("v_med3_i32 v0, v2, v4, v6", [](const In& i) {
    I x[] = {S(i.a), S(i.b), S(i.c)};
    std::sort(x, x + 3);
    return static_cast<W>(x[1]);
  });
  Bits("v_med3_u32 v0, v2, v4, v6", [](const In& i) {
    U x[] = {Low(i.a), Low(i.b), Low(i.c)};
    std::sort(x, x + 3);
    return W{x[1]};
  });
  Bits("v_sad_u32 v0, v2, v4, v6",
       [](const In& i) { return (Low(i.a) > Low(i.b) ? i.a - i.b : i.b - i.a) + i.c; });
  Bits("v_mul_hi_u32_u24_e32 v0, v2, v4",
       [](const In& i) { return (i.a & 0xffffff) * (i.b & 0xffffff) >> 32; });
  Bits("v_ffbh_i32_e32 v0, v2", [](const In& i) {
    for (int k = 1; k < 32; ++k) {
      if ((i.a >> (31 - k) & 1) != (i.a >> 31 & 1)) return W(k);
    }
    return ~W{0};
  });
}

TEST(VectorInstructions, ShortIntegersClearTheUpperHalf) {
  Bits("v_sub_u16_e32 v0, v2, v4", [](const In& i) { return (i.a - i.b) & 0xffff; });
  Bits("v_subrev_u16_e32 v0, v2, v4", [](const In& i) { return (i.b - i.a) & 0xffff; });
  Bits("v_lshlrev_b16_e32 v0, v2, v4", [](const In& i) { return (i.b << (i.a % 16)) & 0xffff; });
  Bits("v_max_u16_e32 v0, v2, v4",
       [](const In& i) { return std::max(i.a & 0xffff, i.b & 0xffff); });
  Bits("v_min_u16_e32 v0, v2, v4",
       [](const In& i) { return std::min(i.a & 0xffff, i.b & 0xffff); });
  const auto i16 = [](W x) { return static_cast<int16_t>(x); };
  Bits("v_max_i16_e32 v0, v2, v4",
       [&](const In& i) { return static_cast<W>(std::max(i16(i.a), i16(i.b))) & 0xffff; });
  Bits("v_min_i16_e32 v0, v2, v4",
       [&](const In& i) { return static_cast<W>(std::min(i16(i.a), i16(i.b))) & 0xffff; });
  Bits("v_add_u16_e32 v0, v2, v4", [](const In& i) { return (i.a + i.b) & 0xffff; });
  Bits("v_mul_lo_u16_e32 v0, v2, v4", [](const In& i) { return (i.a * i.b) & 0xffff; });
  Bits("v_lshrrev_b16_e32 v0, v2, v4", [](const In& i) { return (i.b & 0xffff) >> (i.a % 16); });
  Bits("v_ashrrev_i16_e32 v0, v2, v4", [](const In& i) {
    return static_cast<W>(static_cast<int16_t>(i.b) >> (i.a % 16)) & 0xffff;
  });
}

TEST(VectorInstructions, SelectedBytesAndHalves) {
  Bits(
      "v_or_b32_sdwa v0, v2, v4 dst_sel:DWORD dst_unused:UNUSED_PAD src0_sel:BYTE_3 "
      "src1_sel:WORD_1",
      [](const In& i) { return (i.a >> 24 & 255) | (i.b >> 16 & 0xffff); });
  Bits(
      "v_mul_i32_i24_sdwa v0, sext(v2), v4 dst_sel:DWORD dst_unused:UNUSED_PAD src0_sel:WORD_0 "
      "src1_sel:DWORD",
      [](const In& i) {
        return static_cast<W>(int64_t{static_cast<int16_t>(i.a)} *
                              (static_cast<I>(Low(i.b) << 8) >> 8));
      });
  Bits("v_cvt_f32_i32_sdwa v0, sext(v2) dst_sel:DWORD dst_unused:UNUSED_PAD src0_sel:BYTE_1",
       [](const In& i) { return B(static_cast<float>(static_cast<int8_t>(i.a >> 8))); });
  Bits(
      "v_add_u32_sdwa v0, v2, v4 dst_sel:BYTE_1 dst_unused:UNUSED_PRESERVE src0_sel:DWORD "
      "src1_sel:DWORD",
      [](const In& i) { return (i.old & ~W{0xff00}) | ((i.a + i.b) & 255) << 8; });
  Bits(
      "v_add_u32_sdwa v0, v2, v4 dst_sel:WORD_0 dst_unused:UNUSED_SEXT src0_sel:DWORD "
      "src1_sel:DWORD",
      [](const In& i) { return static_cast<W>(static_cast<int16_t>(i.a + i.b)); });
}

TEST(VectorInstructions, Floats) {
  Float("v_add_f32_e32 v0, v2, v4", [](const In& i) { return B(F(i.a) + F(i.b)); });
  Float("v_add_f32_e64 v0, |v2|, v4", [](const In& i) { return B(std::fabs(F(i.a)) + F(i.b)); });
  Float("v_add_f32_e64 v0, -v2, -|v4|", [](const In& i) { return B(-F(i.a) - std::fabs(F(i.b))); });
  Float("v_add_f32_e64 v0, v2, v4 clamp", [](const In& i) {
    const float sum = F(i.a) + F(i.b);
    return B(!(sum > 0.0f) ? 0.0f : sum > 1.0f ? 1.0f : sum);
  });
  Float("v_add_f32_e64 v0, v2, v4 mul:4", [](const In& i) { return B((F(i.a) + F(i.b)) * 4); });
  Float("v_mul_f32_e64 v0, v2, v4 div:2", [](const In& i) { return B(F(i.a) * F(i.b) / 2); });
  Float("v_sub_f32_e32 v0, v2, v4", [](const In& i) { return B(F(i.a) - F(i.b)); });
  Float("v_subrev_f32_e32 v0, 0.5, v4", [](const In& i) { return B(F(i.b) - 0.5f); });
  Float("v_mul_f32_e32 v0, 0x3fb8aa3b, v4",
        [](const In& i) { return B(std::bit_cast<float>(0x3fb8aa3bu) * F(i.b)); });
  Float(
      "v_mul_f32_e32 v0, 2, v4", [](const In& i) { return B(std::bit_cast<float>(2u) * F(i.b)); },
      1);
  Float("v_fma_f32 v0, v2, v4, v6",
        [](const In& i) { return B(std::fma(F(i.a), F(i.b), F(i.c))); });
  Float("v_fma_f32 v0, -v2, v4, v6",
        [](const In& i) { return B(std::fma(-F(i.a), F(i.b), F(i.c))); });
  Float("v_fmac_f32_e32 v0, v2, v4",
        [](const In& i) { return B(std::fma(F(i.a), F(i.b), F(i.old))); });
  Float("v_fmamk_f32 v0, v2, 0x40490fdb, v4",
        [](const In& i) { return B(std::fma(F(i.a), F(0x40490fdb), F(i.b))); });
  Float("v_fmaak_f32 v0, v2, v4, 0x40490fdb",
        [](const In& i) { return B(std::fma(F(i.a), F(i.b), F(0x40490fdb))); });
  Float("v_max_f32_e32 v0, v2, v4", [](const In& i) { return B(std::fmax(F(i.a), F(i.b))); });
  Float("v_max_f32_e64 v0, -v2, v4", [](const In& i) { return B(std::fmax(-F(i.a), F(i.b))); });
  Float("v_min_f32_e32 v0, v2, v4", [](const In& i) { return B(std::fmin(F(i.a), F(i.b))); });
  Float("v_max3_f32 v0, v2, v4, v6",
        [](const In& i) { return B(std::fmax(std::fmax(F(i.a), F(i.b)), F(i.c))); });
  Check(
      "v_exp_f32_e32 v0, v2", Kind::kSmallFloat, 32,
      [](const In& i) { return B(static_cast<float>(std::exp2(static_cast<double>(F(i.a))))); }, 2);
  Float(
      "v_log_f32_e32 v0, |v2|",
      [](const In& i) {
        return B(static_cast<float>(std::log2(static_cast<double>(std::fabs(F(i.a))))));
      },
      2);
  Float(
      "v_log_f32_e32 v0, v2",
      [](const In& i) { return B(static_cast<float>(std::log2(static_cast<double>(F(i.a))))); }, 2);
  Float(
      "v_rcp_f32_e32 v0, v2", [](const In& i) { return B(1 / F(i.a)); }, 2);
  Float(
      "v_rcp_iflag_f32_e32 v0, v2", [](const In& i) { return B(1 / F(i.a)); }, 2);
  Float(
      "v_rsq_f32_e32 v0, v2",
      [](const In& i) { return B(static_cast<float>(1 / std::sqrt(static_cast<double>(F(i.a))))); },
      2);
  Float(
      "v_sqrt_f32_e32 v0, v2", [](const In& i) { return B(std::sqrt(F(i.a))); }, 2);
  Float("v_trunc_f32_e32 v0, v2", [](const In& i) { return B(std::trunc(F(i.a))); });
  Float("v_floor_f32_e32 v0, v2", [](const In& i) { return B(std::floor(F(i.a))); });
  Float("v_ceil_f32_e32 v0, v2", [](const In& i) { return B(std::ceil(F(i.a))); });
  Float("v_rndne_f32_e32 v0, v2", [](const In& i) { return B(std::rint(F(i.a))); });
  Float("v_ldexp_f32 v0, v2, 3", [](const In& i) { return B(F(i.a) * 8); });
  Float("v_med3_f32 v0, v2, 0, 1.0", [](const In& i) {
    return std::isnan(F(i.a)) ? B(0.0f) : B(std::clamp(F(i.a), 0.0f, 1.0f));
  });
}

TEST(VectorInstructions, Doubles) {
  Double("v_add_f64 v[0:1], v[2:3], v[4:5]", [](const In& i) { return B(D(i.a) + D(i.b)); });
  Double("v_add_f64 v[0:1], v[2:3], -v[4:5]", [](const In& i) { return B(D(i.a) - D(i.b)); });
  Double("v_mul_f64 v[0:1], v[2:3], 0.5", [](const In& i) { return B(D(i.a) * 0.5); });
  Double("v_mul_f64 v[0:1], v[2:3], v[4:5]", [](const In& i) { return B(D(i.a) * D(i.b)); });
  Double("v_add_f64 v[0:1], 0x3ff80000, v[4:5]", [](const In& i) { return B(1.5 + D(i.b)); });
  Double("v_fma_f64 v[0:1], v[2:3], v[4:5], v[6:7]",
         [](const In& i) { return B(std::fma(D(i.a), D(i.b), D(i.c))); });
  Double("v_fma_f64 v[0:1], -v[2:3], v[4:5], 1.0",
         [](const In& i) { return B(std::fma(-D(i.a), D(i.b), 1.0)); });
  Double("v_fmac_f64_e32 v[0:1], v[2:3], v[4:5]",
         [](const In& i) { return B(std::fma(D(i.a), D(i.b), D(i.old))); });
  Double("v_max_f64 v[0:1], v[2:3], v[4:5]",
         [](const In& i) { return B(std::fmax(D(i.a), D(i.b))); });
  Double("v_max_f64 v[0:1], v[2:3], -v[4:5]",
         [](const In& i) { return B(std::fmax(D(i.a), -D(i.b))); });
  Double("v_min_f64 v[0:1], v[2:3], v[4:5]",
         [](const In& i) { return B(std::fmin(D(i.a), D(i.b))); });
  Double(
      "v_rcp_f64_e32 v[0:1], v[2:3]", [](const In& i) { return B(1 / D(i.a)); }, 1e8);
  Double(
      "v_rsq_f64_e32 v[0:1], v[2:3]", [](const In& i) { return B(1 / std::sqrt(D(i.a))); }, 1e8);
  Double(
      "v_sqrt_f64_e32 v[0:1], v[2:3]", [](const In& i) { return B(std::sqrt(D(i.a))); }, 1e8);
  Double("v_floor_f64_e32 v[0:1], v[2:3]", [](const In& i) { return B(std::floor(D(i.a))); });
  Double("v_trunc_f64_e32 v[0:1], v[2:3]", [](const In& i) { return B(std::trunc(D(i.a))); });
  Double("v_rndne_f64_e32 v[0:1], v[2:3]", [](const In& i) { return B(std::rint(D(i.a))); });
  Double("v_ldexp_f64 v[0:1], v[2:3], -5", [](const In& i) { return B(D(i.a) / 32); });
  Double("v_ldexp_f64 v[0:1], v[2:3], 0x7f", [](const In& i) { return B(D(i.a) * 0x1p127); });
}

TEST(VectorInstructions, HalfPrecision) {
  const auto upper = [](const In& i) { return i.old & 0xffff0000; };
  Halves("v_add_f16_e32 v0, v2, v4", [](const In& i) { return BH(H(i.a) + H(i.b)); });
  Halves("v_mul_f16_e32 v0, v2, v4", [](const In& i) { return BH(H(i.a) * H(i.b)); });
  Halves("v_add_f16_e32 v0, 1.0, v4", [](const In& i) { return BH(1 + H(i.b)); });
  Halves("v_fma_f16 v0, v2, v4, v6",
         [&](const In& i) { return BH(std::fma(H(i.a), H(i.b), H(i.c))) | upper(i); });
  Halves("v_fma_f16 v0, v2, v4, v6 op_sel:[1,0,0,1]", [](const In& i) {
    return BH(std::fma(H(i.a >> 16), H(i.b), H(i.c))) << 16 | (i.old & 0xffff);
  });
  Halves("v_fma_mixlo_f16 v0, v2, v4, v6 op_sel_hi:[1,1,1]",
         [&](const In& i) { return BH(std::fma(H(i.a), H(i.b), H(i.c))) | upper(i); });
  Halves("v_fma_mixlo_f16 v0, v2, v4, 0 op_sel_hi:[1,0,0]",
         [&](const In& i) { return BH(H(i.a) * F(i.b)) | upper(i); });
  Halves("v_fma_mix_f32 v0, v2, v4, v6 op_sel:[1,0,0] op_sel_hi:[1,1,0]",
         [](const In& i) { return B(std::fma(H(i.a >> 16), H(i.b), F(i.c))); });
  Halves("v_fma_mix_f32 v0, v2, v4, v6 op_sel_hi:[0,1,0]",
         [](const In& i) { return B(std::fma(F(i.a), H(i.b), F(i.c))); });
  Halves("v_pack_b32_f16 v0, v2, v4",
         [](const In& i) { return (i.a & 0xffff) | (i.b & 0xffff) << 16; });
  Halves("v_pk_fma_f16 v0, v2, v4, v6", [](const In& i) {
    return BH(std::fma(H(i.a), H(i.b), H(i.c))) |
           BH(std::fma(H(i.a >> 16), H(i.b >> 16), H(i.c >> 16))) << 16;
  });
  Halves("v_pk_add_f16 v0, v2, 1.0 op_sel_hi:[1,0]",
         [](const In& i) { return BH(H(i.a) + 1) | BH(H(i.a >> 16) + 1) << 16; });
}

TEST(VectorInstructions, PairsOfFloats) {
  const auto pair = [](float low, float high) { return B(low) | B(high) << 32; };
  const auto h = [](W w) { return F(w >> 32); };
  std::mt19937_64 random(1);
  for (int n = 0; n < 64; ++n) {
    TestWave test;
    const auto draw = [&] {
      return Draw(random, Kind::kSmallFloat) | Draw(random, Kind::kSmallFloat) << 32;
    };
    const W a = draw(), b = draw(), c = draw();
    test.SetPair(2, 0, a), test.SetPair(4, 0, b), test.SetPair(6, 0, c);
    test.wave.SetScalar64(10, b);
    const auto expect = [&](const char* text, W want) {
      test.Must(text);
      EXPECT_EQ(test.Pair(0, 0), want) << text;
    };
    expect("v_pk_mul_f32 v[0:1], v[2:3], v[4:5]", pair(F(a) * F(b), h(a) * h(b)));
    expect("v_pk_mul_f32 v[0:1], v[2:3], v[4:5] op_sel_hi:[0,1]", pair(F(a) * F(b), F(a) * h(b)));
    expect("v_pk_mul_f32 v[0:1], s[10:11], v[4:5] op_sel:[1,0]", pair(h(b) * F(b), h(b) * h(b)));
    expect("v_pk_add_f32 v[0:1], v[2:3], v[4:5]", pair(F(a) + F(b), h(a) + h(b)));
    expect("v_pk_add_f32 v[0:1], v[2:3], v[4:5] op_sel_hi:[1,0]", pair(F(a) + F(b), h(a) + F(b)));
    expect("v_pk_add_f32 v[0:1], v[2:3], v[4:5] op_sel_hi:[1,0] neg_lo:[0,1] neg_hi:[0,1]",
           pair(F(a) - F(b), h(a) - F(b)));
    expect("v_pk_add_f32 v[0:1], v[2:3], v[4:5] neg_lo:[0,1] neg_hi:[0,1]",
           pair(F(a) - F(b), h(a) - h(b)));
    expect("v_pk_fma_f32 v[0:1], v[2:3], v[4:5], v[6:7]",
           pair(std::fma(F(a), F(b), F(c)), std::fma(h(a), h(b), h(c))));
    expect("v_pk_fma_f32 v[0:1], v[2:3], v[4:5], v[6:7] op_sel_hi:[1,0,1]",
           pair(std::fma(F(a), F(b), F(c)), std::fma(h(a), F(b), h(c))));
    expect("v_pk_mov_b32 v[0:1], v[2:3], v[4:5] op_sel:[1,0]", High(a) | b << 32);
  }
}

TEST(VectorInstructions, Conversions) {
  Bits("v_cvt_f32_u32_e32 v0, v2", [](const In& i) { return B(static_cast<float>(Low(i.a))); });
  Bits("v_cvt_f32_i32_e32 v0, v2", [](const In& i) { return B(static_cast<float>(S(i.a))); });
  Bits("v_cvt_f32_ubyte0_e32 v0, v2", [](const In& i) { return B(static_cast<float>(i.a & 255)); });
  Bits("v_cvt_f32_ubyte3_e32 v0, v2",
       [](const In& i) { return B(static_cast<float>(i.a >> 24 & 255)); });
  const auto integer = [](double x, double low, double high) {
    return static_cast<W>(
        static_cast<int64_t>(std::isnan(x) ? 0 : std::clamp(std::trunc(x), low, high)));
  };
  Check("v_cvt_u32_f32_e32 v0, v2", Kind::kFloat, 32,
        [&](const In& i) { return integer(static_cast<double>(F(i.a)), 0, 4294967295.0); });
  Check("v_cvt_i32_f32_e32 v0, v2", Kind::kFloat, 32, [&](const In& i) {
    return integer(static_cast<double>(F(i.a)), -2147483648.0, 2147483647.0);
  });
  Check("v_cvt_u32_f64_e32 v0, v[2:3]", Kind::kDouble, 32,
        [&](const In& i) { return integer(D(i.a), 0, 4294967295.0); });
  Check("v_cvt_i32_f64_e32 v0, v[2:3]", Kind::kDouble, 32,
        [&](const In& i) { return integer(D(i.a), -2147483648.0, 2147483647.0); });
  Check("v_cvt_f32_f64_e32 v0, v[2:3]", Kind::kDouble, 32, [](const In& i) {
    return std::isnan(D(i.a)) ? B(F(Low(B(static_cast<float>(D(i.a))))))
                              : B(static_cast<float>(D(i.a)));
  });
  Wide("v_cvt_f64_u32_e32 v[0:1], v2",
       [](const In& i) { return B(static_cast<double>(Low(i.a))); });
  Wide("v_cvt_f64_i32_e32 v[0:1], v2", [](const In& i) { return B(static_cast<double>(S(i.a))); });
  Check("v_cvt_f64_f32_e32 v[0:1], v2", Kind::kSmallFloat, 64,
        [](const In& i) { return B(static_cast<double>(F(i.a))); });
  Halves("v_cvt_f32_f16_e32 v0, v2", [](const In& i) { return B(H(i.a)); });
  Halves("v_cvt_f32_f16_sdwa v0, v2 dst_sel:DWORD dst_unused:UNUSED_PAD src0_sel:WORD_1",
         [](const In& i) { return B(H(i.a >> 16)); });
  Check("v_cvt_f16_f32_e32 v0, v2", Kind::kSmallFloat, 32, [](const In& i) { return BH(F(i.a)); });
  const auto fp8 = [](W byte) {
    const float f = E4M3FNUZToFloat(static_cast<uint8_t>(byte));
    return std::isnan(f) ? W{0x7fc00000} : B(f);
  };
  TestWave test;
  for (int l = 0; l < kLanes; ++l) test.wave.v(2)[l] = static_cast<U>(l) * 0x04030201u;
  test.Must("v_cvt_f32_fp8_sdwa v0, v2 src0_sel:BYTE_2");
  test.Must("v_cvt_f32_bf8_sdwa v1, v2 src0_sel:BYTE_1");
  for (int l = 0; l < kLanes; ++l) {
    const U byte2 = test.wave.v(2)[l] >> 16 & 255, byte1 = test.wave.v(2)[l] >> 8 & 255;
    if (byte2 != 0x80) {
      EXPECT_EQ(test.wave.v(0)[l], fp8(byte2));
    }
    // Half precision's upper byte, with twice the bias.
    if ((byte1 & 0x7c) != 0 && (byte1 & 0x7c) != 0x7c) {
      EXPECT_EQ(F(test.wave.v(1)[l]), H(byte1 << 8) / 2);
    }
  }
  Check("v_cvt_pk_fp8_f32 v0, v2, v4", Kind::kSmallFloat, 32, [](const In& i) {
    return FloatToE4M3FNUZ(F(i.a)) | W{FloatToE4M3FNUZ(F(i.b))} << 8 | (i.old & 0xffff0000);
  });
  Check("v_cvt_pk_fp8_f32 v0, v2, v4 op_sel:[0,0,1]", Kind::kSmallFloat, 32, [](const In& i) {
    return (FloatToE4M3FNUZ(F(i.a)) | W{FloatToE4M3FNUZ(F(i.b))} << 8) << 16 | (i.old & 0xffff);
  });
}

}  // namespace
}  // namespace tessera::gfx942
