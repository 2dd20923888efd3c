#include "text/tokenizer/byte_level.h"

#include <array>
#include <cstdint>

#include "text/tokenizer/unicode.h"

namespace tessera::tokenization {
namespace {

constexpr bool StandsForItself(uint32_t byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

constexpr std::array<uint16_t, 256> CharOfByte() {
  std::array<uint16_t, 256> table{};
  uint16_t next = 256;
  for (uint32_t byte = 0; byte < 256; ++byte) {
    table[byte] = StandsForItself(byte) ? static_cast<uint16_t>(byte) : next++;
  }
  return table;
}

constexpr size_t kAlphabetEnd = 256 + 68;
constexpr int16_t kNoByte = -1;

constexpr std::array<int16_t, kAlphabetEnd> ByteOfChar() {
  std::array<int16_t, kAlphabetEnd> table{};
  for (int16_t& byte : table) byte = kNoByte;
  constexpr std::array<uint16_t, 256> kForward = CharOfByte();
  for (size_t byte = 0; byte < 256; ++byte) table[kForward[byte]] = static_cast<int16_t>(byte);
  return table;
}

constexpr std::array<uint16_t, 256> kCharOfByte = CharOfByte();
constexpr std::array<int16_t, kAlphabetEnd> kByteOfChar = ByteOfChar();

}  // namespace

void AppendByteLevel(std::string_view bytes, std::string* out) {
  for (const char byte : bytes) {
    const uint16_t c = kCharOfByte[static_cast<uint8_t>(byte)];
    if (c < 0x80) {
      out->push_back(static_cast<char>(c));
    } else {
      out->push_back(static_cast<char>(0xC0 | c >> 6));
      out->push_back(static_cast<char>(0x80 | (c & 0x3F)));
    }
  }
}

std::string FromByteLevel(std::string_view text) {
  std::string bytes;
  bytes.reserve(text.size());
  for (std::string_view rest = text; !rest.empty();) {
    const char32_t c = TakeChar(&rest);
    if (c >= kAlphabetEnd || kByteOfChar[c] == kNoByte) return std::string(text);
    bytes.push_back(static_cast<char>(kByteOfChar[c]));
  }
  return bytes;
}

}  // namespace tessera::tokenization
