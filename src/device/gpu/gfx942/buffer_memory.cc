// Raw buffers, described by four scalar registers: what is outside reads as 0 and is not written.
#include <cstring>

#include "device/gpu/gfx942/memory_access.h"
#include "device/gpu/gfx942/opcode_table.h"

namespace tessera::gfx942 {
namespace {

struct RawBuffer {
  uint64_t base = 0;  // the scalar offset included
  uint64_t scalar_offset = 0;
  uint64_t records = 0;  // bytes

  // Whether `bytes` at `offset` of the lane are inside. The scalar offset counts.
  bool Holds(uint64_t offset, uint64_t bytes) const {
    return offset + scalar_offset + bytes <= records;
  }
};

RawBuffer Describe(const Wave& wave, const Operand& descriptor, const Operand& scalar_offset) {
  const size_t s = descriptor.index;
  const uint32_t high = wave.s[s + 1];
  if (high >> 16 != 0) throw Fault{"a buffer with a stride or swizzling, not a raw one"};
  const uint32_t offset = Scalar(wave, scalar_offset);
  return {(wave.s[s] | uint64_t{high & 0xffff} << 32) + offset, offset, wave.s[s + 2]};
}

uint64_t LaneOffset(const Wave& wave, const Instruction& i, const Operand& offset, int lane) {
  return (i.offset_enabled ? wave.v(offset.index)[lane] : 0) + static_cast<uint64_t>(i.offset);
}

// Operands: data, offset, descriptor, scalar offset.
template <int kWords>
void Load(Wave& wave, const Instruction& i) {
  const RawBuffer buffer = Describe(wave, i.operand[2], i.operand[3]);
  uint64_t offsets[kLanes];
  for (int l = 0; l < kLanes; ++l) offsets[l] = LaneOffset(wave, i, i.operand[1], l);
  ForActiveLanes(wave.exec(), [&](int l) {
    for (int k = 0; k < kWords; ++k) {
      const uint64_t offset = offsets[l] + 4 * static_cast<uint64_t>(k);
      uint32_t word = 0;
      if (buffer.Holds(offset, 4)) {
        CheckGlobal(wave, buffer.base + offset, 4, false);
        std::memcpy(&word, Pointer(buffer.base + offset), 4);
      }
      wave.v(i.operand[0].index + k)[l] = word;
    }
  });
}

template <int kWords>
void Store(Wave& wave, const Instruction& i) {
  const RawBuffer buffer = Describe(wave, i.operand[2], i.operand[3]);
  ForActiveLanes(wave.exec(), [&](int l) {
    for (int k = 0; k < kWords; ++k) {
      const uint64_t offset = LaneOffset(wave, i, i.operand[1], l) + 4 * static_cast<uint64_t>(k);
      if (!buffer.Holds(offset, 4)) continue;
      CheckGlobal(wave, buffer.base + offset, 4, true);
      std::memcpy(Pointer(buffer.base + offset), &wave.v(i.operand[0].index + k)[l], 4);
    }
  });
}

template <class T>
void LoadPart(Wave& wave, const Instruction& i) {
  const RawBuffer buffer = Describe(wave, i.operand[2], i.operand[3]);
  ForActiveLanes(wave.exec(), [&](int l) {
    const uint64_t offset = LaneOffset(wave, i, i.operand[1], l);
    T part = 0;
    if (buffer.Holds(offset, sizeof(T))) {
      CheckGlobal(wave, buffer.base + offset, sizeof(T), false);
      std::memcpy(&part, Pointer(buffer.base + offset), sizeof(T));
    }
    wave.v(i.operand[0].index)[l] = static_cast<uint32_t>(static_cast<int32_t>(part));
  });
}

template <class T>
void StorePart(Wave& wave, const Instruction& i) {
  const RawBuffer buffer = Describe(wave, i.operand[2], i.operand[3]);
  ForActiveLanes(wave.exec(), [&](int l) {
    const uint64_t offset = LaneOffset(wave, i, i.operand[1], l);
    if (!buffer.Holds(offset, sizeof(T))) return;
    CheckGlobal(wave, buffer.base + offset, sizeof(T), true);
    std::memcpy(Pointer(buffer.base + offset), &wave.v(i.operand[0].index)[l], sizeof(T));
  });
}

// Operands: offset, descriptor, scalar offset. Lane l's word goes to LDS at M0 + offset + 4 l.
void LoadToLds(Wave& wave, const Instruction& i) {
  const RawBuffer buffer = Describe(wave, i.operand[1], i.operand[2]);
  const uint64_t start = (wave.s[kM0] & 0xffff) + static_cast<uint64_t>(i.offset);
  ForActiveLanes(wave.exec(), [&](int l) {
    const uint64_t offset = LaneOffset(wave, i, i.operand[0], l);
    uint32_t word = 0;
    if (buffer.Holds(offset, 4)) {
      CheckGlobal(wave, buffer.base + offset, 4, false);
      std::memcpy(&word, Pointer(buffer.base + offset), 4);
    }
    WriteLds<4>(wave, start + 4 * static_cast<uint64_t>(l), &word);
  });
}

}  // namespace

void AddBufferMemory(OpcodeTable* table) {
  const uint32_t modifiers = kModifierOffset | kModifierOffsetEnabled | kModifierCache;
  // One register, or "off" without offen.
  const OperandType offset{Role::kAddress, 1}, descriptor{Role::kScalar, 4};
  const OperandType scalar_offset{Role::kScalarSource, 1};
  const auto add = [&](const char* name, Function run, uint8_t words) {
    table->Add(name, run, {{Role::kVector, words}, offset, descriptor, scalar_offset}, modifiers);
  };
  add("buffer_load_dword", Load<1>, 1);
  add("buffer_load_dwordx2", Load<2>, 2);
  add("buffer_load_dwordx3", Load<3>, 3);
  add("buffer_load_dwordx4", Load<4>, 4);
  add("buffer_load_ubyte", LoadPart<uint8_t>, 1);
  add("buffer_load_sbyte", LoadPart<int8_t>, 1);
  add("buffer_load_ushort", LoadPart<uint16_t>, 1);
  add("buffer_load_sshort", LoadPart<int16_t>, 1);
  add("buffer_store_dword", Store<1>, 1);
  add("buffer_store_dwordx2", Store<2>, 2);
  add("buffer_store_dwordx3", Store<3>, 3);
  add("buffer_store_dwordx4", Store<4>, 4);
  add("buffer_store_byte", StorePart<uint8_t>, 1);
  add("buffer_store_short", StorePart<uint16_t>, 1);
  table->Add("buffer_load_dword lds", LoadToLds, {offset, descriptor, scalar_offset},
             modifiers | kModifierToLds);
}

}  // namespace tessera::gfx942
