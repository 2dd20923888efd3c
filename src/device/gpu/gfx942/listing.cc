#include "device/gpu/gfx942/listing.h"

#include <charconv>
#include <cstdlib>

namespace tessera::gfx942 {
namespace {

bool IsSpace(char c) { return c == ' ' || c == '\t'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }

std::string_view Trim(std::string_view text) {
  while (!text.empty() && IsSpace(text.front())) text.remove_prefix(1);
  while (!text.empty() && IsSpace(text.back())) text.remove_suffix(1);
  return text;
}

bool Cut(std::string_view* text, std::string_view prefix) {
  if (!text->starts_with(prefix)) return false;
  text->remove_prefix(prefix.size());
  return true;
}

bool ParseInteger(std::string_view text, int64_t* value) {
  const bool negative = Cut(&text, "-");
  const bool hexadecimal = Cut(&text, "0x");
  uint64_t number = 0;
  const auto end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, number, hexadecimal ? 16 : 10);
  if (text.empty() || result.ec != std::errc() || result.ptr != end) return false;
  *value = static_cast<int64_t>(negative ? 0 - number : number);
  return true;
}

// "12" or "[12:15]".
bool ParseRegisters(std::string_view text, int limit, Operand* operand) {
  int64_t first = 0, last = 0;
  if (Cut(&text, "[")) {
    const size_t colon = text.find(':');
    if (colon == std::string_view::npos || text.back() != ']') return false;
    if (!ParseInteger(text.substr(0, colon), &first)) return false;
    if (!ParseInteger(text.substr(colon + 1, text.size() - colon - 2), &last)) return false;
  } else {
    if (text.empty() || !IsDigit(text[0]) || !ParseInteger(text, &first)) return false;
    last = first;
  }
  if (first < 0 || last < first || last >= limit || last - first >= 32) return false;
  operand->index = static_cast<uint16_t>(first);
  operand->width = static_cast<uint8_t>(last - first + 1);
  return true;
}

struct NamedRegister {
  std::string_view name;
  uint16_t index;
  uint8_t width;
};
constexpr NamedRegister kNamed[] = {
    {"vcc", kVcc, 2},   {"vcc_lo", kVcc, 1},   {"vcc_hi", kVcc + 1, 1},   {"m0", kM0, 1},
    {"exec", kExec, 2}, {"exec_lo", kExec, 1}, {"exec_hi", kExec + 1, 1},
};

bool ParseOperand(std::string_view text, ParsedOperand* parsed, uint32_t* modifiers) {
  Operand& o = parsed->operand;
  if (text.size() > 1 && text[0] == '-' && !IsDigit(text[1])) {
    o.negative = true;
    *modifiers |= kModifierSign;
    text.remove_prefix(1);
  }
  if (text.size() > 2 && text.front() == '|' && text.back() == '|') {
    o.absolute = true;
    *modifiers |= kModifierSign;
    text = text.substr(1, text.size() - 2);
  }
  if (text.ends_with(')') && Cut(&text, "sext(")) {
    o.sign_extend = true;
    *modifiers |= kModifierSelect;
    text.remove_suffix(1);
  }
  if (text.empty()) return false;
  if (text == "off") return true;
  for (const NamedRegister& named : kNamed) {
    if (text != named.name) continue;
    o.kind = OperandKind::kScalar;
    o.index = named.index;
    o.width = named.width;
    return true;
  }
  if (text == "src_shared_base") {
    o.kind = OperandKind::kConstant;
    o.width = 2;
    parsed->constant = {.hexadecimal = true, .integer = static_cast<int64_t>(kLdsAperture)};
    return true;
  }
  if (text[0] == 'v' || text[0] == 'a') {
    o.kind = OperandKind::kVector;
    if (!ParseRegisters(text.substr(1), 256, &o)) return false;
    if (text[0] == 'a') o.index = static_cast<uint16_t>(o.index + kAccumulators);
    return true;
  }
  if (text[0] == 's') {
    o.kind = OperandKind::kScalar;
    return ParseRegisters(text.substr(1), 102, &o);
  }
  o.kind = OperandKind::kConstant;
  Constant& c = parsed->constant;
  if (text.find('.') != std::string_view::npos) {
    const std::string copy(text);
    char* end = nullptr;
    c.decimal_point = true;
    c.number = std::strtod(copy.c_str(), &end);
    return end == copy.c_str() + copy.size();
  }
  c.hexadecimal = text.starts_with("0x");
  return ParseInteger(text, &c.integer);
}

// "[0,1,1]" as bits, the first one lowest.
bool ParseBits(std::string_view text, uint8_t* bits) {
  if (text.size() < 3 || text.front() != '[' || text.back() != ']') return false;
  *bits = 0;
  for (size_t i = 1, n = 0; i + 1 < text.size(); i += 2, ++n) {
    if (n > 7 || (text[i] != '0' && text[i] != '1')) return false;
    if (text[i] == '1') *bits = static_cast<uint8_t>(*bits | 1u << n);
    if (i + 2 < text.size() && text[i + 1] != ',') return false;
  }
  return true;
}

bool ParseSelect(std::string_view text, uint8_t* select) {
  if (text == "DWORD") {
    *select = 6;
    return true;
  }
  const bool byte = Cut(&text, "BYTE_");
  if (!byte && !Cut(&text, "WORD_")) return false;
  if (text.size() != 1 || text[0] < '0' || text[0] > (byte ? '3' : '1')) return false;
  *select = static_cast<uint8_t>(text[0] - '0' + (byte ? 0 : 4));
  return true;
}

bool ParseUnused(std::string_view text, uint8_t* unused) {
  constexpr std::string_view kNames[] = {"UNUSED_PAD", "UNUSED_SEXT", "UNUSED_PRESERVE"};
  for (uint8_t i = 0; i < 3; ++i) {
    if (text != kNames[i]) continue;
    *unused = i;
    return true;
  }
  return false;
}

// "quad_perm:[0,1,2,3]".
bool ParseQuad(std::string_view text, uint8_t* value) {
  if (text.size() != 9 || text.front() != '[' || text.back() != ']') return false;
  *value = 0;
  for (size_t i = 0; i < 4; ++i) {
    const char c = text[1 + 2 * i];
    if (c < '0' || c > '3') return false;
    *value = static_cast<uint8_t>(*value | (c - '0') << (2 * i));
  }
  return true;
}

// Of a modifier with a value; `sources` gets what src0_sel and src1_sel say.
bool ParseValue(std::string_view key, std::string_view value, ParsedLine* line,
                uint8_t sources[2]) {
  Instruction& i = line->instruction;
  const auto use = [&](uint32_t modifier) { line->modifiers |= modifier; };
  int64_t number = 0;
  const bool is_number = ParseInteger(value, &number);
  const auto fits = [&](int64_t low, int64_t high) {
    return is_number && number >= low && number <= high;
  };
  const auto exchange = [&](Exchange kind, int64_t low) {
    use(kModifierExchange);
    i.exchange = kind;
    i.exchange_value = static_cast<uint8_t>(number);
    return fits(low, 15);
  };
  if (key == "offset") {
    use(kModifierOffset);
    i.offset = static_cast<int32_t>(number);
    return fits(-(1 << 20), (1 << 20) - 1);
  }
  if (key == "offset0" || key == "offset1") {
    use(kModifierTwoOffsets);
    (key == "offset0" ? i.offset0 : i.offset1) = static_cast<uint8_t>(number);
    return fits(0, 255);
  }
  if (key == "op_sel") return use(kModifierHalf), ParseBits(value, &i.half);
  if (key == "op_sel_hi") return use(kModifierHalfHigh), ParseBits(value, &i.half_high);
  if (key == "neg_lo") return use(kModifierNegativeHalf), ParseBits(value, &i.negative_low);
  if (key == "neg_hi") return use(kModifierNegativeHalf), ParseBits(value, &i.negative_high);
  if (key == "quad_perm") {
    use(kModifierExchange);
    i.exchange = Exchange::kQuad;
    return ParseQuad(value, &i.exchange_value);
  }
  if (key == "row_shl") return exchange(Exchange::kShiftLeft, 1);
  if (key == "row_shr") return exchange(Exchange::kShiftRight, 1);
  if (key == "row_ror") return exchange(Exchange::kRotateRight, 1);
  if (key == "row_newbcast") return exchange(Exchange::kBroadcastWithinRow, 0);
  if (key == "row_mask" || key == "bank_mask") {
    use(kModifierExchange);
    (key == "row_mask" ? i.row_mask : i.bank_mask) = static_cast<uint8_t>(number);
    return fits(0, 15);
  }
  if (key == "bound_ctrl") {
    use(kModifierExchange);
    i.bound_control = number == 1;
    return fits(0, 1);
  }
  if (key == "dst_sel") return use(kModifierSelect), ParseSelect(value, &i.destination_select);
  if (key == "dst_unused") return use(kModifierSelect), ParseUnused(value, &i.destination_unused);
  if (key == "src0_sel") return use(kModifierSelect), ParseSelect(value, &sources[0]);
  if (key == "src1_sel") return use(kModifierSelect), ParseSelect(value, &sources[1]);
  if (key == "mul" || key == "div") {
    use(kModifierFactor);
    i.factor = key == "div" ? 1.0f / static_cast<float>(number) : static_cast<float>(number);
    return key == "div" ? fits(2, 2) : fits(2, 2) || fits(4, 4);
  }
  return false;
}

// Of a word that is no register and has no value.
bool ParseWord(std::string_view word, ParsedLine* line) {
  Instruction& i = line->instruction;
  const auto use = [&](uint32_t modifier) { line->modifiers |= modifier; };
  if (word == "offen") return use(kModifierOffsetEnabled), i.offset_enabled = true;
  if (word == "lds") return use(kModifierToLds), i.to_lds = true;
  if (word == "clamp") return use(kModifierClamp), i.clamp = true;
  if (word == "sc0") return use(kModifierCache), i.returns = true;
  if (word == "sc1" || word == "nt") return use(kModifierCache), true;
  if (word == "row_mirror" || word == "row_half_mirror") {
    use(kModifierExchange);
    i.exchange = word == "row_mirror" ? Exchange::kMirror : Exchange::kHalfMirror;
    return true;
  }
  for (std::string_view counter : {"vmcnt(", "lgkmcnt(", "expcnt("}) {
    int64_t number = 0;
    if (!word.starts_with(counter) || !word.ends_with(')')) continue;
    use(kModifierCounter);
    return ParseInteger(word.substr(counter.size(), word.size() - counter.size() - 1), &number);
  }
  return false;
}

// Splits at blanks and commas outside of brackets.
std::vector<std::string_view> Words(std::string_view text) {
  std::vector<std::string_view> words;
  int depth = 0;
  size_t begin = 0;
  for (size_t at = 0; at <= text.size(); ++at) {
    const char c = at < text.size() ? text[at] : ' ';
    if (c == '[' || c == '(') ++depth;
    if (c == ']' || c == ')') --depth;
    if ((!IsSpace(c) && c != ',') || depth > 0) continue;
    if (at > begin) words.push_back(text.substr(begin, at - begin));
    begin = at + 1;
  }
  return words;
}

bool HexAddress(std::string_view text, uint64_t* address) {
  const auto result = std::from_chars(text.data(), text.data() + text.size(), *address, 16);
  return result.ec == std::errc() && result.ptr != text.data();
}

}  // namespace

bool AddressOf(std::string_view line, uint64_t* address) {
  if (line.empty() || !IsSpace(line[0])) return false;
  const size_t comment = line.find("//");
  if (comment == std::string_view::npos) return false;
  return HexAddress(Trim(line.substr(comment + 2)), address);
}

Result<ParsedLine> ParseInstruction(std::string_view line) {
  ParsedLine parsed;
  parsed.text = Trim(line.substr(0, line.find("//")));
  const auto refuse = [&](std::string_view word) {
    return Unsupported("the gfx942 interpreter does not understand '" + std::string(word) +
                       "' in the instruction '" + std::string(parsed.text) + "'");
  };
  AddressOf(line, &parsed.address);
  if (const size_t open = line.rfind('<'), close = line.rfind('>');
      open != std::string_view::npos && close != std::string_view::npos && open < close) {
    parsed.target = line.substr(open + 1, close - open - 1);
  }
  parsed.instruction.address = parsed.address;
  const size_t blank = parsed.text.find(' ');
  parsed.name = parsed.text.substr(0, blank);
  for (std::string_view suffix : {"_e32", "_e64", "_sdwa", "_dpp"}) {
    if (!parsed.name.ends_with(suffix)) continue;
    parsed.name.remove_suffix(suffix.size());
    break;
  }
  uint8_t sources[2] = {6, 6};
  const bool branch = parsed.name.starts_with("s_branch") || parsed.name.starts_with("s_cbranch");
  for (std::string_view word :
       Words(blank == std::string_view::npos ? "" : parsed.text.substr(blank + 1))) {
    const size_t colon = word.find(':'), bracket = word.find('[');
    if (colon != std::string_view::npos && colon < bracket) {
      if (!ParseValue(word.substr(0, colon), word.substr(colon + 1), &parsed, sources)) {
        return refuse(word);
      }
      continue;
    }
    if (ParseWord(word, &parsed)) continue;
    ParsedOperand operand;
    if (!ParseOperand(word, &operand, &parsed.modifiers)) {
      if (branch) continue;  // a label
      return refuse(word);
    }
    parsed.operands.push_back(operand);
  }
  if (branch) parsed.operands.clear();  // where to is in the comment
  for (size_t k = 0; k < 2; ++k) {
    if (sources[k] == 6) continue;
    if (parsed.operands.size() <= k + 1) return refuse("src_sel");
    parsed.operands[k + 1].operand.select = sources[k];
  }
  return parsed;
}

}  // namespace tessera::gfx942
