#include "server/protocol/json_scanner.h"

namespace tessera {
namespace {

// What numbers, true, false and null are made of.
constexpr bool IsWordByte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '+' || c == '.';
}

}  // namespace

JsonScanner::Found JsonScanner::Take(char c) {
  if (in_string_) {
    if (escaped_) {
      escaped_ = false;
    } else if (c == '\\') {
      escaped_ = true;
    } else if (c == '"') {
      in_string_ = false;
      if (closing_.empty()) return Found::kLast;
    }
    return Found::kInside;
  }
  if (in_word_) return IsWordByte(c) ? Found::kInside : Found::kPast;
  switch (c) {
    case '"':
      in_string_ = true;
      return Found::kInside;
    case '{':
      closing_.push_back('}');
      return Found::kInside;
    case '[':
      closing_.push_back(']');
      return Found::kInside;
    case '}':
    case ']':
      if (closing_.empty() || closing_.back() != c) return Found::kNoJson;
      closing_.pop_back();
      return closing_.empty() ? Found::kLast : Found::kInside;
    case ',':
    case ':':
      return closing_.empty() ? Found::kNoJson : Found::kInside;
    default:
      if (IsJsonSpace(c)) return Found::kInside;
      if (!IsWordByte(c)) return Found::kNoJson;
      in_word_ = closing_.empty();
      return Found::kInside;
  }
}

}  // namespace tessera
