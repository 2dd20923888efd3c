// Modifiers of all instructions that have them: each form gives what the plain one gives of inputs
// that were changed before.
#include <gtest/gtest.h>

#include <functional>
#include <random>

#include "device/gpu/gfx942/testing/wave_fixture.h"

namespace tessera::gfx942 {
namespace {

using U = uint32_t;

bool IsReal(Number number) {
  return number == Number::kFloat16 || number == Number::kFloat32 || number == Number::kFloat64;
}
U SignBit(Number number) { return number == Number::kFloat16 ? 0x8000u : 0x80000000u; }

// An instruction of lanes: v0 or s[10:11] is made of v[2:3], v[4:5] and v[6:7].
struct Form {
  std::string name;
  const Opcode* opcode;
  size_t sources = 0;  // less a mask at the end

  std::string Text(const std::string& suffix,
                   const std::function<std::string(size_t, std::string)>& source,
                   const std::string& modifiers) const {
    std::string text = name + suffix;
    for (size_t k = 0; k < opcode->operands.size(); ++k) {
      const OperandType& type = opcode->operands[k];
      const int first = static_cast<int>(2 * k);
      std::string operand =
          type.width == 1 ? "v" + std::to_string(first)
                          : "v[" + std::to_string(first) + ":" + std::to_string(first + 1) + "]";
      if (type.role == Role::kScalar || type.role == Role::kScalarSource) operand = "s[10:11]";
      text += (k == 0 ? " " : ", ") +
              (k == 0 || type.role != Role::kSource ? operand : source(k, operand));
    }
    return text + modifiers;
  }
};

std::string Same(size_t /*k*/, std::string operand) { return operand; }

// All that read vectors and know one of the modifiers.
std::vector<Form> FormsWith(uint32_t modifier) {
  std::vector<Form> forms;
  for (const std::string& name : Opcodes().Names()) {
    const Opcode* const opcode = Opcodes().Find(name);
    if ((opcode->modifiers & modifier) == 0 || name[0] != 'v') continue;
    Form form{name, opcode};
    bool plain = true;
    for (size_t k = 1; k < opcode->operands.size(); ++k) {
      form.sources += opcode->operands[k].role == Role::kSource;
      plain =
          plain && (opcode->operands[k].role == Role::kSource || k + 1 == opcode->operands.size());
    }
    if (plain && form.sources > 0) forms.push_back(form);
  }
  return forms;
}

// Runs `text` on random registers that `change` has changed, and returns what it writes.
std::vector<U> Results(const std::string& text, const std::function<void(Wave&)>& change) {
  TestWave test;
  std::mt19937 random(7);
  for (int reg = 0; reg < 8; ++reg) {
    for (int l = 0; l < kLanes; ++l)
      test.wave.v(reg)[l] = random() & (l % 2 == 0 ? 0xbfffbfffu : 0xffffffffu);
  }
  test.wave.SetScalar64(10, uint64_t{random()} << 32 | random());
  test.wave.SetScalar64(kVcc, 0);
  if (change) change(test.wave);
  test.Must(text);
  std::vector<U> results = {test.wave.s[10], test.wave.s[11]};
  for (int reg : {0, 1}) results.insert(results.end(), test.wave.v(reg), test.wave.v(reg) + kLanes);
  return results;
}

// Forms whose operands lie in another order, or that change more than a result.
bool IsSpecial(const std::string& name) {
  return name.starts_with("v_fma_mix") || name.starts_with("v_div_scale") ||
         name.starts_with("v_cmpx") || name.starts_with("v_cvt_pk_f32") ||
         name.starts_with("v_cvt_pk_fp8");
}

TEST(Modifiers, SignsOfFloats) {
  for (const Form& form : FormsWith(kModifierSign)) {
    // The numbers of v_cndmask are bits by their type: see ChoiceByMask.
    if (IsSpecial(form.name) || form.name == "v_cndmask_b32") continue;
    for (int which = 1; which < 4; ++which) {
      const bool negative = (which & 1) != 0, absolute = (which & 2) != 0;
      const std::string text = form.Text(
          "_e64",
          [&](size_t k, std::string operand) {
            if (!IsReal(form.opcode->operands[k].number)) return operand;
            if (absolute) operand = "|" + operand + "|";
            return negative ? "-" + operand : operand;
          },
          "");
      const auto change = [&](Wave& wave) {
        for (size_t k = 1; k <= form.sources; ++k) {
          const OperandType& type = form.opcode->operands[k];
          if (!IsReal(type.number)) continue;
          U* const row = wave.v(static_cast<int>(2 * k) + type.width - 1);
          for (int l = 0; l < kLanes; ++l) {
            if (absolute) row[l] &= ~SignBit(type.number);
            if (negative) row[l] ^= SignBit(type.number);
          }
        }
      };
      EXPECT_EQ(Results(text, nullptr), Results(form.Text("_e64", Same, ""), change)) << text;
    }
  }
}

TEST(Modifiers, SelectedBytesAndHalves) {
  for (const Form& form : FormsWith(kModifierSelect)) {
    if (IsSpecial(form.name) || form.sources > 2) continue;
    const bool compares = form.opcode->operands[0].role == Role::kScalar;
    std::string modifiers = compares ? "" : " dst_sel:DWORD dst_unused:UNUSED_PAD";
    modifiers += " src0_sel:BYTE_3";
    if (form.sources == 2) modifiers += " src1_sel:WORD_1";
    for (unsigned signs = 0; signs < 4; ++signs) {  // a bit for each source
      const auto extends = [&](size_t k) {
        return (signs >> (k - 1) & 1) != 0 && !IsReal(form.opcode->operands[k].number);
      };
      const auto operand_of = [&](size_t k, const std::string& operand) {
        return extends(k) ? "sext(" + operand + ")" : operand;
      };
      const std::string text = form.Text("_sdwa", operand_of, modifiers);
      const auto change = [&](Wave& wave) {
        for (int l = 0; l < kLanes; ++l) {
          U& a = wave.v(2)[l];
          a = extends(1) ? static_cast<U>(static_cast<int8_t>(a >> 24)) : a >> 24;
          if (form.sources < 2) continue;
          U& b = wave.v(4)[l];
          b = extends(2) ? static_cast<U>(static_cast<int16_t>(b >> 16)) : b >> 16;
        }
      };
      EXPECT_EQ(Results(text, nullptr), Results(form.Text("", Same, ""), change)) << text;
    }
  }
}

TEST(Modifiers, ExchangedLanes) {
  for (const Form& form : FormsWith(kModifierExchange)) {
    if (IsSpecial(form.name) || form.sources > 2) continue;
    for (const char* exchange : {"row_ror:3", "row_mirror", "row_half_mirror", "row_newbcast:9",
                                 "quad_perm:[3,0,1,2]", "row_shl:2", "row_shr:2"}) {
      const std::string text = form.Text(
          "_dpp", Same, std::string(" ") + exchange + " row_mask:0xf bank_mask:0xf bound_ctrl:1");
      const auto change = [&](Wave& wave) {
        const std::string kind = exchange;
        Row row;
        for (int l = 0; l < kLanes; ++l) {
          const int in = l % 16, begin = l - in;
          int from = l;
          if (kind == "row_ror:3") from = begin + (in + 13) % 16;
          if (kind == "row_mirror") from = begin + 15 - in;
          if (kind == "row_half_mirror") from = begin + in / 8 * 8 + 7 - in % 8;
          if (kind == "row_newbcast:9") from = begin + 9;
          if (kind == "quad_perm:[3,0,1,2]") from = l / 4 * 4 + (l + 3) % 4;
          if (kind == "row_shl:2") from = in < 14 ? l + 2 : -1;
          if (kind == "row_shr:2") from = in >= 2 ? l - 2 : -1;
          row[static_cast<size_t>(l)] = from < 0 ? 0 : wave.v(2)[from];
        }
        std::copy(row.begin(), row.end(), wave.v(2));
      };
      EXPECT_EQ(Results(text, nullptr), Results(form.Text("", Same, ""), change)) << text;
    }
  }
}

}  // namespace
}  // namespace tessera::gfx942
