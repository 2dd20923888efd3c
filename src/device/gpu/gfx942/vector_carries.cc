// Integer sums with carries in masks, and products with 64-bit sums.
#include "device/gpu/gfx942/vector_lanes.h"

namespace tessera::gfx942 {
namespace {

// F: (a, b, carry in) to 33 bits.
template <class F, bool kCarryIn>
void WithCarry(Wave& wave, const Instruction& i) {
  const Input<uint32_t> a(wave, i, 2), b(wave, i, 3);
  const uint64_t in = kCarryIn ? Scalar64(wave, i.operand[4]) : 0;
  alignas(64) uint32_t result[kLanes];
  uint64_t out = 0;
  for (int l = 0; l < kLanes; ++l) {
    const uint64_t sum = F{}(uint64_t{a[l]}, uint64_t{b[l]}, in >> l & 1);
    result[l] = static_cast<uint32_t>(sum);
    out |= (sum >> 32 & 1) << l;
  }
  const uint64_t exec = wave.exec();
  StoreLanes(wave.v(i.operand[0].index), result, exec);
  wave.SetScalar64(i.operand[1].index, out & exec);
}

template <bool kSigned>
void MultiplyAdd(Wave& wave, const Instruction& i) {
  const Input<uint32_t> a(wave, i, 2), b(wave, i, 3);
  const Input<uint64_t> c(wave, i, 4);
  alignas(64) uint64_t result[kLanes];
  uint64_t carry = 0;
  for (int l = 0; l < kLanes; ++l) {
    const uint64_t product = kSigned ? static_cast<uint64_t>(int64_t{static_cast<int32_t>(a[l])} *
                                                             static_cast<int32_t>(b[l]))
                                     : uint64_t{a[l]} * b[l];
    result[l] = product + c[l];
    const bool over = kSigned ? (static_cast<int64_t>(product ^ result[l]) &
                                 static_cast<int64_t>(c[l] ^ result[l])) < 0
                              : result[l] < product;
    carry |= uint64_t{over} << l;
  }
  Store(wave, i, result);
  wave.SetScalar64(i.operand[1].index, carry & wave.exec());
}

}  // namespace

void AddVectorCarries(OpcodeTable* table) {
  using U = uint64_t;
  const OperandType vector{Role::kVector, 1}, mask{Role::kScalar, 2, Number::kBits64}, source{};
  const OperandType wide{Role::kVector, 2, Number::kBits64},
      wide_source{Role::kSource, 2, Number::kBits64},
      mask_in{Role::kScalarSource, 2, Number::kBits64};
  const std::vector<OperandType> two = {vector, mask, source, source};
  const std::vector<OperandType> three = {vector, mask, source, source, mask_in};
  table->Add("v_add_co_u32", WithCarry<decltype([](U a, U b, U) { return a + b; }), false>, two);
  table->Add("v_sub_co_u32", WithCarry<decltype([](U a, U b, U) { return a - b; }), false>, two);
  table->Add("v_subrev_co_u32", WithCarry<decltype([](U a, U b, U) { return b - a; }), false>, two);
  table->Add("v_addc_co_u32", WithCarry<decltype([](U a, U b, U c) { return a + b + c; }), true>,
             three);
  table->Add("v_subb_co_u32", WithCarry<decltype([](U a, U b, U c) { return a - b - c; }), true>,
             three);
  table->Add("v_subbrev_co_u32", WithCarry<decltype([](U a, U b, U c) { return b - a - c; }), true>,
             three);
  table->Add("v_mad_u64_u32", MultiplyAdd<false>, {wide, mask, source, source, wide_source});
  table->Add("v_mad_i64_i32", MultiplyAdd<true>, {wide, mask, source, source, wide_source});
}

}  // namespace tessera::gfx942
