#include "device/gpu/gfx942/vector_lanes.h"

#include <algorithm>
#include <cmath>

namespace tessera::gfx942 {
namespace {

uint32_t Select(uint32_t value, uint8_t select, bool sign_extend) {
  if (select == 6) return value;
  if (select < 4) {
    const uint32_t byte = value >> (8 * select) & 0xff;
    return sign_extend ? static_cast<uint32_t>(static_cast<int8_t>(byte)) : byte;
  }
  const uint32_t half = value >> (16 * (select - 4)) & 0xffff;
  return sign_extend ? static_cast<uint32_t>(static_cast<int16_t>(half)) : half;
}

}  // namespace

int ExchangeSource(const Instruction& i, int lane) {
  const int row = lane & ~15, in = lane & 15, n = i.exchange_value;
  switch (i.exchange) {
    case Exchange::kNone:
      return lane;
    case Exchange::kQuad:
      return (lane & ~3) | (n >> (2 * (lane & 3)) & 3);
    case Exchange::kShiftLeft:
      return in + n < 16 ? lane + n : -1;
    case Exchange::kShiftRight:
      return in >= n ? lane - n : -1;
    case Exchange::kRotateRight:
      return row + ((in - n) & 15);
    case Exchange::kMirror:
      return row + 15 - in;
    case Exchange::kHalfMirror:
      return (lane & ~7) | (7 - (lane & 7));
    case Exchange::kBroadcastWithinRow:
      return row + n;
  }
  return -1;
}

uint64_t WrittenLanes(const Wave& wave, const Instruction& i) {
  const uint64_t exec = wave.exec();
  if (i.exchange == Exchange::kNone) return exec;
  uint64_t lanes = 0;
  for (int l = 0; l < kLanes; ++l) {
    if ((i.row_mask >> (l / 16) & 1) == 0 || (i.bank_mask >> (l % 16 / 4) & 1) == 0) continue;
    const int from = ExchangeSource(i, l);
    const bool valid = from >= 0 && (exec >> from & 1) != 0;
    if (valid || i.bound_control) lanes |= uint64_t{1} << l;
  }
  return lanes & exec;
}

void ReadModified(const Wave& wave, const Instruction& i, int k, int part, int bits,
                  uint32_t* values) {
  const Operand& o = i.operand[static_cast<size_t>(k)];
  const uint64_t exec = wave.exec();
  for (int l = 0; l < kLanes; ++l) {
    uint32_t value = 0;
    if (o.kind == OperandKind::kVector) {
      const int from = k == 1 ? ExchangeSource(i, l) : l;
      const bool valid =
          i.exchange == Exchange::kNone || k != 1 || (from >= 0 && (exec >> from & 1) != 0);
      value = valid ? wave.v(o.index + part)[from] : 0;
    } else if (o.kind == OperandKind::kScalar) {
      value = wave.s[static_cast<size_t>(o.index + part)];
    } else {
      value = static_cast<uint32_t>(o.bits >> (32 * part));
    }
    value = Select(value, o.select, o.sign_extend);
    if (bits == 16 && k > 0 && (i.half >> (k - 1) & 1) != 0) value >>= 16;
    if (bits != 64 || part == 1) {
      const uint32_t sign = bits == 16 ? 0x8000u : 0x80000000u;
      if (o.absolute) value &= ~sign;
      if (o.negative) value ^= sign;
    }
    values[l] = value;
  }
}

void StoreModified(Wave* wave, const Instruction& i, const uint32_t* values, bool is_float,
                   int bits, uint64_t lanes) {
  uint32_t* const to = wave->v(i.operand[0].index);
  ForActiveLanes(lanes, [&](int l) {
    uint32_t value = values[l];
    if (is_float && (i.clamp || i.factor != 1.0f)) {
      float f = std::bit_cast<float>(value) * i.factor;
      if (i.clamp) f = f > 0.0f ? std::min(f, 1.0f) : 0.0f;  // NaN becomes 0
      value = std::bit_cast<uint32_t>(f);
    }
    if (i.destination_select == 6) {
      to[l] = bits == 16 ? value & 0xffffu : value;
      return;
    }
    const bool byte = i.destination_select < 4;
    const int shift = byte ? 8 * i.destination_select : 16 * (i.destination_select - 4);
    const uint32_t mask = byte ? 0xffu : 0xffffu;
    if (i.destination_unused == 2) {
      to[l] = (to[l] & ~(mask << shift)) | (value & mask) << shift;
    } else {
      uint32_t wide = value & mask;
      if (i.destination_unused == 1) {
        wide = byte ? static_cast<uint32_t>(static_cast<int8_t>(wide))
                    : static_cast<uint32_t>(static_cast<int16_t>(wide));
      }
      to[l] = wide << shift;
    }
  });
}

}  // namespace tessera::gfx942
