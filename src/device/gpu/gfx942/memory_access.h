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

template <int kBytes>
void ReadLds(Wave& wave, uint64_t address, void* to) {
  constexpr int kAlignment = kBytes < 4 ? kBytes : 4;
  if (address % kAlignment != 0) throw Fault{"an access to LDS that is not aligned"};
  if (!wave.group->lds.Read<kBytes>(address, wave.id, to)) {
    ThrowLdsFault(wave, address, kBytes, false);
  }
}
template <int kBytes>
void WriteLds(Wave& wave, uint64_t address, const void* from) {
  constexpr int kAlignment = kBytes < 4 ? kBytes : 4;
  if (address % kAlignment != 0) throw Fault{"an access to LDS that is not aligned"};
  if (!wave.group->lds.Write<kBytes>(address, wave.id, from)) {
    ThrowLdsFault(wave, address, kBytes, true);
  }
}

}  // namespace tessera::gfx942
