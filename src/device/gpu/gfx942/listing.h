// The text that llvm-objdump makes of a code object, line by line.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "device/gpu/gfx942/instruction.h"
#include "tessera/result.h"

namespace tessera::gfx942 {

// A constant as it is written; what it is depends on the type that an instruction reads.
struct Constant {
  bool decimal_point = false;
  bool hexadecimal = false;
  double number = 0;
  int64_t integer = 0;
};

struct ParsedOperand {
  Operand operand;
  Constant constant;  // of kConstant
};

// What is written beside the operands. kPlain are those that change nothing here.
enum Modifier : uint32_t {
  kModifierSelect = 1u << 0,        // dst_sel, dst_unused, src0_sel, src1_sel, sext()
  kModifierExchange = 1u << 1,      // DPP
  kModifierHalf = 1u << 2,          // op_sel
  kModifierHalfHigh = 1u << 3,      // op_sel_hi
  kModifierNegativeHalf = 1u << 4,  // neg_lo, neg_hi
  kModifierSign = 1u << 5,          // -x, |x|
  kModifierClamp = 1u << 6,
  kModifierFactor = 1u << 7,
  kModifierOffset = 1u << 8,
  kModifierTwoOffsets = 1u << 9,
  kModifierOffsetEnabled = 1u << 10,
  kModifierToLds = 1u << 11,
  kModifierCache = 1u << 12,    // sc0, sc1, nt: which caches are passed by
  kModifierCounter = 1u << 13,  // vmcnt(0) and the like
};

struct ParsedLine {
  std::string_view text;  // without address and encoding
  std::string_view name;  // without _e32, _e64, _sdwa, _dpp
  std::vector<ParsedOperand> operands;
  uint32_t modifiers = 0;   // of Modifier
  Instruction instruction;  // its modifiers' values; no function, no operands yet
  uint64_t address = 0;
  std::string_view target;  // of a branch: "norm+0x148"
};

// Fails with a sentence that names the line if anything in it is not understood.
// `line` may have a comment "// ADDRESS: ENCODING <TARGET>" at its end.
Result<ParsedLine> ParseInstruction(std::string_view line);

// A line's address; false if the line is no instruction.
bool AddressOf(std::string_view line, uint64_t* address);

}  // namespace tessera::gfx942
