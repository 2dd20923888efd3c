// A set of bytes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace tessera::grammar {

class ByteSet {
 public:
  static ByteSet Range(uint8_t low, uint8_t high) {
    ByteSet set;
    for (unsigned b = low; b <= high; ++b) set.Add(static_cast<uint8_t>(b));
    return set;
  }
  static ByteSet Of(std::string_view bytes) {
    ByteSet set;
    for (const char c : bytes) set.Add(static_cast<uint8_t>(c));
    return set;
  }

  void Add(uint8_t byte) { words_[byte >> 6] |= uint64_t{1} << (byte & 63); }
  bool Has(uint8_t byte) const { return ((words_[byte >> 6] >> (byte & 63)) & 1) != 0; }
  bool IsEmpty() const { return (words_[0] | words_[1] | words_[2] | words_[3]) == 0; }

  ByteSet operator|(const ByteSet& other) const {
    ByteSet result;
    for (size_t i = 0; i < words_.size(); ++i) result.words_[i] = words_[i] | other.words_[i];
    return result;
  }
  bool operator==(const ByteSet& other) const = default;

  uint64_t Hash() const {
    uint64_t hash = 0x9e3779b97f4a7c15u;
    for (const uint64_t word : words_) hash = (hash ^ word) * 0xff51afd7ed558ccdu + (hash >> 29);
    return hash;
  }

 private:
  std::array<uint64_t, 4> words_{};
};

}  // namespace tessera::grammar
