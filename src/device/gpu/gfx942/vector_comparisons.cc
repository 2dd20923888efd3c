// Comparisons: a bit for each lane that is on, zero for the others.
#include <cmath>
#include <string>

#include "device/gpu/gfx942/vector_lanes.h"
#include "tessera/dtype.h"

namespace tessera::gfx942 {
namespace {

template <class F, bool kSetsExec, class A, class B>
struct Comparison {
  [[gnu::always_inline]] static inline void Body(Wave& wave, const Instruction& i) {
    const Input<A> a(wave, i, 1);
    const Input<B> b(wave, i, 2);
    alignas(64) uint8_t result[kLanes];
    for (int l = 0; l < kLanes; ++l) result[l] = F{}(a[l], b[l]) ? 1 : 0;
    uint64_t mask = 0;
    for (int l = 0; l < kLanes; l += 8) {
      uint64_t eight;
      std::memcpy(&eight, result + l, 8);
      // Gathers the lowest bit of each byte.
      mask |= (eight * 0x0102040810204080ull >> 56) << l;
    }
    mask &= wave.exec();
    wave.SetScalar64(i.operand[0].index, mask);
    if (kSetsExec) wave.SetScalar64(kExec, mask);
  }
  static void Run(Wave& wave, const Instruction& i) { Body(wave, i); }
#if defined(TESSERA_GFX942_WIDE)
  TESSERA_GFX942_WIDE static void RunWide(Wave& wave, const Instruction& i) { Body(wave, i); }
#endif
};

template <class F, class A, class B>
void AddBoth(OpcodeTable* table, const std::string& what, bool (F::*)(A, B) const) {
  const std::vector<OperandType> operands = {{Role::kScalar, 2, Number::kBits64},
                                             {Role::kSource, kWidth<A>, kNumber<A>},
                                             {Role::kSource, kWidth<B>, kNumber<B>}};
  uint32_t modifiers = 0;
  if (kIsFloat<A>) modifiers |= kModifierSign;
  if (kWidth<A> == 1) modifiers |= kModifierSelect;
  table->Add("v_cmp_" + what, Pick<Comparison<F, false, A, B>>(), operands, modifiers);
  table->Add("v_cmpx_" + what, Pick<Comparison<F, true, A, B>>(), operands, modifiers);
}

template <class F>
void AddComparison(OpcodeTable* table, const std::string& what, F) {
  AddBoth<F>(table, what, &F::operator());
}

template <class T>
T Wide(T a) {
  return a;
}
float Wide(Half a) { return Float16ToFloat(a.bits); }
struct Short {
  int16_t bits;
};
int16_t Wide(Short a) { return a.bits; }

template <class T>
void AddIntegers(OpcodeTable* t, const std::string& type) {
  AddComparison(t, "lt_" + type, [](T a, T b) { return Wide(a) < Wide(b); });
  AddComparison(t, "eq_" + type, [](T a, T b) { return Wide(a) == Wide(b); });
  AddComparison(t, "le_" + type, [](T a, T b) { return Wide(a) <= Wide(b); });
  AddComparison(t, "gt_" + type, [](T a, T b) { return Wide(a) > Wide(b); });
  AddComparison(t, "ne_" + type, [](T a, T b) { return Wide(a) != Wide(b); });
  AddComparison(t, "ge_" + type, [](T a, T b) { return Wide(a) >= Wide(b); });
}

template <class T>
void AddReals(OpcodeTable* t, const std::string& type) {
  AddComparison(t, "lt_" + type, [](T a, T b) { return Wide(a) < Wide(b); });
  AddComparison(t, "eq_" + type, [](T a, T b) { return Wide(a) == Wide(b); });
  AddComparison(t, "le_" + type, [](T a, T b) { return Wide(a) <= Wide(b); });
  AddComparison(t, "gt_" + type, [](T a, T b) { return Wide(a) > Wide(b); });
  AddComparison(t, "lg_" + type, [](T a, T b) { return Wide(a) < Wide(b) || Wide(a) > Wide(b); });
  AddComparison(t, "ge_" + type, [](T a, T b) { return Wide(a) >= Wide(b); });
  AddComparison(t, "o_" + type, [](T a, T b) { return Wide(a) == Wide(a) && Wide(b) == Wide(b); });
  AddComparison(t, "u_" + type, [](T a, T b) { return Wide(a) != Wide(a) || Wide(b) != Wide(b); });
  AddComparison(t, "nge_" + type, [](T a, T b) { return !(Wide(a) >= Wide(b)); });
  AddComparison(t, "nlg_" + type,
                [](T a, T b) { return !(Wide(a) < Wide(b) || Wide(a) > Wide(b)); });
  AddComparison(t, "ngt_" + type, [](T a, T b) { return !(Wide(a) > Wide(b)); });
  AddComparison(t, "nle_" + type, [](T a, T b) { return !(Wide(a) <= Wide(b)); });
  AddComparison(t, "neq_" + type, [](T a, T b) { return !(Wide(a) == Wide(b)); });
  AddComparison(t, "nlt_" + type, [](T a, T b) { return !(Wide(a) < Wide(b)); });
}

// Whether `value` is of a class that `classes` names.
template <class T, int kMantissaBits>
bool IsOfClass(T value, uint32_t classes) {
  using Bits = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
  const bool negative = std::signbit(value);
  int bit = 0;
  if (std::isnan(value)) {
    const bool quiet = (std::bit_cast<Bits>(value) >> (kMantissaBits - 1) & 1) != 0;
    bit = quiet ? 1 : 0;
  } else if (std::isinf(value)) {
    bit = negative ? 2 : 9;
  } else if (value == 0) {
    bit = negative ? 5 : 6;
  } else if (std::isnormal(value)) {
    bit = negative ? 3 : 8;
  } else {
    bit = negative ? 4 : 7;
  }
  return (classes >> bit & 1) != 0;
}

}  // namespace

void AddVectorComparisons(OpcodeTable* table) {
  AddIntegers<uint32_t>(table, "u32");
  AddIntegers<int32_t>(table, "i32");
  AddIntegers<uint64_t>(table, "u64");
  AddIntegers<int64_t>(table, "i64");
  AddIntegers<uint16_t>(table, "u16");
  AddIntegers<Short>(table, "i16");
  AddReals<float>(table, "f32");
  AddReals<double>(table, "f64");
  AddReals<Half>(table, "f16");
  AddComparison(table, "class_f32",
                [](float a, uint32_t classes) { return IsOfClass<float, 23>(a, classes); });
  AddComparison(table, "class_f64",
                [](double a, uint32_t classes) { return IsOfClass<double, 52>(a, classes); });
}

}  // namespace tessera::gfx942
