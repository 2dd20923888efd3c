#include "device/gpu/gfx942/opcode_table.h"

#include <bit>

#include "tessera/dtype.h"

namespace tessera::gfx942 {
namespace {

uint64_t BitsOf(const Constant& c, Number number) {
  if (c.decimal_point) {
    switch (number) {
      case Number::kBits16:
      case Number::kFloat16:
        return FloatToFloat16(static_cast<float>(c.number));
      case Number::kBits32:
      case Number::kFloat32:
        return std::bit_cast<uint32_t>(static_cast<float>(c.number));
      case Number::kBits64:
      case Number::kFloat64:
        return std::bit_cast<uint64_t>(c.number);
    }
  }
  const auto bits = static_cast<uint64_t>(c.integer);
  switch (number) {
    case Number::kBits16:
    case Number::kFloat16:
    case Number::kBits32:
    case Number::kFloat32:
      return static_cast<uint32_t>(bits);
    case Number::kBits64:
      return bits;
    case Number::kFloat64:
      // 32 bits in the code are the upper half of a number of 64.
      return c.hexadecimal ? bits << 32 : bits;
  }
  return bits;
}

const char* Problem(const OperandType& type, const ParsedOperand& parsed, bool based) {
  const Operand& o = parsed.operand;
  const bool scalar = o.kind == OperandKind::kScalar, vector = o.kind == OperandKind::kVector;
  const bool constant = o.kind == OperandKind::kConstant;
  switch (type.role) {
    case Role::kVector:
      if (!vector) return "is no vector register";
      break;
    case Role::kScalar:
      if (!scalar) return "is no scalar register";
      break;
    case Role::kSource:
      if (!vector && !scalar && !constant) return "is nothing to read";
      break;
    case Role::kScalarSource:
      if (!scalar && !constant) return "is nothing scalar to read";
      break;
    case Role::kConstant:
      if (!constant) return "is no constant";
      break;
    case Role::kAddress:
      if (o.kind == OperandKind::kNone) return nullptr;
      if (!vector || o.width != (based ? 1 : 2)) return "is no address";
      return nullptr;
    case Role::kBase:
      if (o.kind == OperandKind::kNone) return nullptr;
      if (!scalar || o.width != 2) return "is no base address";
      return nullptr;
  }
  if (!constant && o.width != type.width) return "has another number of registers";
  if (constant && o.width == 2 && type.width != 2) return "has 64 bits";
  return nullptr;
}

}  // namespace

void OpcodeTable::Add(std::string_view name, Function run, std::vector<OperandType> operands,
                      uint32_t modifiers) {
  const bool added =
      opcodes_.emplace(std::string(name), Opcode{run, std::move(operands), modifiers}).second;
  TESSERA_CHECK(added, "two instructions are called " + std::string(name));
}

void OpcodeTable::Alias(std::string_view name, std::string_view existing) {
  const Opcode* const opcode = Find(existing);
  TESSERA_CHECK(opcode != nullptr, std::string(existing));
  Add(name, opcode->run, opcode->operands, opcode->modifiers);
}

const Opcode* OpcodeTable::Find(std::string_view name) const {
  const auto found = opcodes_.find(std::string(name));
  return found == opcodes_.end() ? nullptr : &found->second;
}

std::vector<std::string> OpcodeTable::Names() const {
  std::vector<std::string> names;
  for (const auto& [name, opcode] : opcodes_) names.push_back(name);
  return names;
}

const OpcodeTable& Opcodes() {
  static const OpcodeTable table = [] {
    OpcodeTable t;
    AddScalarInstructions(&t);
    AddScalarControl(&t);
    AddVectorIntegers(&t);
    AddVectorFloats(&t);
    AddVectorConversions(&t);
    AddVectorComparisons(&t);
    AddVectorCarries(&t);
    AddVectorDivision(&t);
    AddVectorPacked(&t);
    AddLaneExchanges(&t);
    AddMatrixInstructions(&t);
    AddGlobalMemory(&t);
    AddBufferMemory(&t);
    AddAtomics(&t);
    AddLdsMemory(&t);
    return t;
  }();
  return table;
}

Result<Instruction> Decode(const ParsedLine& line) {
  const auto refuse = [&](const std::string& why) {
    return Unsupported("the gfx942 interpreter cannot execute '" + std::string(line.text) +
                       "': " + why);
  };
  const Opcode* opcode = Opcodes().Find(line.name);
  if (opcode != nullptr && (line.modifiers & kModifierToLds) != 0) {
    opcode = Opcodes().Find(std::string(line.name) + " lds");
  }
  // An atomic with sc0 is another instruction: it has a destination.
  if (opcode != nullptr && line.instruction.returns) {
    const Opcode* const returning = Opcodes().Find(std::string(line.name) + " sc0");
    if (returning != nullptr) opcode = returning;
  }
  if (opcode == nullptr) return refuse("it has no such instruction");
  if (line.operands.size() != opcode->operands.size()) {
    return refuse("it has " + std::to_string(line.operands.size()) + " operands, not " +
                  std::to_string(opcode->operands.size()));
  }
  if ((line.modifiers & ~opcode->modifiers) != 0) {
    return refuse("a modifier that it does not know there");
  }
  Instruction i = line.instruction;
  i.run = opcode->run;
  i.count = static_cast<uint8_t>(line.operands.size());
  bool based = true;
  for (size_t k = 0; k < opcode->operands.size(); ++k) {
    if (opcode->operands[k].role == Role::kBase) {
      based = line.operands[k].operand.kind == OperandKind::kScalar;
    }
  }
  for (size_t k = 0; k < line.operands.size(); ++k) {
    const ParsedOperand& parsed = line.operands[k];
    const OperandType& type = opcode->operands[k];
    if (const char* const problem = Problem(type, parsed, based)) {
      return refuse("operand " + std::to_string(k + 1) + " " + problem);
    }
    i.operand[k] = parsed.operand;
    if (parsed.operand.kind == OperandKind::kConstant) {
      i.operand[k].bits = BitsOf(parsed.constant, type.number);
    }
    i.plain = i.plain && !parsed.operand.modified();
  }
  i.plain = i.plain && i.exchange == Exchange::kNone && i.half == 0 && !i.clamp &&
            i.factor == 1.0f && i.destination_select == 6;
  return i;
}

}  // namespace tessera::gfx942
