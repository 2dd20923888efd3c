// Where a JSON value ends, found byte by byte.
#pragma once

#include <cstdint>
#include <string>

namespace tessera {

// Of one value. Strings, escapes and brackets are followed; between them any bytes may come that
// JSON has there, in any order: whether commas and colons stand where they should is not checked,
// nor what strings and numbers hold. Constant work for each byte. Not thread-safe.
class JsonScanner {
 public:
  enum class Found : uint8_t {
    kInside,  // the byte belongs to the value, or is white space in front of it
    kLast,    // the byte is the value's last
    kPast,    // the value, a number or a word, ended before this byte
    kNoJson,  // no JSON value continues with this byte
  };

  // The next byte. Not to be called after an answer other than kInside.
  Found Take(char c);

 private:
  std::string closing_;     // the brackets that are still to come, the next one last
  bool in_string_ = false;  // after its first quote
  bool escaped_ = false;    // after a backslash of a string
  bool in_word_ = false;    // the value itself is a number or a word
};

// What JSON has between values.
constexpr bool IsJsonSpace(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

}  // namespace tessera
