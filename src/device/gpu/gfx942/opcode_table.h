// Which instructions there are: their operands' types, which modifiers they know, what they do.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "device/gpu/gfx942/instruction.h"
#include "device/gpu/gfx942/listing.h"
#include "tessera/result.h"

namespace tessera::gfx942 {

// What a constant means.
enum class Number : uint8_t { kBits16, kFloat16, kBits32, kFloat32, kBits64, kFloat64 };

enum class Role : uint8_t {
  kVector,        // a vector register, to read or to write
  kScalar,        // a scalar register
  kSource,        // either, or a constant
  kScalarSource,  // a scalar register or a constant
  kConstant,
  kAddress,  // vector registers: two of them if a scalar base is "off", else one; or "off"
  kBase,     // scalar registers or "off"
};

struct OperandType {
  Role role = Role::kSource;
  uint8_t width = 1;  // registers
  Number number = Number::kBits32;
};

struct Opcode {
  Function run = nullptr;
  std::vector<OperandType> operands;
  uint32_t modifiers = 0;  // those that it knows
};

class OpcodeTable {
 public:
  void Add(std::string_view name, Function run, std::vector<OperandType> operands,
           uint32_t modifiers = 0);
  void Alias(std::string_view name, std::string_view existing);
  const Opcode* Find(std::string_view name) const;
  // All names, in no order.
  std::vector<std::string> Names() const;

 private:
  std::unordered_map<std::string, Opcode> opcodes_;
};

const OpcodeTable& Opcodes();

// Fails if there is no such instruction, or if it has operands or modifiers that it does not know
// here: nothing is ignored.
Result<Instruction> Decode(const ParsedLine& line);

// The families.
void AddScalarInstructions(OpcodeTable* table);
void AddScalarControl(OpcodeTable* table);
void AddVectorIntegers(OpcodeTable* table);
void AddVectorFloats(OpcodeTable* table);
void AddVectorConversions(OpcodeTable* table);
void AddVectorComparisons(OpcodeTable* table);
void AddVectorCarries(OpcodeTable* table);
void AddVectorDivision(OpcodeTable* table);
void AddVectorPacked(OpcodeTable* table);
void AddLaneExchanges(OpcodeTable* table);
void AddMatrixInstructions(OpcodeTable* table);
void AddGlobalMemory(OpcodeTable* table);
void AddBufferMemory(OpcodeTable* table);
void AddAtomics(OpcodeTable* table);
void AddLdsMemory(OpcodeTable* table);

}  // namespace tessera::gfx942
