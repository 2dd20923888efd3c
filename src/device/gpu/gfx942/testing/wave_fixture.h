// One wave on which tests execute instructions that they write as text.
#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "device/gpu/gfx942/instruction.h"
#include "device/gpu/gfx942/listing.h"
#include "device/gpu/gfx942/opcode_table.h"

namespace tessera::gfx942 {

// An instruction's name and the kinds of its modifiers: what a directed test covers.
inline std::string PairOf(const ParsedLine& line) {
  std::string pair(line.name);
  const std::string_view text = line.text;
  for (const char* modifier :
       {"src0_sel",  "src1_sel",   "dst_sel",         "sext(",        "row_shl",   "row_shr",
        "row_ror",   "row_mirror", "row_half_mirror", "row_newbcast", "quad_perm", "op_sel:",
        "op_sel_hi", "neg_lo",     "neg_hi",          "clamp",        "mul:",      "div:",
        "offset:",   "offset0",    "offset1",         "offen",        " lds",      "|"}) {
    if (text.find(modifier) != std::string_view::npos) pair += std::string(" ") + modifier;
  }
  // Minus before a register.
  for (size_t at = 0; (at = text.find('-', at + 1)) != std::string_view::npos;) {
    if (at + 1 < text.size() &&
        (text[at + 1] == 'v' || text[at + 1] == 's' || text[at + 1] == '|')) {
      pair += " -";
      break;
    }
  }
  if (line.instruction.returns && Opcodes().Find(std::string(line.name) + " sc0") != nullptr) {
    pair += " sc0";
  }
  if (text.find(", off") != std::string_view::npos) pair += " off";
  return pair;
}

// Pairs that some test of this program has executed.
inline std::set<std::string>& TestedPairs() {
  static std::set<std::string> pairs;
  return pairs;
}

class TestWave {
 public:
  explicit TestWave(int64_t lds_bytes = 0, int id = 0) : map({}) {
    wave.group = &group;
    wave.id = id;
    group.memory = &map;
    group.lds.Reset(lds_bytes, 1);
    wave.SetScalar64(kExec, ~uint64_t{0});
  }

  // "" or why it failed.
  std::string Run(const std::string& text) {
    const auto parsed = ParseInstruction(text);
    if (!parsed.ok()) return parsed.error().message;
    const auto decoded = Decode(*parsed);
    if (!decoded.ok()) return decoded.error().message;
    TestedPairs().insert(PairOf(*parsed));
    try {
      decoded->run(wave, *decoded);
    } catch (const Fault& fault) {
      return fault.message;
    }
    return "";
  }
  void Must(const std::string& text) { EXPECT_EQ(Run(text), "") << text; }

  uint64_t Pair(int index, int lane) const {
    return wave.v(index)[lane] | uint64_t{wave.v(index + 1)[lane]} << 32;
  }
  void SetPair(int index, int lane, uint64_t value) {
    wave.v(index)[lane] = static_cast<uint32_t>(value);
    wave.v(index + 1)[lane] = static_cast<uint32_t>(value >> 32);
  }
  void Allow(const void* data, size_t bytes, bool writable = true) {
    const auto begin = reinterpret_cast<uint64_t>(data);
    ranges.push_back({begin, begin + bytes, writable});
    map = AddressMap(ranges);
  }
  void SetAddress(int index, const void* data, uint64_t step) {
    for (int l = 0; l < kLanes; ++l) {
      SetPair(index, l, reinterpret_cast<uint64_t>(data) + step * static_cast<uint64_t>(l));
    }
  }

  std::vector<AddressRange> ranges;
  AddressMap map;
  Workgroup group;
  Wave wave;
};

}  // namespace tessera::gfx942
