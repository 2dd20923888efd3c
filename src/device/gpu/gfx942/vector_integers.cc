// Integers of 16, 32 and 64 bits.
#include <algorithm>

#include "device/gpu/gfx942/vector_lanes.h"

namespace tessera::gfx942 {
namespace {

uint32_t Low24(uint32_t a) { return a & 0xffffffu; }
int64_t Signed24(uint32_t a) { return static_cast<int32_t>(a << 8) >> 8; }

uint32_t Reverse(uint32_t a) {
  uint32_t r = 0;
  for (int k = 0; k < 32; ++k) r |= (a >> k & 1u) << (31 - k);
  return r;
}

// Bytes of b (0 to 3) and a (4 to 7), their signs (8 to 11), 0 (12) or 0xff.
uint32_t Permute(uint32_t a, uint32_t b, uint32_t selectors) {
  const uint64_t both = uint64_t{a} << 32 | b;
  uint32_t result = 0;
  for (int k = 0; k < 4; ++k) {
    const uint32_t s = selectors >> (8 * k) & 0xff;
    uint32_t byte = s == 12 ? 0 : 0xff;
    if (s < 8) byte = static_cast<uint32_t>(both >> (8 * s)) & 0xff;
    if (s >= 8 && s < 12) byte = (both >> (16 * (s - 8) + 15) & 1) != 0 ? 0xff : 0;
    result |= byte << (8 * k);
  }
  return result;
}

using U = uint32_t;
using I = int32_t;

void AddArithmetic(OpcodeTable* t) {
  AddLanes(t, "v_mov_b32", [](U a) { return a; });
  for (const char* name : {"v_accvgpr_read_b32", "v_accvgpr_write_b32", "v_accvgpr_mov_b32"}) {
    t->Alias(name, "v_mov_b32");
  }
  AddLanes(t, "v_mov_b64", [](uint64_t a) { return a; });
  AddLanes(t, "v_add_u32", [](U a, U b) { return a + b; });
  AddLanes(t, "v_sub_u32", [](U a, U b) { return a - b; });
  AddLanes(t, "v_subrev_u32", [](U a, U b) { return b - a; });
  AddLanes(t, "v_add_i32", [](U a, U b) { return a + b; });
  AddLanes(t, "v_sub_i32", [](U a, U b) { return a - b; });
  AddLanes(t, "v_add3_u32", [](U a, U b, U c) { return a + b + c; });
  AddLanes(t, "v_mul_lo_u32", [](U a, U b) { return a * b; });
  AddLanes(t, "v_mul_hi_u32", [](U a, U b) { return static_cast<U>(uint64_t{a} * b >> 32); });
  AddLanes(t, "v_mul_hi_i32",
           [](I a, I b) { return static_cast<U>(static_cast<uint64_t>(int64_t{a} * b) >> 32); });
  AddLanes(t, "v_mul_u32_u24", [](U a, U b) { return Low24(a) * Low24(b); });
  AddLanes(t, "v_mul_i32_i24", [](U a, U b) { return static_cast<U>(Signed24(a) * Signed24(b)); });
  AddLanes(t, "v_mul_hi_u32_u24",
           [](U a, U b) { return static_cast<U>(uint64_t{Low24(a)} * Low24(b) >> 32); });
  AddLanes(t, "v_mul_hi_i32_i24", [](U a, U b) {
    return static_cast<U>(static_cast<uint64_t>(Signed24(a) * Signed24(b)) >> 32);
  });
  AddLanes(t, "v_mad_u32_u24", [](U a, U b, U c) { return Low24(a) * Low24(b) + c; });
  AddLanes(t, "v_mad_i32_i24",
           [](U a, U b, U c) { return static_cast<U>(Signed24(a) * Signed24(b)) + c; });
  AddLanes(t, "v_max_i32", [](I a, I b) { return std::max(a, b); });
  AddLanes(t, "v_min_i32", [](I a, I b) { return std::min(a, b); });
  AddLanes(t, "v_max_u32", [](U a, U b) { return std::max(a, b); });
  AddLanes(t, "v_min_u32", [](U a, U b) { return std::min(a, b); });
  AddLanes(t, "v_max3_i32", [](I a, I b, I c) { return std::max(std::max(a, b), c); });
  AddLanes(t, "v_min3_i32", [](I a, I b, I c) { return std::min(std::min(a, b), c); });
  AddLanes(t, "v_max3_u32", [](U a, U b, U c) { return std::max(std::max(a, b), c); });
  AddLanes(t, "v_min3_u32", [](U a, U b, U c) { return std::min(std::min(a, b), c); });
  AddLanes(t, "v_med3_i32",
           [](I a, I b, I c) { return std::max(std::min(a, b), std::min(std::max(a, b), c)); });
  AddLanes(t, "v_med3_u32",
           [](U a, U b, U c) { return std::max(std::min(a, b), std::min(std::max(a, b), c)); });
  AddLanes(t, "v_sad_u32", [](U a, U b, U c) { return (a > b ? a - b : b - a) + c; });
}

void AddBits(OpcodeTable* t) {
  AddLanes(t, "v_and_b32", [](U a, U b) { return a & b; });
  AddLanes(t, "v_or_b32", [](U a, U b) { return a | b; });
  AddLanes(t, "v_xor_b32", [](U a, U b) { return a ^ b; });
  AddLanes(t, "v_xnor_b32", [](U a, U b) { return ~(a ^ b); });
  AddLanes(t, "v_not_b32", [](U a) { return ~a; });
  AddLanes(t, "v_lshlrev_b32", [](U a, U b) { return b << (a & 31); });
  AddLanes(t, "v_lshrrev_b32", [](U a, U b) { return b >> (a & 31); });
  AddLanes(t, "v_ashrrev_i32", [](U a, I b) { return b >> (a & 31); });
  AddLanes(t, "v_lshl_or_b32", [](U a, U b, U c) { return a << (b & 31) | c; });
  AddLanes(t, "v_and_or_b32", [](U a, U b, U c) { return (a & b) | c; });
  AddLanes(t, "v_or3_b32", [](U a, U b, U c) { return a | b | c; });
  AddLanes(t, "v_lshl_add_u32", [](U a, U b, U c) { return (a << (b & 31)) + c; });
  AddLanes(t, "v_add_lshl_u32", [](U a, U b, U c) { return (a + b) << (c & 31); });
  AddLanes(t, "v_xad_u32", [](U a, U b, U c) { return (a ^ b) + c; });
  AddLanes(t, "v_bfe_u32", [](U a, U b, U c) { return a >> (b & 31) & ((U{1} << (c & 31)) - 1); });
  AddLanes(t, "v_bfe_i32", [](U a, U b, U c) {
    const U width = c & 31;
    if (width == 0) return U{0};
    return static_cast<U>(static_cast<I>(a >> (b & 31) << (32 - width)) >> (32 - width));
  });
  AddLanes(t, "v_bfi_b32", [](U a, U b, U c) { return (a & b) | (~a & c); });
  AddLanes(t, "v_bfm_b32", [](U a, U b) { return ((U{1} << (a & 31)) - 1) << (b & 31); });
  AddLanes(t, "v_bfrev_b32", [](U a) { return Reverse(a); });
  AddLanes(t, "v_bcnt_u32_b32", [](U a, U b) { return static_cast<U>(__builtin_popcount(a)) + b; });
  AddLanes(t, "v_ffbh_u32", [](U a) { return a == 0 ? ~U{0} : static_cast<U>(__builtin_clz(a)); });
  AddLanes(t, "v_ffbl_b32", [](U a) { return a == 0 ? ~U{0} : static_cast<U>(__builtin_ctz(a)); });
  AddLanes(t, "v_ffbh_i32", [](U a) {
    const U other = static_cast<I>(a) < 0 ? ~a : a;
    return other == 0 ? ~U{0} : static_cast<U>(__builtin_clz(other));
  });
  AddLanes(t, "v_perm_b32", [](U a, U b, U c) { return Permute(a, b, c); });
  AddLanes(t, "v_alignbit_b32",
           [](U a, U b, U c) { return static_cast<U>((uint64_t{a} << 32 | b) >> (c & 31)); });
  AddLanes(t, "v_alignbyte_b32",
           [](U a, U b, U c) { return static_cast<U>((uint64_t{a} << 32 | b) >> (8 * (c & 3))); });
}

void AddWide(OpcodeTable* t) {
  AddLanes(t, "v_lshlrev_b64", [](U a, uint64_t b) { return b << (a & 63); });
  AddLanes(t, "v_lshrrev_b64", [](U a, uint64_t b) { return b >> (a & 63); });
  AddLanes(t, "v_ashrrev_i64", [](U a, int64_t b) { return b >> (a & 63); });
  AddLanes(t, "v_lshl_add_u64", [](uint64_t a, U b, uint64_t c) { return (a << (b & 7)) + c; });
}

// Results of 16 bits clear the register's upper half.
void AddShort(OpcodeTable* t) {
  using S = uint16_t;
  AddLanes(t, "v_add_u16", [](S a, S b) { return static_cast<S>(a + b); });
  AddLanes(t, "v_sub_u16", [](S a, S b) { return static_cast<S>(a - b); });
  AddLanes(t, "v_subrev_u16", [](S a, S b) { return static_cast<S>(b - a); });
  AddLanes(t, "v_mul_lo_u16", [](S a, S b) { return static_cast<S>(U{a} * b); });
  AddLanes(t, "v_lshlrev_b16", [](S a, S b) { return static_cast<S>(b << (a & 15)); });
  AddLanes(t, "v_lshrrev_b16", [](S a, S b) { return static_cast<S>(b >> (a & 15)); });
  AddLanes(t, "v_ashrrev_i16",
           [](S a, S b) { return static_cast<S>(static_cast<int16_t>(b) >> (a & 15)); });
  AddLanes(t, "v_max_u16", [](S a, S b) { return std::max(a, b); });
  AddLanes(t, "v_min_u16", [](S a, S b) { return std::min(a, b); });
  AddLanes(t, "v_max_i16", [](S a, S b) {
    return static_cast<S>(std::max(static_cast<int16_t>(a), static_cast<int16_t>(b)));
  });
  AddLanes(t, "v_min_i16", [](S a, S b) {
    return static_cast<S>(std::min(static_cast<int16_t>(a), static_cast<int16_t>(b)));
  });
}

}  // namespace

void AddVectorIntegers(OpcodeTable* table) {
  AddArithmetic(table);
  AddBits(table);
  AddWide(table);
  AddShort(table);
}

}  // namespace tessera::gfx942
