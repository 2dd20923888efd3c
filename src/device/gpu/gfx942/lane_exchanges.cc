// Values that move from one lane to another, or between lanes and scalar registers.
#include "device/gpu/gfx942/vector_lanes.h"

namespace tessera::gfx942 {
namespace {

// Bits of lanes before this one, of the lower or the upper 32.
template <bool kHigh>
void CountBelow(Wave& wave, const Instruction& i) {
  const Input<uint32_t> mask(wave, i, 1), add(wave, i, 2);
  alignas(64) uint32_t result[kLanes];
  for (int l = 0; l < kLanes; ++l) {
    const int below = kHigh ? l - 32 : l;
    const uint32_t lanes = below <= 0 ? 0 : below >= 32 ? ~uint32_t{0} : (uint32_t{1} << below) - 1;
    result[l] = add[l] + static_cast<uint32_t>(__builtin_popcount(mask[l] & lanes));
  }
  Store(wave, i, result);
}

void ReadFirstLane(Wave& wave, const Instruction& i) {
  const uint64_t exec = wave.exec();
  const int lane = exec != 0 ? __builtin_ctzll(exec) : 0;
  wave.s[i.operand[0].index] = Input<uint32_t>(wave, i, 1)[lane];
}

void ReadLane(Wave& wave, const Instruction& i) {
  const uint32_t lane = Scalar(wave, i.operand[2]) & 63;
  wave.s[i.operand[0].index] = wave.v(i.operand[1].index)[lane];
}

// Whether the lane is on or not.
void WriteLane(Wave& wave, const Instruction& i) {
  const uint32_t lane = Scalar(wave, i.operand[2]) & 63;
  wave.v(i.operand[0].index)[lane] = Scalar(wave, i.operand[1]);
}

// Each lane reads from the lane whose number, times 4, it has; lanes that are off give 0.
void Pull(Wave& wave, const Instruction& i) {
  const uint32_t* const place = wave.v(i.operand[1].index);
  const uint32_t* const data = wave.v(i.operand[2].index);
  const uint64_t exec = wave.exec();
  alignas(64) uint32_t result[kLanes];
  for (int l = 0; l < kLanes; ++l) {
    const uint32_t from = (place[l] + static_cast<uint32_t>(i.offset)) >> 2 & 63;
    result[l] = (exec >> from & 1) != 0 ? data[from] : 0;
  }
  StoreLanes(wave.v(i.operand[0].index), result, exec);
}

// Each lane writes to the lane whose number it has; the highest lane that writes wins.
void Push(Wave& wave, const Instruction& i) {
  const uint32_t* const place = wave.v(i.operand[1].index);
  const uint32_t* const data = wave.v(i.operand[2].index);
  alignas(64) uint32_t result[kLanes] = {};
  ForActiveLanes(wave.exec(), [&](int l) {
    result[(place[l] + static_cast<uint32_t>(i.offset)) >> 2 & 63] = data[l];
  });
  StoreLanes(wave.v(i.operand[0].index), result, wave.exec());
}

// Patterns of bits: groups of four lanes, or and, or and exclusive-or masks of the lane's number.
void Swizzle(Wave& wave, const Instruction& i) {
  const uint32_t* const data = wave.v(i.operand[1].index);
  const uint64_t exec = wave.exec();
  alignas(64) uint32_t result[kLanes];
  for (int l = 0; l < kLanes; ++l) {
    int from = l;
    if ((i.offset & 0x8000) != 0) {
      from = (l & ~3) | (i.offset >> (2 * (l & 3)) & 3);
    } else {
      const int low = ((l & 31 & i.offset) | (i.offset >> 5 & 31)) ^ (i.offset >> 10 & 31);
      from = (l & 32) | (low & 31);
    }
    result[l] = (exec >> from & 1) != 0 ? data[from] : 0;
  }
  StoreLanes(wave.v(i.operand[0].index), result, exec);
}

}  // namespace

void AddLaneExchanges(OpcodeTable* table) {
  const OperandType vector{Role::kVector, 1}, scalar{Role::kScalar, 1}, source{};
  const OperandType scalar_source{Role::kScalarSource, 1};
  table->Add("v_mbcnt_lo_u32_b32", CountBelow<false>, {vector, source, source});
  table->Add("v_mbcnt_hi_u32_b32", CountBelow<true>, {vector, source, source});
  table->Add("v_readfirstlane_b32", ReadFirstLane, {scalar, vector});
  table->Add("v_readlane_b32", ReadLane, {scalar, vector, scalar_source});
  table->Add("v_writelane_b32", WriteLane, {vector, scalar_source, scalar_source});
  table->Add("ds_bpermute_b32", Pull, {vector, vector, vector}, kModifierOffset);
  table->Add("ds_permute_b32", Push, {vector, vector, vector}, kModifierOffset);
  table->Add("ds_swizzle_b32", Swizzle, {vector, vector}, kModifierOffset);
}

}  // namespace tessera::gfx942
