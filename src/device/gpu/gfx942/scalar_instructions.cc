// Instructions on the wave's scalar registers.
#include <algorithm>
#include <limits>

#include "device/gpu/gfx942/opcode_table.h"

namespace tessera::gfx942 {
namespace {

using U = uint32_t;
using I = int32_t;
using W = uint64_t;

constexpr OperandType kTo{Role::kScalar, 1}, kFrom{Role::kScalarSource, 1};
constexpr OperandType kTo64{Role::kScalar, 2, Number::kBits64};
constexpr OperandType kFrom64{Role::kScalarSource, 2, Number::kBits64};

template <class T>
constexpr bool kIs64 = sizeof(T) == 8;
template <class T>
constexpr OperandType kSourceOf = kIs64<T> ? kFrom64 : kFrom;

template <class T>
T Get(const Wave& wave, const Instruction& i, size_t k) {
  if constexpr (kIs64<T>) {
    return static_cast<T>(Scalar64(wave, i.operand[k]));
  } else {
    return static_cast<T>(Scalar(wave, i.operand[k]));
  }
}
template <class T>
void Put(Wave& wave, const Instruction& i, T value) {
  if constexpr (kIs64<T>) {
    wave.SetScalar64(i.operand[0].index, static_cast<W>(value));
  } else {
    wave.s[i.operand[0].index] = static_cast<U>(value);
  }
}

// F: the sources' values and, by reference, SCC, to the result.
template <class F, class R, class... A, size_t... kIndex>
void RunScalar(Wave& wave, const Instruction& i, R (F::*)(bool&, A...) const,
               std::index_sequence<kIndex...>) {
  bool scc = wave.scc;
  const R result = F{}(scc, Get<A>(wave, i, kIndex + 1)...);
  Put(wave, i, result);
  wave.scc = scc;
}
template <class F, class R, class... A>
void AddOne(OpcodeTable* table, const char* name, R (F::*)(bool&, A...) const) {
  table->Add(name,
             [](Wave& wave, const Instruction& i) {
               RunScalar<F>(wave, i, &F::operator(), std::index_sequence_for<A...>{});
             },
             {kIs64<R> ? kTo64 : kTo, kSourceOf<A>...});
}
// Leaves SCC to the function.
template <class F>
void Add(OpcodeTable* table, const char* name, F) {
  AddOne<F>(table, name, &F::operator());
}

// SCC says whether the result is not 0.
template <class F, class R, class... A, size_t... kIndex>
void RunLogic(Wave& wave, const Instruction& i, R (F::*)(A...) const,
              std::index_sequence<kIndex...>) {
  const R result = F{}(Get<A>(wave, i, kIndex + 1)...);
  Put(wave, i, result);
  wave.scc = result != 0;
}
template <class F, class R, class... A>
void AddOneLogic(OpcodeTable* table, const char* name, R (F::*)(A...) const) {
  table->Add(name,
             [](Wave& wave, const Instruction& i) {
               RunLogic<F>(wave, i, &F::operator(), std::index_sequence_for<A...>{});
             },
             {kIs64<R> ? kTo64 : kTo, kSourceOf<A>...});
}
template <class F>
void AddLogic(OpcodeTable* table, const char* name, F) {
  AddOneLogic<F>(table, name, &F::operator());
}

// A comparison sets SCC.
template <class F, class A>
void AddOneComparison(OpcodeTable* table, const std::string& name, bool (F::*)(A, A) const) {
  table->Add(name,
             [](Wave& wave, const Instruction& i) {
               wave.scc = F{}(Get<A>(wave, i, 0), Get<A>(wave, i, 1));
             },
             {kSourceOf<A>, kSourceOf<A>});
}
template <class F>
void AddComparison(OpcodeTable* table, const std::string& name, F) {
  AddOneComparison<F>(table, name, &F::operator());
}

// The lanes that are on are kept in the destination, then changed.
template <class F>
void AddSave(OpcodeTable* table, const char* name, F) {
  table->Add(name,
             [](Wave& wave, const Instruction& i) {
               const W source = Scalar64(wave, i.operand[1]), exec = wave.exec();
               wave.SetScalar64(i.operand[0].index, exec);
               const W lanes = F{}(source, exec);
               wave.SetScalar64(kExec, lanes);
               wave.scc = lanes != 0;
             },
             {kTo64, kFrom64});
}

bool Overflows(int64_t value) { return value != static_cast<I>(value); }
U Extract(U a, U b) {
  const U width = b >> 16 & 127, shifted = a >> (b & 31);
  return width >= 32 ? shifted : shifted & ((U{1} << width) - 1);
}

void AddArithmetic(OpcodeTable* t) {
  Add(t, "s_add_u32", [](bool& scc, U a, U b) { return scc = (W{a} + b) >> 32 != 0, a + b; });
  Add(t, "s_addc_u32", [](bool& scc, U a, U b) {
    const W sum = W{a} + b + (scc ? 1 : 0);
    return scc = sum >> 32 != 0, static_cast<U>(sum);
  });
  Add(t, "s_sub_u32", [](bool& scc, U a, U b) { return scc = a < b, a - b; });
  Add(t, "s_subb_u32", [](bool& scc, U a, U b) {
    const W less = W{b} + (scc ? 1 : 0);
    return scc = a < less, static_cast<U>(a - less);
  });
  Add(t, "s_add_i32",
      [](bool& scc, U a, U b) { return scc = Overflows(int64_t{I(a)} + I(b)), a + b; });
  Add(t, "s_sub_i32",
      [](bool& scc, U a, U b) { return scc = Overflows(int64_t{I(a)} - I(b)), a - b; });
  Add(t, "s_mul_i32", [](bool&, U a, U b) { return a * b; });
  Add(t, "s_mul_hi_u32", [](bool&, U a, U b) { return static_cast<U>(W{a} * b >> 32); });
  Add(t, "s_mul_hi_i32",
      [](bool&, I a, I b) { return static_cast<U>(static_cast<W>(int64_t{a} * b) >> 32); });
  Add(t, "s_min_i32", [](bool& scc, I a, I b) { return scc = a < b, std::min(a, b); });
  Add(t, "s_max_i32", [](bool& scc, I a, I b) { return scc = a > b, std::max(a, b); });
  Add(t, "s_min_u32", [](bool& scc, U a, U b) { return scc = a < b, std::min(a, b); });
  Add(t, "s_max_u32", [](bool& scc, U a, U b) { return scc = a > b, std::max(a, b); });
  AddLogic(t, "s_abs_i32", [](U a) { return I(a) < 0 ? 0 - a : a; });
  Add(t, "s_lshl1_add_u32",
      [](bool& scc, U a, U b) { return scc = ((W{a} << 1) + b) >> 32 != 0, (a << 1) + b; });
  Add(t, "s_lshl2_add_u32",
      [](bool& scc, U a, U b) { return scc = ((W{a} << 2) + b) >> 32 != 0, (a << 2) + b; });
  Add(t, "s_lshl3_add_u32",
      [](bool& scc, U a, U b) { return scc = ((W{a} << 3) + b) >> 32 != 0, (a << 3) + b; });
  Add(t, "s_lshl4_add_u32",
      [](bool& scc, U a, U b) { return scc = ((W{a} << 4) + b) >> 32 != 0, (a << 4) + b; });
}

void AddMoves(OpcodeTable* t) {
  Add(t, "s_mov_b32", [](bool&, U a) { return a; });
  Add(t, "s_mov_b64", [](bool&, W a) { return a; });
  Add(t, "s_movk_i32", [](bool&, U a) { return static_cast<I>(static_cast<int16_t>(a)); });
  Add(t, "s_cselect_b32", [](bool& scc, U a, U b) { return scc ? a : b; });
  Add(t, "s_cselect_b64", [](bool& scc, W a, W b) { return scc ? a : b; });
  Add(t, "s_sext_i32_i8", [](bool&, U a) { return static_cast<I>(static_cast<int8_t>(a)); });
  Add(t, "s_sext_i32_i16", [](bool&, U a) { return static_cast<I>(static_cast<int16_t>(a)); });
  Add(t, "s_brev_b32", [](bool&, U a) {
    U r = 0;
    for (int k = 0; k < 32; ++k) r |= (a >> k & 1u) << (31 - k);
    return r;
  });
  Add(t, "s_ff1_i32_b32", [](bool&, U a) { return a == 0 ? -1 : __builtin_ctz(a); });
  Add(t, "s_ff1_i32_b64", [](bool&, W a) { return a == 0 ? -1 : __builtin_ctzll(a); });
  Add(t, "s_flbit_i32_b32", [](bool&, U a) { return a == 0 ? -1 : __builtin_clz(a); });
  Add(t, "s_flbit_i32_b64", [](bool&, W a) { return a == 0 ? -1 : __builtin_clzll(a); });
  // Of the first bit that is not the sign's.
  Add(t, "s_flbit_i32", [](bool&, U a) {
    const U other = I(a) < 0 ? ~a : a;
    return other == 0 ? -1 : __builtin_clz(other);
  });
  Add(t, "s_flbit_i32_i64", [](bool&, W a) {
    const W other = static_cast<int64_t>(a) < 0 ? ~a : a;
    return other == 0 ? -1 : __builtin_clzll(other);
  });
  Add(t, "s_pack_ll_b32_b16", [](bool&, U a, U b) { return (a & 0xffff) | b << 16; });
  Add(t, "s_pack_lh_b32_b16", [](bool&, U a, U b) { return (a & 0xffff) | (b & 0xffff0000); });
  Add(t, "s_pack_hh_b32_b16", [](bool&, U a, U b) { return a >> 16 | (b & 0xffff0000); });
  Add(t, "s_bfm_b32", [](bool&, U a, U b) { return ((U{1} << (a & 31)) - 1) << (b & 31); });
  Add(t, "s_bfm_b64", [](bool&, U a, U b) { return ((W{1} << (a & 63)) - 1) << (b & 63); });
  // The destination's other bits stay.
  t->Add("s_bitset0_b32",
         [](Wave& w, const Instruction& i) {
           w.s[i.operand[0].index] &= ~(U{1} << (Scalar(w, i.operand[1]) & 31));
         },
         {kTo, kFrom});
  t->Add("s_bitset1_b32",
         [](Wave& w, const Instruction& i) {
           w.s[i.operand[0].index] |= U{1} << (Scalar(w, i.operand[1]) & 31);
         },
         {kTo, kFrom});
}

void AddBits(OpcodeTable* t) {
  AddLogic(t, "s_and_b32", [](U a, U b) { return a & b; });
  AddLogic(t, "s_or_b32", [](U a, U b) { return a | b; });
  AddLogic(t, "s_xor_b32", [](U a, U b) { return a ^ b; });
  AddLogic(t, "s_nand_b32", [](U a, U b) { return ~(a & b); });
  AddLogic(t, "s_nor_b32", [](U a, U b) { return ~(a | b); });
  AddLogic(t, "s_xnor_b32", [](U a, U b) { return ~(a ^ b); });
  AddLogic(t, "s_andn2_b32", [](U a, U b) { return a & ~b; });
  AddLogic(t, "s_orn2_b32", [](U a, U b) { return a | ~b; });
  AddLogic(t, "s_not_b32", [](U a) { return ~a; });
  AddLogic(t, "s_and_b64", [](W a, W b) { return a & b; });
  AddLogic(t, "s_or_b64", [](W a, W b) { return a | b; });
  AddLogic(t, "s_xor_b64", [](W a, W b) { return a ^ b; });
  AddLogic(t, "s_nand_b64", [](W a, W b) { return ~(a & b); });
  AddLogic(t, "s_nor_b64", [](W a, W b) { return ~(a | b); });
  AddLogic(t, "s_xnor_b64", [](W a, W b) { return ~(a ^ b); });
  AddLogic(t, "s_andn2_b64", [](W a, W b) { return a & ~b; });
  AddLogic(t, "s_orn2_b64", [](W a, W b) { return a | ~b; });
  AddLogic(t, "s_not_b64", [](W a) { return ~a; });
  AddLogic(t, "s_lshl_b32", [](U a, U b) { return a << (b & 31); });
  AddLogic(t, "s_lshr_b32", [](U a, U b) { return a >> (b & 31); });
  AddLogic(t, "s_ashr_i32", [](I a, U b) { return a >> (b & 31); });
  AddLogic(t, "s_lshl_b64", [](W a, U b) { return a << (b & 63); });
  AddLogic(t, "s_lshr_b64", [](W a, U b) { return a >> (b & 63); });
  AddLogic(t, "s_ashr_i64", [](int64_t a, U b) { return a >> (b & 63); });
  AddLogic(t, "s_bfe_u32", [](U a, U b) { return Extract(a, b); });
  AddLogic(t, "s_bfe_i32", [](U a, U b) {
    const U width = std::min(b >> 16 & 127, 32u);
    if (width == 0) return 0;
    return static_cast<I>(a >> (b & 31) << (32 - width)) >> (32 - width);
  });
  AddLogic(t, "s_bfe_u64", [](W a, U b) {
    const U width = b >> 16 & 127;
    const W shifted = a >> (b & 63);
    return width >= 64 ? shifted : shifted & ((W{1} << width) - 1);
  });
  AddLogic(t, "s_bcnt1_i32_b32", [](U a) { return static_cast<U>(__builtin_popcount(a)); });
  AddLogic(t, "s_bcnt1_i32_b64", [](W a) { return static_cast<U>(__builtin_popcountll(a)); });
  AddSave(t, "s_and_saveexec_b64", [](W s, W e) { return s & e; });
  AddSave(t, "s_or_saveexec_b64", [](W s, W e) { return s | e; });
  AddSave(t, "s_xor_saveexec_b64", [](W s, W e) { return s ^ e; });
  AddSave(t, "s_andn2_saveexec_b64", [](W s, W e) { return s & ~e; });
  AddSave(t, "s_orn2_saveexec_b64", [](W s, W e) { return s | ~e; });
}

template <class T>
void AddOrder(OpcodeTable* t, const std::string& type) {
  AddComparison(t, "s_cmp_eq_" + type, [](T a, T b) { return a == b; });
  AddComparison(t, "s_cmp_lg_" + type, [](T a, T b) { return a != b; });
  AddComparison(t, "s_cmp_gt_" + type, [](T a, T b) { return a > b; });
  AddComparison(t, "s_cmp_ge_" + type, [](T a, T b) { return a >= b; });
  AddComparison(t, "s_cmp_lt_" + type, [](T a, T b) { return a < b; });
  AddComparison(t, "s_cmp_le_" + type, [](T a, T b) { return a <= b; });
}

// The second value is a constant of 16 bits.
template <class T, class F>
void AddShortComparison(OpcodeTable* t, const std::string& name, F) {
  t->Add(name,
         [](Wave& w, const Instruction& i) {
           using Short = std::conditional_t<std::is_signed_v<T>, int16_t, uint16_t>;
           const auto b = static_cast<T>(static_cast<Short>(i.operand[1].bits));
           w.scc = F{}(static_cast<T>(Scalar(w, i.operand[0])), b);
         },
         {kFrom, {Role::kConstant, 1}});
}
template <class T>
void AddShortOrder(OpcodeTable* t, const std::string& type) {
  AddShortComparison<T>(t, "s_cmpk_eq_" + type, [](T a, T b) { return a == b; });
  AddShortComparison<T>(t, "s_cmpk_lg_" + type, [](T a, T b) { return a != b; });
  AddShortComparison<T>(t, "s_cmpk_gt_" + type, [](T a, T b) { return a > b; });
  AddShortComparison<T>(t, "s_cmpk_ge_" + type, [](T a, T b) { return a >= b; });
  AddShortComparison<T>(t, "s_cmpk_lt_" + type, [](T a, T b) { return a < b; });
  AddShortComparison<T>(t, "s_cmpk_le_" + type, [](T a, T b) { return a <= b; });
}

void AddComparisons(OpcodeTable* t) {
  AddOrder<I>(t, "i32");
  AddOrder<U>(t, "u32");
  AddShortOrder<I>(t, "i32");
  AddShortOrder<U>(t, "u32");
  AddComparison(t, "s_cmp_eq_u64", [](W a, W b) { return a == b; });
  AddComparison(t, "s_cmp_lg_u64", [](W a, W b) { return a != b; });
  AddComparison(t, "s_bitcmp0_b32", [](U a, U b) { return (a >> (b & 31) & 1) == 0; });
  AddComparison(t, "s_bitcmp1_b32", [](U a, U b) { return (a >> (b & 31) & 1) != 0; });
  t->Add("s_addk_i32",
         [](Wave& w, const Instruction& i) {
           U& to = w.s[i.operand[0].index];
           const int64_t sum = int64_t{I(to)} + static_cast<int16_t>(i.operand[1].bits);
           w.scc = Overflows(sum);
           to = static_cast<U>(sum);
         },
         {kTo, {Role::kConstant, 1}});
  t->Add("s_mulk_i32",
         [](Wave& w, const Instruction& i) {
           w.s[i.operand[0].index] *= static_cast<U>(static_cast<int16_t>(i.operand[1].bits));
         },
         {kTo, {Role::kConstant, 1}});
}

}  // namespace

void AddScalarInstructions(OpcodeTable* table) {
  AddArithmetic(table);
  AddMoves(table);
  AddBits(table);
  AddComparisons(table);
}

}  // namespace tessera::gfx942
