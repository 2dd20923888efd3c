// Two numbers in one instruction: pairs of floats in two registers, pairs of halves in one, and
// multiply-adds that mix halves and floats.
#include <cmath>

#include "device/gpu/gfx942/vector_lanes.h"
#include "tessera/dtype.h"

namespace tessera::gfx942 {
namespace {

// Register `part` of operand k, without any modifier: what a pair's halves are chosen of.
void ReadRaw(const Wave& wave, const Instruction& i, int k, int part, uint32_t* values) {
  const Operand& o = i.operand[static_cast<size_t>(k)];
  if (o.kind == OperandKind::kVector) {
    std::memcpy(values, wave.v(o.index + part), sizeof(Row));
  } else if (o.kind == OperandKind::kScalar) {
    Broadcast(wave.s[static_cast<size_t>(o.index + part)], values);
  } else {
    // A constant is the lower one's, and the upper one's if op_sel_hi does not ask for another.
    Broadcast(static_cast<uint32_t>(o.bits), values);
  }
}

// The value of source k for the lower (0) or the upper (1) result.
void ReadFloat(const Wave& wave, const Instruction& i, int k, int result, float* values) {
  const int choice = (result == 1 ? i.half_high : i.half) >> (k - 1) & 1;
  const bool negative = ((result == 1 ? i.negative_high : i.negative_low) >> (k - 1) & 1) != 0;
  alignas(64) uint32_t raw[kLanes];
  ReadRaw(wave, i, k, choice, raw);
  const uint32_t sign = negative ? 0x80000000u : 0;
  for (int l = 0; l < kLanes; ++l) values[l] = std::bit_cast<float>(raw[l] ^ sign);
}

template <class F, int kSources>
struct FloatPair {
  [[gnu::always_inline]] static inline void Body(Wave& wave, const Instruction& i) {
    alignas(64) float x[3][kLanes];
    alignas(64) uint32_t out[2][kLanes];
    for (int result = 0; result < 2; ++result) {
      for (int k = 0; k < kSources; ++k) ReadFloat(wave, i, k + 1, result, x[k]);
      for (int l = 0; l < kLanes; ++l) {
        out[result][l] = std::bit_cast<uint32_t>(F{}(x[0][l], x[1][l], x[kSources - 1][l]));
      }
    }
    // Sources may overlap with the destination.
    StoreLanes(wave.v(i.operand[0].index), out[0], wave.exec());
    StoreLanes(wave.v(i.operand[0].index + 1), out[1], wave.exec());
  }
  static void Run(Wave& wave, const Instruction& i) { Body(wave, i); }
#if defined(TESSERA_GFX942_WIDE)
  TESSERA_GFX942_WIDE static void RunWide(Wave& wave, const Instruction& i) { Body(wave, i); }
#endif
};

template <class F, int kSources>
void HalfPair(Wave& wave, const Instruction& i) {
  alignas(64) uint32_t raw[3][kLanes], out[kLanes];
  for (int k = 0; k < kSources; ++k) ReadRaw(wave, i, k + 1, 0, raw[k]);
  for (int l = 0; l < kLanes; ++l) {
    uint32_t pair = 0;
    for (int result = 0; result < 2; ++result) {
      float x[3] = {};
      for (int k = 0; k < kSources; ++k) {
        const int choice = (result == 1 ? i.half_high : i.half) >> k & 1;
        const bool negative = ((result == 1 ? i.negative_high : i.negative_low) >> k & 1) != 0;
        const uint32_t bits = (raw[k][l] >> (16 * choice) & 0xffff) ^ (negative ? 0x8000u : 0u);
        x[k] = Float16ToFloat(static_cast<uint16_t>(bits));
      }
      pair |= uint32_t{FloatToFloat16(F{}(x[0], x[1], x[kSources - 1]))} << (16 * result);
    }
    out[l] = pair;
  }
  StoreLanes(wave.v(i.operand[0].index), out, wave.exec());
}

void MovePair(Wave& wave, const Instruction& i) {
  alignas(64) uint32_t low[kLanes], high[kLanes];
  ReadRaw(wave, i, 1, i.half & 1, low);
  ReadRaw(wave, i, 2, i.half >> 1 & 1, high);
  StoreLanes(wave.v(i.operand[0].index), low, wave.exec());
  StoreLanes(wave.v(i.operand[0].index + 1), high, wave.exec());
}

// Each source is a float, or with op_sel_hi the half that op_sel names.
void ReadMixed(const Wave& wave, const Instruction& i, int k, float* values) {
  const Operand& o = i.operand[static_cast<size_t>(k)];
  alignas(64) uint32_t raw[kLanes];
  ReadRaw(wave, i, k, 0, raw);
  const bool is_half = (i.half_high >> (k - 1) & 1) != 0;
  const int shift = (i.half >> (k - 1) & 1) != 0 ? 16 : 0;
  for (int l = 0; l < kLanes; ++l) {
    float value = is_half ? Float16ToFloat(static_cast<uint16_t>(raw[l] >> shift))
                          : std::bit_cast<float>(raw[l]);
    if (o.absolute) value = std::fabs(value);
    values[l] = o.negative ? -value : value;
  }
}

enum class Mixed { kFloat, kLow, kHigh };

template <Mixed kTo>
void MixedMultiplyAdd(Wave& wave, const Instruction& i) {
  alignas(64) float x[3][kLanes];
  for (int k = 0; k < 3; ++k) ReadMixed(wave, i, k + 1, x[k]);
  uint32_t* const to = wave.v(i.operand[0].index);
  ForActiveLanes(wave.exec(), [&](int l) {
    float sum = std::fma(x[0][l], x[1][l], x[2][l]);
    if (i.clamp) sum = sum > 0.0f ? std::fmin(sum, 1.0f) : 0.0f;
    if (kTo == Mixed::kFloat) {
      to[l] = std::bit_cast<uint32_t>(sum);
    } else if (kTo == Mixed::kLow) {
      to[l] = (to[l] & 0xffff0000u) | FloatToFloat16(sum);
    } else {
      to[l] = (to[l] & 0xffffu) | uint32_t{FloatToFloat16(sum)} << 16;
    }
  });
}

template <class F, int kSources>
void AddFloatPair(OpcodeTable* table, const char* name) {
  std::vector<OperandType> operands(kSources + 1, {Role::kSource, 2, Number::kFloat32});
  operands[0] = {Role::kVector, 2};
  table->Add(name, Pick<FloatPair<F, kSources>>(), operands,
             kModifierHalf | kModifierHalfHigh | kModifierNegativeHalf);
}
template <class F, int kSources>
void AddHalfPair(OpcodeTable* table, const char* name) {
  std::vector<OperandType> operands(kSources + 1, {Role::kSource, 1, Number::kFloat16});
  operands[0] = {Role::kVector, 1};
  table->Add(name, HalfPair<F, kSources>, operands,
             kModifierHalf | kModifierHalfHigh | kModifierNegativeHalf);
}

using Product = decltype([](float a, float b, float) { return a * b; });
using Sum = decltype([](float a, float b, float) { return a + b; });
using Fused = decltype([](float a, float b, float c) { return std::fma(a, b, c); });
using Maximum = decltype([](float a, float b, float) { return std::fmax(a, b); });
using Minimum = decltype([](float a, float b, float) { return std::fmin(a, b); });

}  // namespace

void AddVectorPacked(OpcodeTable* table) {
  AddFloatPair<Product, 2>(table, "v_pk_mul_f32");
  AddFloatPair<Sum, 2>(table, "v_pk_add_f32");
  AddFloatPair<Fused, 3>(table, "v_pk_fma_f32");
  AddHalfPair<Product, 2>(table, "v_pk_mul_f16");
  AddHalfPair<Sum, 2>(table, "v_pk_add_f16");
  AddHalfPair<Fused, 3>(table, "v_pk_fma_f16");
  AddHalfPair<Maximum, 2>(table, "v_pk_max_f16");
  AddHalfPair<Minimum, 2>(table, "v_pk_min_f16");
  table->Add("v_pk_mov_b32", MovePair, {{Role::kVector, 2}, {Role::kSource, 2}, {Role::kSource, 2}},
             kModifierHalf | kModifierHalfHigh);
  const OperandType mixed{Role::kSource, 1, Number::kFloat32}, vector{Role::kVector, 1};
  const uint32_t modifiers = kModifierHalf | kModifierHalfHigh | kModifierSign | kModifierClamp;
  table->Add("v_fma_mix_f32", MixedMultiplyAdd<Mixed::kFloat>, {vector, mixed, mixed, mixed},
             modifiers);
  table->Add("v_fma_mixlo_f16", MixedMultiplyAdd<Mixed::kLow>, {vector, mixed, mixed, mixed},
             modifiers);
  table->Add("v_fma_mixhi_f16", MixedMultiplyAdd<Mixed::kHigh>, {vector, mixed, mixed, mixed},
             modifiers);
  AddLanes(
      table, "v_pack_b32_f16", [](Half a, Half b) { return a.bits | uint32_t{b.bits} << 16; },
      kModifierHalf);
}

}  // namespace tessera::gfx942
