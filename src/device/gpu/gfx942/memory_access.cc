#include "device/gpu/gfx942/memory_access.h"

#include <algorithm>
#include <charconv>

namespace tessera::gfx942 {

std::string Hexadecimal(uint64_t address) {
  char text[20] = "0x";
  const auto end = std::to_chars(text + 2, text + sizeof(text), address, 16).ptr;
  return {text, end};
}

void CheckGlobal(Wave& wave, uint64_t address, int bytes, bool write) {
  if (wave.group->memory->Allows(address, address + static_cast<uint64_t>(bytes), write)) return;
  throw Fault{std::string(write ? "a write of " : "a read of ") + std::to_string(bytes) +
              " bytes at " + Hexadecimal(address) +
              ", outside of every buffer of the device that allows it"};
}

void CheckGlobal(Wave& wave, const Addresses& addresses, uint64_t lanes, int bytes, bool write) {
  if (lanes == 0) return;
  uint64_t low = ~uint64_t{0}, high = 0;
  for (int l = 0; l < kLanes; ++l) {
    const bool on = (lanes >> l & 1) != 0;
    low = std::min(low, on ? addresses[static_cast<size_t>(l)] : ~uint64_t{0});
    high = std::max(high, on ? addresses[static_cast<size_t>(l)] : 0);
  }
  if (wave.group->memory->Allows(low, high + static_cast<uint64_t>(bytes), write)) return;
  ForActiveLanes(
      lanes, [&](int l) { CheckGlobal(wave, addresses[static_cast<size_t>(l)], bytes, write); });
}

void ComputeAddresses(const Wave& wave, const Instruction& i, int address, int base,
                      Addresses* addresses) {
  const Operand& a = i.operand[static_cast<size_t>(address)];
  const auto offset = static_cast<uint64_t>(int64_t{i.offset});
  const bool based = base >= 0 && i.operand[static_cast<size_t>(base)].kind == OperandKind::kScalar;
  const uint64_t start =
      offset + (based ? Scalar64(wave, i.operand[static_cast<size_t>(base)]) : 0);
  if (a.kind == OperandKind::kNone) {
    addresses->fill(start);
    return;
  }
  const uint32_t* const low = wave.v(a.index);
  if (based) {
    for (size_t l = 0; l < kLanes; ++l) (*addresses)[l] = start + low[l];
    return;
  }
  const uint32_t* const high = wave.v(a.index + 1);
  for (size_t l = 0; l < kLanes; ++l) {
    (*addresses)[l] = start + (low[l] | uint64_t{high[l]} << 32);
  }
}

void ThrowLdsFault(const Wave& wave, uint64_t address, int bytes, bool write) {
  throw Fault{std::string(wave.group->lds.Explain(address, bytes, wave.id, write)) + ", at byte " +
              std::to_string(address) + " of " + std::to_string(wave.group->lds.size())};
}

}  // namespace tessera::gfx942
