// Loads and stores of global memory, and flat ones, whose addresses may also be of LDS.
#include <cstring>

#include "device/gpu/gfx942/memory_access.h"
#include "device/gpu/gfx942/opcode_table.h"

namespace tessera::gfx942 {
namespace {

// For each lane that is on. Reading: calls f(lane, data of kBytes) with the bytes at its address.
// Writing: stores what f(lane, data of kBytes) fills in.
template <Direction kDirection, int kBytes, class F>
void AccessEach(Wave& wave, const Addresses& addresses, bool flat, const F& f) {
  constexpr bool kWrites = kDirection == Direction::kWrite;
  const auto each = [&](uint64_t lanes, const auto& copy) {
    ForActiveLanes(lanes, [&](int l) {
      uint32_t data[kBytes < 4 ? 1 : kBytes / 4] = {};
      if (kWrites) f(l, data);
      copy(addresses[static_cast<size_t>(l)], data);
      if (!kWrites) f(l, data);
    });
  };
  uint64_t in_lds = 0;
  if (flat) {
    ForActiveLanes(wave.exec(), [&](int l) {
      if (IsLds(addresses[static_cast<size_t>(l)])) in_lds |= uint64_t{1} << l;
    });
    each(in_lds, [&](uint64_t address, uint32_t* data) {
      AccessLds<kDirection, kBytes>(wave, address & 0xffffffff, data);
    });
  }
  const uint64_t global = wave.exec() & ~in_lds;
  CheckGlobal(wave, addresses, global, kBytes, kWrites);
  each(global, [&](uint64_t address, uint32_t* data) {
    if (kWrites) {
      std::memcpy(Pointer(address), data, kBytes);
    } else {
      std::memcpy(data, Pointer(address), kBytes);
    }
  });
}

template <int kBytes, class F>
void ReadEach(Wave& wave, const Addresses& addresses, bool flat, const F& f) {
  AccessEach<Direction::kRead, kBytes>(wave, addresses, flat, f);
}
template <int kBytes, class F>
void WriteEach(Wave& wave, const Addresses& addresses, bool flat, const F& f) {
  AccessEach<Direction::kWrite, kBytes>(wave, addresses, flat, f);
}

template <int kWords, bool kFlat>
void LoadWords(Wave& wave, const Instruction& i) {
  Addresses addresses;
  ComputeAddresses(wave, i, 1, kFlat ? -1 : 2, &addresses);
  uint32_t* const to = wave.v(i.operand[0].index);  // rows lie after each other
  ReadEach<4 * kWords>(wave, addresses, kFlat, [&](int l, const uint32_t* data) {
    for (int k = 0; k < kWords; ++k) to[k * kLanes + l] = data[k];
  });
}

template <int kWords, bool kFlat>
void StoreWords(Wave& wave, const Instruction& i) {
  Addresses addresses;
  ComputeAddresses(wave, i, 0, kFlat ? -1 : 2, &addresses);
  const uint32_t* const from = wave.v(i.operand[1].index);
  WriteEach<4 * kWords>(wave, addresses, kFlat, [&](int l, uint32_t* data) {
    for (int k = 0; k < kWords; ++k) data[k] = from[k * kLanes + l];
  });
}

enum class Place { kWhole, kLow, kHigh };

// Less than a register: extended, or put into one half of it.
template <class T, Place kPlace, bool kFlat>
void LoadPart(Wave& wave, const Instruction& i) {
  Addresses addresses;
  ComputeAddresses(wave, i, 1, kFlat ? -1 : 2, &addresses);
  uint32_t* const to = wave.v(i.operand[0].index);
  ReadEach<sizeof(T)>(wave, addresses, kFlat, [&](int l, const uint32_t* data) {
    T part;
    std::memcpy(&part, data, sizeof(T));
    const auto wide = static_cast<uint32_t>(static_cast<int32_t>(part));
    if (kPlace == Place::kWhole) to[l] = wide;
    if (kPlace == Place::kLow) to[l] = (to[l] & 0xffff0000u) | (wide & 0xffff);
    if (kPlace == Place::kHigh) to[l] = (to[l] & 0xffffu) | wide << 16;
  });
}

template <class T, int kShift, bool kFlat>
void StorePart(Wave& wave, const Instruction& i) {
  Addresses addresses;
  ComputeAddresses(wave, i, 0, kFlat ? -1 : 2, &addresses);
  const uint32_t* const from = wave.v(i.operand[1].index);
  WriteEach<sizeof(T)>(wave, addresses, kFlat,
                       [&](int l, uint32_t* data) { *data = from[l] >> kShift; });
}

// Straight to LDS: lane l's word goes to M0 + offset + 4 l.
void LoadToLds(Wave& wave, const Instruction& i) {
  Addresses addresses;
  ComputeAddresses(wave, i, 0, 1, &addresses);
  const uint64_t start = (wave.s[kM0] & 0xffff) + static_cast<uint64_t>(int64_t{i.offset});
  ReadEach<4>(wave, addresses, false, [&](int l, const uint32_t* data) {
    WriteLds<4>(wave, start + 4 * static_cast<uint64_t>(l), data);
  });
}

template <bool kFlat>
void AddAll(OpcodeTable* table) {
  const std::string space = kFlat ? "flat_" : "global_";
  const uint32_t modifiers = kModifierOffset | kModifierCache;
  const OperandType base{Role::kBase, 2};
  // A flat address is always two registers.
  const OperandType address =
      kFlat ? OperandType{Role::kVector, 2} : OperandType{Role::kAddress, 2};
  const auto load = [&](const char* name, Function run, uint8_t words) {
    std::vector<OperandType> operands = {{Role::kVector, words}, address};
    if (!kFlat) operands.push_back(base);
    table->Add(space + name, run, operands, modifiers);
  };
  const auto store = [&](const char* name, Function run, uint8_t words) {
    std::vector<OperandType> operands = {address, {Role::kVector, words}};
    if (!kFlat) operands.push_back(base);
    table->Add(space + name, run, operands, modifiers);
  };
  load("load_dword", LoadWords<1, kFlat>, 1);
  load("load_dwordx2", LoadWords<2, kFlat>, 2);
  load("load_dwordx3", LoadWords<3, kFlat>, 3);
  load("load_dwordx4", LoadWords<4, kFlat>, 4);
  load("load_ubyte", LoadPart<uint8_t, Place::kWhole, kFlat>, 1);
  load("load_sbyte", LoadPart<int8_t, Place::kWhole, kFlat>, 1);
  load("load_ushort", LoadPart<uint16_t, Place::kWhole, kFlat>, 1);
  load("load_sshort", LoadPart<int16_t, Place::kWhole, kFlat>, 1);
  load("load_ubyte_d16", LoadPart<uint8_t, Place::kLow, kFlat>, 1);
  load("load_ubyte_d16_hi", LoadPart<uint8_t, Place::kHigh, kFlat>, 1);
  load("load_sbyte_d16", LoadPart<int8_t, Place::kLow, kFlat>, 1);
  load("load_sbyte_d16_hi", LoadPart<int8_t, Place::kHigh, kFlat>, 1);
  load("load_short_d16", LoadPart<uint16_t, Place::kLow, kFlat>, 1);
  load("load_short_d16_hi", LoadPart<uint16_t, Place::kHigh, kFlat>, 1);
  store("store_dword", StoreWords<1, kFlat>, 1);
  store("store_dwordx2", StoreWords<2, kFlat>, 2);
  store("store_dwordx3", StoreWords<3, kFlat>, 3);
  store("store_dwordx4", StoreWords<4, kFlat>, 4);
  store("store_byte", StorePart<uint8_t, 0, kFlat>, 1);
  store("store_byte_d16_hi", StorePart<uint8_t, 16, kFlat>, 1);
  store("store_short", StorePart<uint16_t, 0, kFlat>, 1);
  store("store_short_d16_hi", StorePart<uint16_t, 16, kFlat>, 1);
}

}  // namespace

void AddGlobalMemory(OpcodeTable* table) {
  AddAll<false>(table);
  AddAll<true>(table);
  table->Add("global_load_lds_dword", LoadToLds, {{Role::kAddress, 2}, {Role::kBase, 2}},
             kModifierOffset | kModifierCache);
}

}  // namespace tessera::gfx942
