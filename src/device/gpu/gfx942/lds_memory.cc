// Loads and stores of LDS.
#include <cstring>

#include "device/gpu/gfx942/memory_access.h"
#include "device/gpu/gfx942/opcode_table.h"

namespace tessera::gfx942 {
namespace {

uint64_t Address(const Wave& wave, const Operand& address, int lane, int64_t offset) {
  return static_cast<uint64_t>(wave.v(address.index)[lane] + offset);
}

template <int kWords>
void Read(Wave& wave, const Instruction& i) {
  uint32_t* const to = wave.v(i.operand[0].index);
  ForActiveLanes(wave.exec(), [&](int l) {
    uint32_t data[kWords];
    ReadLds<4 * kWords>(wave, Address(wave, i.operand[1], l, i.offset), data);
    for (int k = 0; k < kWords; ++k) to[k * kLanes + l] = data[k];
  });
}

template <int kWords>
void Write(Wave& wave, const Instruction& i) {
  const uint32_t* const from = wave.v(i.operand[1].index);
  ForActiveLanes(wave.exec(), [&](int l) {
    uint32_t data[kWords];
    for (int k = 0; k < kWords; ++k) data[k] = from[k * kLanes + l];
    WriteLds<4 * kWords>(wave, Address(wave, i.operand[0], l, i.offset), data);
  });
}

// Two places; offsets count units of kUnit bytes.
template <int kWords, int kUnit>
void ReadTwo(Wave& wave, const Instruction& i) {
  uint32_t* const to = wave.v(i.operand[0].index);
  ForActiveLanes(wave.exec(), [&](int l) {
    uint32_t data[2 * kWords];
    ReadLds<4 * kWords>(wave, Address(wave, i.operand[1], l, int64_t{i.offset0} * kUnit), data);
    ReadLds<4 * kWords>(wave, Address(wave, i.operand[1], l, int64_t{i.offset1} * kUnit),
                        data + kWords);
    for (int k = 0; k < 2 * kWords; ++k) to[k * kLanes + l] = data[k];
  });
}

template <int kWords, int kUnit>
void WriteTwo(Wave& wave, const Instruction& i) {
  ForActiveLanes(wave.exec(), [&](int l) {
    for (int two = 0; two < 2; ++two) {
      const uint32_t* const from = wave.v(i.operand[static_cast<size_t>(1 + two)].index);
      uint32_t data[kWords];
      for (int k = 0; k < kWords; ++k) data[k] = from[k * kLanes + l];
      const int64_t offset = int64_t{two == 0 ? i.offset0 : i.offset1} * kUnit;
      WriteLds<4 * kWords>(wave, Address(wave, i.operand[0], l, offset), data);
    }
  });
}

enum class Place { kWhole, kLow, kHigh };

template <class T, Place kPlace>
void ReadPart(Wave& wave, const Instruction& i) {
  uint32_t* const to = wave.v(i.operand[0].index);
  ForActiveLanes(wave.exec(), [&](int l) {
    T part;
    ReadLds<sizeof(T)>(wave, Address(wave, i.operand[1], l, i.offset), &part);
    const auto wide = static_cast<uint32_t>(static_cast<int32_t>(part));
    if (kPlace == Place::kWhole) to[l] = wide;
    if (kPlace == Place::kLow) to[l] = (to[l] & 0xffff0000u) | (wide & 0xffff);
    if (kPlace == Place::kHigh) to[l] = (to[l] & 0xffffu) | wide << 16;
  });
}

template <class T, int kShift>
void WritePart(Wave& wave, const Instruction& i) {
  const uint32_t* const from = wave.v(i.operand[1].index);
  ForActiveLanes(wave.exec(), [&](int l) {
    const auto part = static_cast<T>(from[l] >> kShift);
    WriteLds<sizeof(T)>(wave, Address(wave, i.operand[0], l, i.offset), &part);
  });
}

}  // namespace

void AddLdsMemory(OpcodeTable* table) {
  const OperandType address{Role::kVector, 1};
  const auto read = [&](const char* name, Function run, uint8_t words,
                        uint32_t modifiers = kModifierOffset) {
    table->Add(name, run, {{Role::kVector, words}, address}, modifiers);
  };
  const auto write = [&](const char* name, Function run, uint8_t words) {
    table->Add(name, run, {address, {Role::kVector, words}}, kModifierOffset);
  };
  const auto write_two = [&](const char* name, Function run, uint8_t words) {
    const OperandType data{Role::kVector, words};
    table->Add(name, run, {address, data, data}, kModifierTwoOffsets);
  };
  read("ds_read_b32", Read<1>, 1);
  read("ds_read_b64", Read<2>, 2);
  read("ds_read_b96", Read<3>, 3);
  read("ds_read_b128", Read<4>, 4);
  read("ds_read2_b32", ReadTwo<1, 4>, 2, kModifierTwoOffsets);
  read("ds_read2_b64", ReadTwo<2, 8>, 4, kModifierTwoOffsets);
  read("ds_read2st64_b32", ReadTwo<1, 256>, 2, kModifierTwoOffsets);
  read("ds_read2st64_b64", ReadTwo<2, 512>, 4, kModifierTwoOffsets);
  read("ds_read_u8", ReadPart<uint8_t, Place::kWhole>, 1);
  read("ds_read_i8", ReadPart<int8_t, Place::kWhole>, 1);
  read("ds_read_u16", ReadPart<uint16_t, Place::kWhole>, 1);
  read("ds_read_i16", ReadPart<int16_t, Place::kWhole>, 1);
  read("ds_read_u8_d16", ReadPart<uint8_t, Place::kLow>, 1);
  read("ds_read_u8_d16_hi", ReadPart<uint8_t, Place::kHigh>, 1);
  read("ds_read_u16_d16", ReadPart<uint16_t, Place::kLow>, 1);
  read("ds_read_u16_d16_hi", ReadPart<uint16_t, Place::kHigh>, 1);
  write("ds_write_b8", WritePart<uint8_t, 0>, 1);
  write("ds_write_b8_d16_hi", WritePart<uint8_t, 16>, 1);
  write("ds_write_b16", WritePart<uint16_t, 0>, 1);
  write("ds_write_b16_d16_hi", WritePart<uint16_t, 16>, 1);
  write("ds_write_b32", Write<1>, 1);
  write("ds_write_b64", Write<2>, 2);
  write("ds_write_b96", Write<3>, 3);
  write("ds_write_b128", Write<4>, 4);
  write_two("ds_write2_b32", WriteTwo<1, 4>, 1);
  write_two("ds_write2_b64", WriteTwo<2, 8>, 2);
  write_two("ds_write2st64_b32", WriteTwo<1, 256>, 1);
  write_two("ds_write2st64_b64", WriteTwo<2, 512>, 2);
}

}  // namespace tessera::gfx942
