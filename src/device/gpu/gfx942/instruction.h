// One instruction of gfx942, decoded: the function that executes it, and operands that need no look
// at the text any more. A Wave is what it works on.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "device/gpu/gfx942/address_map.h"
#include "device/gpu/gfx942/lds.h"

namespace tessera::gfx942 {

constexpr int kLanes = 64;
constexpr int kAccumulators = 256;  // the row of a0
// Registers of the scalar file that have names.
constexpr int kVcc = 106, kM0 = 124, kExec = 126;
// What flat instructions take for addresses of LDS: no address of a host begins so.
constexpr uint64_t kLdsAperture = uint64_t{2} << 48;

enum class OperandKind : uint8_t { kNone, kScalar, kVector, kConstant };

struct Operand {
  OperandKind kind = OperandKind::kNone;  // kNone: "off"
  uint8_t width = 1;                      // registers
  uint16_t index = 0;                     // of the scalar file, or a row of vectors
  uint64_t bits = 0;                      // of a constant, in the type that is read
  bool negative = false;
  bool absolute = false;
  bool sign_extend = false;
  uint8_t select = 6;  // 0 to 3: a byte, 4 and 5: a half, 6: all of it

  bool modified() const { return negative || absolute || sign_extend || select != 6; }
};

// How the lanes of the first source are exchanged.
enum class Exchange : uint8_t {
  kNone,
  kQuad,  // `exchange_value` has two bits for each lane of four
  kShiftLeft,
  kShiftRight,
  kRotateRight,
  kMirror,
  kHalfMirror,
  kBroadcastWithinRow,
};

struct Instruction;
struct Wave;
using Function = void (*)(Wave& wave, const Instruction& instruction);

struct Instruction {
  Function run = nullptr;
  std::array<Operand, 6> operand = {};
  uint8_t count = 0;   // of operands
  bool plain = true;   // no source is modified, nothing is exchanged or selected
  int32_t target = 0;  // of a branch: an index into the kernel's instructions
  uint64_t address = 0;

  int32_t offset = 0;
  uint8_t offset0 = 0, offset1 = 0;
  bool offset_enabled = false;  // offen
  bool to_lds = false;
  bool returns = false;  // an atomic's sc0
  uint8_t half =
      0;  // op_sel: a bit for each operand; of most instructions the destination's follows
  uint8_t half_high = 7;
  uint8_t negative_low = 0, negative_high = 0;
  bool clamp = false;
  float factor = 1.0f;  // mul:2, mul:4, div:2
  uint8_t destination_select = 6;
  uint8_t destination_unused = 0;  // 0: zero, 1: sign, 2: kept
  Exchange exchange = Exchange::kNone;
  uint8_t exchange_value = 0;
  bool bound_control = false;
  uint8_t row_mask = 15, bank_mask = 15;
};

// Ends a launch.
struct Fault {
  std::string message;
};

using Row = std::array<uint32_t, kLanes>;

struct alignas(64) Rows {
  Row row[512];
};

enum class WaveState : uint8_t { kRunning, kAtBarrier, kEnded };

// What the waves of a workgroup share.
struct Workgroup {
  Lds lds;
  AddressMap* memory = nullptr;
  uint64_t code_base = 0;  // where the code object lies, for constants in it
  int waves = 1;
};

struct Wave {
  std::unique_ptr<Rows> rows = std::make_unique<Rows>();
  std::array<uint32_t, 128> s = {};
  bool scc = false;
  WaveState state = WaveState::kRunning;
  int32_t next = 0;  // the instruction after this one
  int id = 0;
  uint64_t count = 0;  // of instructions that were executed
  Workgroup* group = nullptr;

  uint32_t* v(int index) { return rows->row[index].data(); }
  const uint32_t* v(int index) const { return rows->row[index].data(); }
  uint64_t Scalar64(int index) const {
    return s[static_cast<size_t>(index)] | uint64_t{s[static_cast<size_t>(index) + 1]} << 32;
  }
  void SetScalar64(int index, uint64_t value) {
    s[static_cast<size_t>(index)] = static_cast<uint32_t>(value);
    s[static_cast<size_t>(index) + 1] = static_cast<uint32_t>(value >> 32);
  }
  uint64_t exec() const { return Scalar64(kExec); }
  uint64_t vcc() const { return Scalar64(kVcc); }
};

// The value of a scalar operand.
inline uint32_t Scalar(const Wave& wave, const Operand& operand) {
  return operand.kind == OperandKind::kScalar ? wave.s[operand.index]
                                              : static_cast<uint32_t>(operand.bits);
}
inline uint64_t Scalar64(const Wave& wave, const Operand& operand) {
  return operand.kind == OperandKind::kScalar ? wave.Scalar64(operand.index) : operand.bits;
}

template <class F>
void ForActiveLanes(uint64_t mask, const F& f) {
  for (; mask != 0; mask &= mask - 1) f(__builtin_ctzll(mask));
}

}  // namespace tessera::gfx942
