// Instructions of masks, lanes, matrices and scalar registers, each against a plain expression.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

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
using ::testing::HasSubstr;

float F(U bits) { return std::bit_cast<float>(bits); }
U B(float f) { return std::bit_cast<U>(f); }

// Fills v[2:3] and v[4:5] with numbers among which equal ones are frequent.
void FillForComparison(TestWave* test, int type, std::mt19937* random) {
  for (int l = 0; l < kLanes; ++l) {
    for (int reg : {2, 4}) {
      const int small = static_cast<int>((*random)() % 5) - 2;
      const bool none = (*random)() % 7 == 0;
      const double number = none ? std::numeric_limits<double>::quiet_NaN() : small;
      W bits = static_cast<W>(int64_t{small});
      if (type == 'f') bits = B(static_cast<float>(number));
      if (type == 'd') bits = std::bit_cast<W>(number);
      if (type == 'h') bits = FloatToFloat16(static_cast<float>(number));
      test->SetPair(reg, l, bits);
    }
  }
}

// The order of a and b as the type sees them: -1, 0, 1, or 2 if one is no number.
int Order(W a, W b, int type) {
  const auto order = [](auto x, auto y) { return x < y ? -1 : x > y ? 1 : x == y ? 0 : 2; };
  switch (type) {
    case 'i':
      return order(static_cast<I>(a), static_cast<I>(b));
    case 'u':
      return order(static_cast<U>(a), static_cast<U>(b));
    case 'l':
      return order(static_cast<int64_t>(a), static_cast<int64_t>(b));
    case 'w':
      return order(a, b);
    case 's':
      return order(static_cast<int16_t>(a), static_cast<int16_t>(b));
    case 't':
      return order(static_cast<uint16_t>(a), static_cast<uint16_t>(b));
    case 'f':
      return order(F(static_cast<U>(a)), F(static_cast<U>(b)));
    case 'd':
      return order(std::bit_cast<double>(a), std::bit_cast<double>(b));
    default:
      return order(Float16ToFloat(static_cast<uint16_t>(a)),
                   Float16ToFloat(static_cast<uint16_t>(b)));
  }
}

TEST(WaveInstructions, Comparisons) {
  struct Type {
    char kind;
    const char* name;
    bool wide, real;
  };
  struct Relation {
    const char* name;
    std::function<bool(int)> holds;
    bool integers, reals;
  };
  const std::vector<Relation> relations = {
      {"lt", [](int o) { return o == -1; }, true, true},
      {"eq", [](int o) { return o == 0; }, true, true},
      {"le", [](int o) { return o == -1 || o == 0; }, true, true},
      {"gt", [](int o) { return o == 1; }, true, true},
      {"ge", [](int o) { return o == 1 || o == 0; }, true, true},
      {"ne", [](int o) { return o != 0; }, true, false},
      {"lg", [](int o) { return o == -1 || o == 1; }, false, true},
      {"o", [](int o) { return o != 2; }, false, true},
      {"u", [](int o) { return o == 2; }, false, true},
      {"nlt", [](int o) { return o != -1; }, false, true},
      {"neq", [](int o) { return o != 0; }, false, true},
      {"nle", [](int o) { return o == 1 || o == 2; }, false, true},
      {"ngt", [](int o) { return o != 1; }, false, true},
      {"nge", [](int o) { return o == -1 || o == 2; }, false, true},
      {"nlg", [](int o) { return o == 0 || o == 2; }, false, true},
  };
  std::mt19937 random(3);
  for (const Type& type : std::vector<Type>{{'i', "i32", false, false},
                                            {'u', "u32", false, false},
                                            {'l', "i64", true, false},
                                            {'w', "u64", true, false},
                                            {'s', "i16", false, false},
                                            {'t', "u16", false, false},
                                            {'f', "f32", false, true},
                                            {'d', "f64", true, true},
                                            {'h', "f16", false, true}}) {
    for (const Relation& relation : relations) {
      if (!(type.real ? relation.reals : relation.integers)) continue;
      TestWave test;
      FillForComparison(&test, type.kind, &random);
      const W exec = W{random()} << 32 | random();
      test.wave.SetScalar64(kExec, exec);
      W want = 0;
      for (int l = 0; l < kLanes; ++l) {
        if (relation.holds(Order(test.Pair(2, l), test.Pair(4, l), type.kind))) want |= W{1} << l;
      }
      const std::string sources = type.wide ? ", v[2:3], v[4:5]" : ", v2, v4";
      const std::string name = std::string(relation.name) + "_" + type.name;
      test.Must("v_cmp_" + name + "_e64 s[10:11]" + sources);
      EXPECT_EQ(test.wave.Scalar64(10), want & exec) << name;
      if (!type.wide) {
        test.Must("v_cmp_" + name + "_sdwa s[14:15]" + sources + " src0_sel:WORD_0 src1_sel:DWORD");
      }
      test.Must("v_cmpx_" + name + "_e32 vcc" + sources);
      EXPECT_EQ(test.wave.vcc(), want & exec) << name;
      EXPECT_EQ(test.wave.exec(), want & exec) << name;
    }
  }
}

TEST(WaveInstructions, ComparisonOfSelectedBytes) {
  TestWave test;
  for (int l = 0; l < kLanes; ++l)
    test.wave.v(2)[l] = static_cast<U>(l << 8), test.wave.v(4)[l] = 20;
  test.Must("v_cmp_gt_u16_sdwa vcc, v2, v4 src0_sel:BYTE_1 src1_sel:DWORD");
  EXPECT_EQ(test.wave.vcc(), ~W{0} << 21);
}

TEST(WaveInstructions, ClassesOfNumbers) {
  TestWave test;
  const double numbers[] = {
      std::numeric_limits<double>::quiet_NaN(), -INFINITY, -1.0, -0.0, 0.0, 1.0, INFINITY};
  const int bits[] = {1, 2, 3, 5, 6, 8, 9};
  for (int which = 0; which < 7; ++which) {
    for (int l = 0; l < kLanes; ++l) {
      test.SetPair(2, l, std::bit_cast<W>(numbers[l % 7]));
      test.wave.v(4)[l] = B(static_cast<float>(numbers[l % 7]));
      test.wave.v(6)[l] = 1u << bits[which];
    }
    test.Must("v_cmp_class_f64_e32 vcc, v[2:3], v6");
    test.Must("v_cmp_class_f32_e64 s[10:11], v4, v6");
    for (int l = 0; l < kLanes; ++l) {
      EXPECT_EQ(test.wave.vcc() >> l & 1, l % 7 == which);
      EXPECT_EQ(test.wave.Scalar64(10) >> l & 1, l % 7 == which);
    }
  }
}

TEST(WaveInstructions, ChoiceByMask) {
  TestWave test;
  for (int l = 0; l < kLanes; ++l) test.wave.v(2)[l] = B(1.5f), test.wave.v(4)[l] = 7;
  test.wave.SetScalar64(kVcc, 0xf0f0f0f0f0f0f0f0);
  test.wave.SetScalar64(10, 0x00000000ffffffff);
  test.Must("v_cndmask_b32_e32 v0, v2, v4, vcc");
  test.Must("v_cndmask_b32_e64 v1, -v2, 9, s[10:11]");
  test.Must("v_cndmask_b32_e64 v6, 0, 1, s[10:11]");
  test.Must("v_cndmask_b32_e64 v7, 0, 1, vcc");
  for (int l = 0; l < kLanes; ++l) {
    EXPECT_EQ(test.wave.v(0)[l], (l & 4) != 0 ? 7 : B(1.5f));
    EXPECT_EQ(test.wave.v(1)[l], l < 32 ? 9 : B(-1.5f));
    EXPECT_EQ(test.wave.v(6)[l], l < 32);
    EXPECT_EQ(test.wave.v(7)[l], (l & 4) != 0);
  }
}

TEST(WaveInstructions, SumsWithCarries) {
  TestWave test;
  std::mt19937_64 random(5);
  W a[kLanes], b[kLanes];
  for (int l = 0; l < kLanes; ++l) {
    a[l] = random(), b[l] = l % 5 == 0 ? ~a[l] + 1 : random();
    test.SetPair(2, l, a[l]), test.SetPair(4, l, b[l]);
  }
  test.Must("v_add_co_u32_e32 v6, vcc, v2, v4");
  test.Must("v_addc_co_u32_e32 v7, vcc, v3, v5, vcc");
  test.Must("v_sub_co_u32_e32 v8, vcc, v2, v4");
  test.Must("v_subb_co_u32_e32 v9, vcc, v3, v5, vcc");
  test.Must("v_subrev_co_u32_e64 v10, s[10:11], v2, v4");
  test.Must("v_subb_co_u32_e64 v11, s[12:13], v5, v3, s[10:11]");
  test.Must("v_subbrev_co_u32_e64 v12, s[12:13], v3, v5, s[10:11]");
  for (int l = 0; l < kLanes; ++l) {
    EXPECT_EQ(test.Pair(6, l), a[l] + b[l]);
    EXPECT_EQ(test.Pair(8, l), a[l] - b[l]);
    EXPECT_EQ(test.Pair(10, l), b[l] - a[l]);
    EXPECT_EQ(test.wave.v(12)[l], test.wave.v(11)[l]);
  }
  test.Must("v_mad_u64_u32 v[6:7], s[10:11], v2, v4, v[4:5]");
  test.Must("v_mad_i64_i32 v[8:9], s[10:11], v2, v4, v[4:5]");
  for (int l = 0; l < kLanes; ++l) {
    EXPECT_EQ(test.Pair(6, l), (a[l] & 0xffffffff) * (b[l] & 0xffffffff) + b[l]);
    EXPECT_EQ(test.Pair(8, l),
              static_cast<W>(int64_t{static_cast<I>(a[l])} * static_cast<I>(b[l])) + b[l]);
  }
}

// As clang divides.
TEST(WaveInstructions, Divisions) {
  std::mt19937 random(9);
  TestWave test;
  for (int round = 0; round < 20; ++round) {
    for (int l = 0; l < kLanes; ++l) {
      const float x = std::ldexp(static_cast<float>(static_cast<I>(random())),
                                 static_cast<int>(random() % 150) - 110);
      const float y = std::ldexp(static_cast<float>(static_cast<I>(random())),
                                 static_cast<int>(random() % 150) - 110);
      test.wave.v(2)[l] = B(l == 0 ? 0.0f : x), test.wave.v(4)[l] = B(l == 1   ? 0.0f
                                                                      : l == 2 ? INFINITY
                                                                               : y);
      test.SetPair(20, l, std::bit_cast<W>(static_cast<double>(F(test.wave.v(2)[l]))));
      test.SetPair(22, l, std::bit_cast<W>(static_cast<double>(F(test.wave.v(4)[l]))));
    }
    for (const char* text :
         {"v_div_scale_f32 v6, s[10:11], v4, v4, v2", "v_rcp_f32_e32 v7, v6",
          "v_fma_f32 v8, -v6, v7, 1.0", "v_fmac_f32_e32 v7, v8, v7",
          "v_div_scale_f32 v8, vcc, v2, v4, v2", "v_mul_f32_e32 v9, v8, v7",
          "v_fma_f32 v10, -v6, v9, v8", "v_fmac_f32_e32 v9, v10, v7", "v_fma_f32 v6, -v6, v9, v8",
          "v_div_fmas_f32 v6, v6, v7, v9", "v_div_fixup_f32 v0, v6, v4, v2"}) {
      test.Must(text);
    }
    for (const char* text :
         {"v_div_scale_f64 v[24:25], s[10:11], v[22:23], v[22:23], v[20:21]",
          "v_rcp_f64_e32 v[26:27], v[24:25]", "v_fma_f64 v[28:29], -v[24:25], v[26:27], 1.0",
          "v_fmac_f64_e32 v[26:27], v[26:27], v[28:29]",
          "v_div_scale_f64 v[28:29], vcc, v[20:21], v[22:23], v[20:21]",
          "v_mul_f64 v[30:31], v[28:29], v[26:27]",
          "v_fma_f64 v[24:25], -v[24:25], v[30:31], v[28:29]",
          "v_div_fmas_f64 v[24:25], v[24:25], v[26:27], v[30:31]",
          "v_div_fixup_f64 v[24:25], v[24:25], v[22:23], v[20:21]"}) {
      test.Must(text);
    }
    for (int l = 0; l < kLanes; ++l) {
      const float x = F(test.wave.v(2)[l]), y = F(test.wave.v(4)[l]), want = x / y,
                  got = F(test.wave.v(0)[l]);
      if (!std::isfinite(want)) {
        EXPECT_EQ(std::isnan(got), std::isnan(want));
        EXPECT_EQ(std::isinf(got), std::isinf(want));
      } else {
        // A quotient that is too small for all its bits is rounded twice.
        EXPECT_NEAR(got, want, std::isnormal(want) ? 0 : 1.5e-45) << x << " / " << y;
        const double exact = static_cast<double>(x) / static_cast<double>(y);
        const double found = std::bit_cast<double>(test.Pair(24, l));
        if (std::isfinite(exact)) {
          EXPECT_NEAR(found, exact, std::fabs(exact) * 4e-16) << x << " / " << y;
        }
      }
    }
  }
}

TEST(WaveInstructions, DivisionOfHalvesIsRepaired) {
  TestWave test;
  test.wave.v(0)[0] = 0x12340000;
  test.wave.v(2)[0] = FloatToFloat16(3.0f), test.wave.v(4)[0] = FloatToFloat16(-2.0f),
  test.wave.v(6)[0] = FloatToFloat16(6.0f);
  test.wave.v(2)[1] = 0, test.wave.v(4)[1] = 0, test.wave.v(6)[1] = FloatToFloat16(-1.0f);
  test.Must("v_div_fixup_f16 v0, v2, v4, v6");
  EXPECT_EQ(test.wave.v(0)[0], 0x12340000u | FloatToFloat16(-3.0f));
  EXPECT_EQ(test.wave.v(0)[1], FloatToFloat16(-INFINITY));
}

// Where lane l takes its value from; -1: it keeps what it has, -2: it gets 0.
void ExpectExchange(const std::string& modifiers, const std::function<int(int)>& from) {
  TestWave test;
  for (int l = 0; l < kLanes; ++l) {
    test.wave.v(0)[l] = 1000, test.wave.v(2)[l] = B(static_cast<float>(l)),
    test.wave.v(4)[l] = B(0.5f);
    test.wave.v(6)[l] = static_cast<U>(l), test.wave.v(1)[l] = 1000;
  }
  test.Must("v_add_f32_dpp v0, v2, v4 " + modifiers);
  test.Must("v_mov_b32_dpp v1, v6 " + modifiers);
  for (int l = 0; l < kLanes; ++l) {
    const int source = from(l);
    const float value = source == -2 ? 0.0f : static_cast<float>(source);
    EXPECT_EQ(test.wave.v(0)[l], source == -1 ? 1000 : B(value + 0.5f)) << modifiers << " " << l;
    EXPECT_EQ(test.wave.v(1)[l], source == -1 ? 1000 : static_cast<U>(value))
        << modifiers << " " << l;
  }
}

TEST(WaveInstructions, FloatsAreExchangedBetweenLanesAsIntegersAre) {
  const std::string all = " row_mask:0xf bank_mask:0xf";
  ExpectExchange("row_shl:1" + all, [](int l) { return l % 16 < 15 ? l + 1 : -1; });
  ExpectExchange("row_shl:1" + all + " bound_ctrl:1",
                 [](int l) { return l % 16 < 15 ? l + 1 : -2; });
  ExpectExchange("row_shr:3" + all, [](int l) { return l % 16 >= 3 ? l - 3 : -1; });
  ExpectExchange("row_ror:4" + all, [](int l) { return l / 16 * 16 + (l + 12) % 16; });
  ExpectExchange("row_mirror" + all, [](int l) { return l / 16 * 16 + 15 - l % 16; });
  ExpectExchange("row_half_mirror" + all, [](int l) { return l / 8 * 8 + 7 - l % 8; });
  ExpectExchange("row_newbcast:5" + all, [](int l) { return l / 16 * 16 + 5; });
  ExpectExchange("quad_perm:[1,0,3,2]" + all, [](int l) { return l ^ 1; });
  ExpectExchange("quad_perm:[0,0,0,0] row_mask:0xa bank_mask:0x3",
                 [](int l) { return l / 16 % 2 == 1 && l % 16 < 8 ? l / 4 * 4 : -1; });
}

TEST(WaveInstructions, LanesAndScalars) {
  TestWave test;
  Wave& w = test.wave;
  for (int l = 0; l < kLanes; ++l)
    w.v(2)[l] = static_cast<U>(l * l), w.v(4)[l] = static_cast<U>(4 * (63 - l));
  w.SetScalar64(kExec, ~W{0xff});
  test.Must("v_readfirstlane_b32 s5, v2");
  EXPECT_EQ(w.s[5], 64u);
  test.Must("v_readlane_b32 s5, v2, 7");
  EXPECT_EQ(w.s[5], 49u);
  w.s[6] = 70;
  test.Must("v_writelane_b32 v2, s5, s6");
  EXPECT_EQ(w.v(2)[6], 49u);
  w.v(2)[6] = 36;
  test.Must("ds_bpermute_b32 v0, v4, v2");
  for (int l = 8; l < kLanes; ++l)
    EXPECT_EQ(w.v(0)[l], l > 55 ? 0u : static_cast<U>((63 - l) * (63 - l)));
  w.SetScalar64(kExec, ~W{0});
  test.Must("ds_permute_b32 v0, v4, v2");
  for (int l = 0; l < kLanes; ++l) EXPECT_EQ(w.v(0)[l], static_cast<U>((63 - l) * (63 - l)));
  test.Must("ds_swizzle_b32 v0, v2 offset:0x801f");
  for (int l = 0; l < kLanes; ++l) {
    const int from = l / 4 * 4 + (0x1f >> (2 * (l % 4)) & 3);
    EXPECT_EQ(w.v(0)[l], static_cast<U>(from * from));
  }
  test.Must("ds_swizzle_b32 v0, v2 offset:0x041f");  // exclusive or with 1
  for (int l = 0; l < kLanes; ++l) EXPECT_EQ(w.v(0)[l], static_cast<U>((l ^ 1) * (l ^ 1)));
  test.Must("v_mbcnt_lo_u32_b32 v0, -1, 0");
  test.Must("v_mbcnt_hi_u32_b32 v0, -1, v0");
  for (int l = 0; l < kLanes; ++l) EXPECT_EQ(w.v(0)[l], static_cast<U>(l));
  test.Must("v_mbcnt_lo_u32_b32 v0, exec_lo, 0");
  test.Must("v_accvgpr_write_b32 a3, v2");
  test.Must("v_accvgpr_read_b32 v1, a3");
  for (int l = 0; l < kLanes; ++l) EXPECT_EQ(w.v(1)[l], static_cast<U>(l * l));
}

// Rows and columns where AMD's matrix calculator has them.
void ExpectMatrix(const std::string& name, int n, int k, int bits,
                  const std::function<U(int)>& encode, const std::function<U(int)>& encode_b) {
  TestWave test;
  const int groups = 64 / n, each = k / groups, per_register = 32 / bits;
  const auto a = [&](int row, int kk) { return (row * 3 + kk * 5) % 7 - 3; };
  const auto b = [&](int kk, int col) { return (kk * 2 + col) % 5 - 2; };
  for (int l = 0; l < kLanes; ++l) {
    for (int e = 0; e < each; ++e) {
      const int kk = l / n * each + e, shift = e % per_register * bits;
      test.wave.v(e / per_register)[l] |= encode(a(l % n, kk)) << shift;
      test.wave.v(8 + e / per_register)[l] |= encode_b(b(kk, l % n)) << shift;
    }
  }
  const bool integers = name.find("_i32_") != std::string::npos;
  const int sums = n * n / 64, inputs = each / per_register;
  const auto range = [](char file, int first, int count) {
    return count == 1 ? std::string(1, file) + std::to_string(first)
                      : std::string(1, file) + "[" + std::to_string(first) + ":" +
                            std::to_string(first + count - 1) + "]";
  };
  test.wave.SetScalar64(kExec, 1);  // matrices are of the whole wave
  for (int twice = 1; twice <= 2; ++twice) {
    test.Must(name + " " + range('a', 4, sums) + ", " + range('v', 0, inputs) + ", " +
              range('v', 8, inputs) + ", " + (twice == 1 ? "0" : range('a', 4, sums)));
    for (int l = 0; l < kLanes; ++l) {
      for (int e = 0; e < sums; ++e) {
        const int row = 4 * groups * (e / 4) + 4 * (l / n) + e % 4;
        int want = 0;
        for (int kk = 0; kk < k; ++kk) want += a(row, kk) * b(kk, l % n);
        const U got = test.wave.v(kAccumulators + 4 + e)[l];
        EXPECT_EQ(integers ? static_cast<I>(got) : static_cast<int>(F(got)), twice * want) << name;
      }
    }
  }
}

TEST(WaveInstructions, Matrices) {
  const auto bf16 = [](int x) { return B(static_cast<float>(x)) >> 16; };
  const auto f16 = [](int x) { return U{FloatToFloat16(static_cast<float>(x))}; };
  const auto f32 = [](int x) { return B(static_cast<float>(x)); };
  const auto i8 = [](int x) { return static_cast<U>(x) & 255; };
  const auto fp8 = [](int x) { return U{FloatToE4M3FNUZ(static_cast<float>(x))}; };
  const auto bf8 = [](int x) { return U{FloatToFloat16(static_cast<float>(2 * x))} >> 8; };
  ExpectMatrix("v_mfma_f32_32x32x8_bf16", 32, 8, 16, bf16, bf16);
  ExpectMatrix("v_mfma_f32_16x16x16_bf16", 16, 16, 16, bf16, bf16);
  ExpectMatrix("v_mfma_f32_32x32x8_f16", 32, 8, 16, f16, f16);
  ExpectMatrix("v_mfma_f32_16x16x16_f16", 16, 16, 16, f16, f16);
  ExpectMatrix("v_mfma_f32_32x32x2_f32", 32, 2, 32, f32, f32);
  ExpectMatrix("v_mfma_f32_16x16x4_f32", 16, 4, 32, f32, f32);
  ExpectMatrix("v_mfma_i32_32x32x16_i8", 32, 16, 8, i8, i8);
  ExpectMatrix("v_mfma_i32_16x16x32_i8", 16, 32, 8, i8, i8);
  ExpectMatrix("v_mfma_f32_32x32x16_fp8_fp8", 32, 16, 8, fp8, fp8);
  ExpectMatrix("v_mfma_f32_16x16x32_fp8_fp8", 16, 32, 8, fp8, fp8);
  ExpectMatrix("v_mfma_f32_32x32x16_fp8_bf8", 32, 16, 8, fp8, bf8);
  ExpectMatrix("v_mfma_f32_16x16x32_fp8_bf8", 16, 32, 8, fp8, bf8);
  ExpectMatrix("v_mfma_f32_32x32x16_bf8_fp8", 32, 16, 8, bf8, fp8);
  ExpectMatrix("v_mfma_f32_16x16x32_bf8_fp8", 16, 32, 8, bf8, fp8);
  ExpectMatrix("v_mfma_f32_32x32x16_bf8_bf8", 32, 16, 8, bf8, bf8);
  ExpectMatrix("v_mfma_f32_16x16x32_bf8_bf8", 16, 32, 8, bf8, bf8);
}

struct ScalarCase {
  const char* text;
  W want;    // in s[0:1], or in s0
  int bits;  // 32 or 64
  int scc;   // -1: as it was (1)
};

// s[2:3] = a, s[4:5] = b, s[0:1] = -2, scc = 1.
TEST(WaveInstructions, Scalars) {
  const W a = 0x80000005fffffff0, b = 0x0000000300000021;
  const ScalarCase cases[] = {
      {"s_mov_b32 s0, s2", 0xfffffff0, 32, -1},
      {"s_mov_b32 s0, 0x12345678", 0x12345678, 32, -1},
      {"s_mov_b64 s[0:1], s[2:3]", a, 64, -1},
      {"s_mov_b64 s[0:1], -1", ~W{0}, 64, -1},
      {"s_movk_i32 s0, 0xff00", 0xffffff00, 32, -1},
      {"s_add_u32 s0, s2, s4", 0x11, 32, 1},
      {"s_addc_u32 s0, s3, s5", 0x80000009, 32, 0},
      {"s_sub_u32 s0, s4, s2", 0x31, 32, 1},
      {"s_subb_u32 s0, s3, s5", 0x80000001, 32, 0},
      {"s_add_i32 s0, s3, s3", 0x0000000a, 32, 1},
      {"s_sub_i32 s0, s4, s2", 0x31, 32, 0},
      {"s_mul_i32 s0, s2, s4", 0xfffffdf0, 32, -1},
      {"s_mul_hi_u32 s0, s2, s4", 0x20, 32, -1},
      {"s_mul_hi_i32 s0, s2, s4", 0xffffffff, 32, -1},
      {"s_min_i32 s0, s2, s4", 0xfffffff0, 32, 1},
      {"s_max_i32 s0, s2, s4", 0x21, 32, 0},
      {"s_min_u32 s0, s2, s4", 0x21, 32, 0},
      {"s_max_u32 s0, s2, s4", 0xfffffff0, 32, 1},
      {"s_abs_i32 s0, s2", 0x10, 32, 1},
      {"s_lshl1_add_u32 s0, s4, s5", 0x45, 32, 0},
      {"s_lshl2_add_u32 s0, s4, s5", 0x87, 32, 0},
      {"s_lshl3_add_u32 s0, s4, s5", 0x10b, 32, 0},
      {"s_lshl4_add_u32 s0, s2, s5", 0xffffff03, 32, 1},
      {"s_and_b32 s0, s2, s4", 0x20, 32, 1},
      {"s_or_b32 s0, s2, s4", 0xfffffff1, 32, 1},
      {"s_xor_b32 s0, s2, s2", 0, 32, 0},
      {"s_andn2_b32 s0, s4, s2", 1, 32, 1},
      {"s_not_b32 s0, s2", 0xf, 32, 1},
      {"s_and_b64 s[0:1], s[2:3], s[4:5]", 0x0000000100000020, 64, 1},
      {"s_or_b64 s[0:1], s[2:3], s[4:5]", a | b, 64, 1},
      {"s_xor_b64 s[0:1], s[2:3], s[4:5]", a ^ b, 64, 1},
      {"s_andn2_b64 s[0:1], s[2:3], s[4:5]", a & ~b, 64, 1},
      {"s_orn2_b64 s[0:1], s[2:3], s[4:5]", a | ~b, 64, 1},
      {"s_not_b64 s[0:1], s[2:3]", ~a, 64, 1},
      {"s_lshl_b32 s0, s2, s4", 0xffffffe0, 32, 1},
      {"s_lshr_b32 s0, s2, s4", 0x7ffffff8, 32, 1},
      {"s_ashr_i32 s0, s2, s4", 0xfffffff8, 32, 1},
      {"s_lshl_b64 s[0:1], s[2:3], s4", a << 33, 64, 1},
      {"s_lshr_b64 s[0:1], s[2:3], s4", a >> 33, 64, 1},
      {"s_ashr_i64 s[0:1], s[2:3], s4", a >> 33 | ~W{0} << 31, 64, 1},
      {"s_bfe_u32 s0, s2, 0x80004", 0xff, 32, 1},
      {"s_bfe_i32 s0, s2, 0x80004", 0xffffffff, 32, 1},
      {"s_brev_b32 s0, s4", 0x84000000, 32, -1},
      {"s_bcnt1_i32_b32 s0, s2", 28, 32, 1},
      {"s_bcnt1_i32_b64 s0, s[2:3]", 31, 32, 1},
      {"s_ff1_i32_b32 s0, s2", 4, 32, -1},
      {"s_ff1_i32_b64 s0, s[2:3]", 4, 32, -1},
      {"s_flbit_i32_b32 s0, s4", 26, 32, -1},
      {"s_flbit_i32 s0, s2", 28, 32, -1},
      {"s_flbit_i32 s0, s4", 26, 32, -1},
      {"s_flbit_i32 s0, -1", 0xffffffff, 32, -1},
      {"s_flbit_i32_i64 s0, s[2:3]", 1, 32, -1},
      {"s_flbit_i32_b64 s0, s[4:5]", 30, 32, -1},
      {"s_sext_i32_i8 s0, s2", 0xfffffff0, 32, -1},
      {"s_sext_i32_i16 s0, s2", 0xfffffff0, 32, -1},
      {"s_cselect_b32 s0, s2, s4", 0xfffffff0, 32, -1},
      {"s_cselect_b64 s[0:1], s[2:3], s[4:5]", a, 64, -1},
      {"s_addk_i32 s0, 0xfffe", 0xfffffffc, 32, 0},
      {"s_mulk_i32 s0, 0x10", 0xffffffe0, 32, -1},
      {"s_pack_ll_b32_b16 s0, s2, s4", 0x0021fff0, 32, -1},
      {"s_bfm_b32 s0, 8, 4", 0xff0, 32, -1},
      {"s_bitset1_b32 s0, 0", 0xffffffff, 32, -1},
      {"s_bitset0_b32 s0, 31", 0x7ffffffe, 32, -1},
  };
  for (const ScalarCase& c : cases) {
    TestWave test;
    test.wave.SetScalar64(2, a), test.wave.SetScalar64(4, b), test.wave.SetScalar64(0, ~W{1});
    test.wave.scc = true;
    test.Must(c.text);
    EXPECT_EQ(c.bits == 64 ? test.wave.Scalar64(0) : test.wave.s[0], c.want) << c.text;
    EXPECT_EQ(test.wave.scc, c.scc != 0) << c.text;
  }
}

TEST(WaveInstructions, ScalarComparisons) {
  struct Relation {
    const char* name;
    std::function<bool(int)> holds;
  };
  for (const Relation& r : std::vector<Relation>{{"eq", [](int o) { return o == 0; }},
                                                 {"lg", [](int o) { return o != 0; }},
                                                 {"gt", [](int o) { return o > 0; }},
                                                 {"ge", [](int o) { return o >= 0; }},
                                                 {"lt", [](int o) { return o < 0; }},
                                                 {"le", [](int o) { return o <= 0; }}}) {
    for (U x : {5u, 7u, 0xfffffff0u}) {
      TestWave test;
      test.wave.s[2] = x, test.wave.s[3] = 7;
      const auto order = [](auto p, auto q) { return p < q ? -1 : p > q ? 1 : 0; };
      const auto expect = [&](const std::string& text, int o) {
        test.Must(text);
        EXPECT_EQ(test.wave.scc, r.holds(o)) << text << " " << x;
      };
      const std::string name = r.name;
      expect("s_cmp_" + name + "_u32 s2, s3", order(x, U{7}));
      expect("s_cmp_" + name + "_i32 s2, s3", order(static_cast<I>(x), 7));
      expect("s_cmpk_" + name + "_u32 s2, 0x7", order(x, U{7}));
      expect("s_cmpk_" + name + "_i32 s2, 0xfff0", order(static_cast<I>(x), -16));
    }
  }
  TestWave test;
  test.wave.SetScalar64(2, 5), test.wave.SetScalar64(4, W{5} << 32);
  test.Must("s_cmp_eq_u64 s[2:3], s[4:5]");
  EXPECT_FALSE(test.wave.scc);
  test.Must("s_cmp_lg_u64 s[2:3], s[4:5]");
  EXPECT_TRUE(test.wave.scc);
  test.Must("s_bitcmp1_b32 s2, 1");
  EXPECT_FALSE(test.wave.scc);
  test.Must("s_bitcmp0_b32 s2, 1");
  EXPECT_TRUE(test.wave.scc);
}

TEST(WaveInstructions, LanesThatAreOnAreSaved) {
  struct Case {
    const char* name;
    W lanes;
  };
  const W exec = 0xff00ff00ff00ff00, mask = 0xffff0000ffff0000;
  for (const Case& c : {Case{"and", mask & exec}, Case{"or", mask | exec}, Case{"xor", mask ^ exec},
                        Case{"andn2", mask & ~exec}, Case{"orn2", mask | ~exec}}) {
    TestWave test;
    test.wave.SetScalar64(kExec, exec), test.wave.SetScalar64(4, mask);
    test.Must(std::string("s_") + c.name + "_saveexec_b64 s[2:3], s[4:5]");
    EXPECT_EQ(test.wave.Scalar64(2), exec);
    EXPECT_EQ(test.wave.exec(), c.lanes) << c.name;
    EXPECT_TRUE(test.wave.scc);
  }
}

TEST(WaveInstructions, BranchesAndWaits) {
  TestWave test;
  for (const char* text : {"s_nop 0", "s_waitcnt vmcnt(0) expcnt(0) lgkmcnt(0)", "s_sleep 1",
                           "s_setprio 1", "buffer_inv sc1", "buffer_wbl2 sc1"}) {
    test.Must(text);
  }
  const auto taken = [&](const char* text, auto set) {
    const auto parsed = ParseInstruction(text);
    auto instruction = Decode(*parsed).value();
    TestedPairs().insert(PairOf(*parsed));
    instruction.target = 77;
    test.wave.next = 1;
    set(test.wave);
    instruction.run(test.wave, instruction);
    return test.wave.next == 77;
  };
  EXPECT_TRUE(taken("s_branch 5", [](Wave&) {}));
  EXPECT_TRUE(taken("s_cbranch_scc1 5", [](Wave& w) { w.scc = true; }));
  EXPECT_FALSE(taken("s_cbranch_scc0 5", [](Wave& w) { w.scc = true; }));
  EXPECT_TRUE(taken("s_cbranch_vccz 5", [](Wave& w) { w.SetScalar64(kVcc, 0); }));
  EXPECT_TRUE(taken("s_cbranch_vccnz 5", [](Wave& w) { w.SetScalar64(kVcc, W{1} << 40); }));
  EXPECT_TRUE(taken("s_cbranch_execnz 5", [](Wave& w) { w.SetScalar64(kExec, W{1} << 40); }));
  EXPECT_TRUE(taken("s_cbranch_execz 5", [](Wave& w) { w.SetScalar64(kExec, 0); }));
  test.Must("s_barrier");
  EXPECT_EQ(test.wave.state, WaveState::kAtBarrier);
  test.Must("s_endpgm");
  EXPECT_EQ(test.wave.state, WaveState::kEnded);
}

// Nothing is ignored.
TEST(WaveInstructions, WhatIsUnknownIsRefusedByName) {
  TestWave test;
  for (const char* text :
       {"v_no_such_thing_b32 v0, v1",
        "v_add_f32_dpp v0, v1, v2 row_bcast:15 row_mask:0xf bank_mask:0xf",
        "v_add_f32_e64 v0, v1, v2 sparkle", "v_add_f32_e64 v0, v1, v2 wave_shr:1",
        "v_add_u32_e64 v0, v1, v2 clamp", "v_add_u32_e64 v0, -v1, v2",
        "v_mfma_f32_32x32x8_bf16 a[0:15], v[0:1], v[2:3], 0 cbsz:1", "v_add_f32_e32 v0, v[1:2], v2",
        "v_add_f32_e32 v0, v1", "s_mov_b64 s[0:1], s2", "s_add_u32 s0, v1, s2",
        "s_setreg_imm32_b32 hwreg(HW_REG_MODE, 0, 4), 15", "ds_read_b32 v0, v1 gds",
        "v_add_f64 v[0:1], v[2:3], v[4:5] clamp", "scratch_load_dword v0, off, s32",
        "s_swappc_b64 s[30:31], s[4:5]", "v_readlane_b32 s0, v1, v2"}) {
    const std::string why = test.Run(text);
    EXPECT_THAT(why, HasSubstr(std::string("'") + text + "'"));
  }
}

}  // namespace
}  // namespace tessera::gfx942
