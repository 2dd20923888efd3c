// Matrix instructions: D = A B + C of a whole wave, whichever lanes are on.
//
// A is [N, K] and B is [K, N]: lane l holds row (of A) or column (of B) l % N, and of K the
// elements from l / N * K / (64 / N) on. Of D lane l holds column l % N; four registers after each
// other are four rows, the next four are 4 * 64 / N rows further, and lanes l / N begin 4 rows
// further each.
#include <cmath>

#include "device/gpu/gfx942/vector_lanes.h"
#include "tessera/dtype.h"

namespace tessera::gfx942 {
namespace {

struct BFloat16 {
  static constexpr int kBits = 16;
  using Sum = float;
  static float Value(uint32_t bits) { return std::bit_cast<float>(bits << 16); }
};
struct Float16 {
  static constexpr int kBits = 16;
  using Sum = float;
  // Exact for every number but the smallest ones, which are shifted into place as integers.
  static float Value(uint32_t bits) {
    const uint32_t magnitude = bits & 0x7fffu, sign = (bits & 0x8000u) << 16;
    uint32_t wide = (magnitude << 13) + (112u << 23);
    if (magnitude >= 0x7c00u) wide += 112u << 23;
    const float denormal = static_cast<float>(static_cast<int32_t>(magnitude)) * 0x1p-24f;
    const float value = magnitude < 0x400u ? denormal : std::bit_cast<float>(wide);
    return std::bit_cast<float>(std::bit_cast<uint32_t>(value) | sign);
  }
};
struct Fp8 {
  static constexpr int kBits = 8;
  using Sum = float;
  static float Value(uint32_t bits) { return E4M3FNUZToFloat(static_cast<uint8_t>(bits)); }
};
struct Bf8 {
  static constexpr int kBits = 8;
  using Sum = float;
  // A half of 5 bits of exponent with one more of bias; 0x80 is no number.
  static float Value(uint32_t bits) {
    if (bits == 0x80) return std::bit_cast<float>(0x7fc00000u);
    const uint32_t exponent = bits >> 2 & 31, mantissa = bits & 3;
    const float magnitude = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -17)
                                          : std::ldexp(static_cast<float>(4 + mantissa),
                                                       static_cast<int>(exponent) - 18);
    return (bits & 0x80) != 0 ? -magnitude : magnitude;
  }
};
struct Int8 {
  static constexpr int kBits = 8;
  using Sum = int32_t;
  static int32_t Value(uint32_t bits) { return static_cast<int8_t>(bits); }
};
struct Float32 {
  static constexpr int kBits = 32;
  using Sum = float;
  static float Value(uint32_t bits) { return std::bit_cast<float>(bits); }
};

template <class TypeA, class TypeB, int N, int K>
struct Matrix {
  using Sum = typename TypeA::Sum;
  static constexpr int kGroups = kLanes / N, kSums = N * N / kLanes, kElements = K / kGroups;
  static constexpr int kRegisters = kElements * TypeA::kBits / 32;

  static constexpr int RowOf(int lane, int sum) {
    return sum / 4 * 4 * kGroups + lane / N * 4 + sum % 4;
  }

  // As operand k of the instruction lies in registers: [k of lane group][lane % N].
  template <class Type>
  [[gnu::always_inline]] static inline void ReadRows(const Wave& wave, int index, Sum (*out)[N]) {
    constexpr int kEach = 32 / Type::kBits;
    for (int r = 0; r < kRegisters; ++r) {
      const uint32_t* const row = wave.v(index + r);
      for (int part = 0; part < kEach; ++part) {
        const int e = r * kEach + part;
        for (int l = 0; l < kLanes; ++l) {
          const uint32_t bits = Type::kBits == 32 ? row[l]
                                                  : row[l] >> (part * Type::kBits % 32) &
                                                        ((1u << Type::kBits % 32) - 1);
          out[l / N * kElements + e][l % N] = Type::Value(bits);
        }
      }
    }
  }

  [[gnu::always_inline]] static inline void Body(Wave& wave, const Instruction& i) {
    alignas(64) Sum a[K][N], b[K][N], d[N][N];
    ReadRows<TypeA>(wave, i.operand[1].index, a);
    ReadRows<TypeB>(wave, i.operand[2].index, b);
    const Operand& c = i.operand[3];
    for (int sum = 0; sum < kSums; ++sum) {
      const bool constant = c.kind == OperandKind::kConstant;
      const uint32_t* const row = constant ? nullptr : wave.v(c.index + sum);
      for (int l = 0; l < kLanes; ++l) {
        d[RowOf(l, sum)][l % N] =
            std::bit_cast<Sum>(constant ? static_cast<uint32_t>(c.bits) : row[l]);
      }
    }
    for (int r = 0; r < N; ++r) {
      for (int k = 0; k < K; ++k) {
        const Sum x = a[k][r];
        for (int col = 0; col < N; ++col) d[r][col] += x * b[k][col];
      }
    }
    for (int sum = 0; sum < kSums; ++sum) {
      uint32_t* const row = wave.v(i.operand[0].index + sum);
      for (int l = 0; l < kLanes; ++l) row[l] = std::bit_cast<uint32_t>(d[RowOf(l, sum)][l % N]);
    }
  }
  static void Run(Wave& wave, const Instruction& i) { Body(wave, i); }
#if defined(TESSERA_GFX942_WIDE)
  TESSERA_GFX942_WIDE static void RunWide(Wave& wave, const Instruction& i) { Body(wave, i); }
#endif

  static void Add(OpcodeTable* table, const char* name) {
    const OperandType input{Role::kVector, kRegisters};
    table->Add(
        name, Pick<Matrix>(),
        {{Role::kVector, kSums},
         input,
         input,
         {Role::kSource, kSums, std::is_same_v<Sum, float> ? Number::kFloat32 : Number::kBits32}});
  }
};

}  // namespace

void AddMatrixInstructions(OpcodeTable* table) {
  Matrix<BFloat16, BFloat16, 32, 8>::Add(table, "v_mfma_f32_32x32x8_bf16");
  Matrix<BFloat16, BFloat16, 16, 16>::Add(table, "v_mfma_f32_16x16x16_bf16");
  Matrix<Float16, Float16, 32, 8>::Add(table, "v_mfma_f32_32x32x8_f16");
  Matrix<Float16, Float16, 16, 16>::Add(table, "v_mfma_f32_16x16x16_f16");
  Matrix<Float32, Float32, 32, 2>::Add(table, "v_mfma_f32_32x32x2_f32");
  Matrix<Float32, Float32, 16, 4>::Add(table, "v_mfma_f32_16x16x4_f32");
  Matrix<Fp8, Fp8, 32, 16>::Add(table, "v_mfma_f32_32x32x16_fp8_fp8");
  Matrix<Fp8, Fp8, 16, 32>::Add(table, "v_mfma_f32_16x16x32_fp8_fp8");
  Matrix<Bf8, Fp8, 32, 16>::Add(table, "v_mfma_f32_32x32x16_bf8_fp8");
  Matrix<Bf8, Fp8, 16, 32>::Add(table, "v_mfma_f32_16x16x32_bf8_fp8");
  Matrix<Fp8, Bf8, 32, 16>::Add(table, "v_mfma_f32_32x32x16_fp8_bf8");
  Matrix<Fp8, Bf8, 16, 32>::Add(table, "v_mfma_f32_16x16x32_fp8_bf8");
  Matrix<Bf8, Bf8, 32, 16>::Add(table, "v_mfma_f32_32x32x16_bf8_bf8");
  Matrix<Bf8, Bf8, 16, 32>::Add(table, "v_mfma_f32_16x16x32_bf8_bf8");
  Matrix<Int8, Int8, 32, 16>::Add(table, "v_mfma_i32_32x32x16_i8");
  Matrix<Int8, Int8, 16, 32>::Add(table, "v_mfma_i32_16x16x32_i8");
  // The names of earlier assemblers.
  table->Alias("v_mfma_f32_32x32x8bf16_1k", "v_mfma_f32_32x32x8_bf16");
  table->Alias("v_mfma_f32_16x16x16bf16_1k", "v_mfma_f32_16x16x16_bf16");
  table->Alias("v_mfma_f32_32x32x8f16", "v_mfma_f32_32x32x8_f16");
  table->Alias("v_mfma_f32_16x16x16f16", "v_mfma_f32_16x16x16_f16");
  table->Alias("v_mfma_f32_32x32x2f32", "v_mfma_f32_32x32x2_f32");
  table->Alias("v_mfma_f32_16x16x4f32", "v_mfma_f32_16x16x4_f32");
}

}  // namespace tessera::gfx942
