// Global memory as instructions reach it: only where the launch may.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "device/gpu/gfx942/instruction.h"

namespace tessera::gfx942 {

using Addresses = std::array<uint64_t, kLanes>;

inline uint8_t* Pointer(uint64_t address) {
  return reinterpret_cast<uint8_t*>(static_cast<uintptr_t>(address));
}

// "0x7f00".
std::string Hexadecimal(uint64_t address);

// Fail (throw a Fault) if an access leaves the memory that the launch may use.
void CheckGlobal(Wave& wave, uint64_t address, int bytes, bool write);
void CheckGlobal(Wave& wave, const Addresses& addresses, uint64_t lanes, int bytes, bool write);

// The addresses of operands `address` and `base` (which may be "off"); without a base if that is
// -1.
void ComputeAddresses(const Wave& wave, const Instruction& instruction, int address, int base,
                      Addresses* addresses);

// Fail with what Lds::Explain() says.
[[noreturn]] void ThrowLdsFault(const Wave& wave, uint64_t address, int bytes, bool write);

// Lanes of a flat instruction whose addresses are LDS.
inline bool IsLds(uint64_t address) { return address >> 48 == kLdsAperture >> 48; }

enum class Direction { kRead, kWrite };

// Copies kBytes between LDS and `data`. 12 bytes are an access of 8 and one of 4.
template <Direction kDirection, int kBytes, class Data>
void AccessLds(Wave& wave, uint64_t address, Data* data) {
  if constexpr (kBytes == 12) {
    AccessLds<kDirection, 8>(wave, address, data);
    AccessLds<kDirection, 4>(wave, address + 8, data + 2);
  } else {
    constexpr int kAlignment = kBytes < 4 ? kBytes : 4;
    if (address % kAlignment != 0) throw Fault{"an access to LDS that is not aligned"};
    bool done = false;
    if constexpr (kDirection == Direction::kRead) {
      done = wave.group->lds.Read<kBytes>(address, wave.id, data);
    } else {
      done = wave.group->lds.Write<kBytes>(address, wave.id, data);
    }
    if (!done) ThrowLdsFault(wave, address, kBytes, kDirection == Direction::kWrite);
  }
}
template <int kBytes, class Data>
void ReadLds(Wave& wave, uint64_t address, Data* to) {
  AccessLds<Direction::kRead, kBytes>(wave, address, to);
}
template <int kBytes, class Data>
void WriteLds(Wave& wave, uint64_t address, const Data* from) {
  AccessLds<Direction::kWrite, kBytes>(wave, address, from);
}

}  // namespace tessera::gfx942
