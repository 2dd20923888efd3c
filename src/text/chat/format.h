// Values as text: str(), repr(), json.dumps() and % formatting, digit for digit as Python.
// All fail above kMaxTextBytes, so that nested values cannot expand without bound.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "text/chat/callable.h"
#include "text/chat/value.h"

namespace tessera::chat {

inline constexpr size_t kMaxTextBytes = size_t{64} << 20;  // of one string and of the output

std::string ToText(const Value& value);
std::string Repr(const Value& value);
std::string FloatText(double value);
std::string EscapeHtml(std::string_view text);

struct JsonStyle {
  bool ensure_ascii = false;
  std::optional<std::string> indent;  // of one level; nothing: all on one line
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  bool sort_keys = false;
};
std::string ToJson(const Value& value, const JsonStyle& style);

// format % arguments, where `arguments` is a tuple, a dict or one value.
std::string PercentFormat(std::string_view format, const Value& arguments);
// format.format(...) with fields {}, {0}, {name} and the common format specifications.
std::string BraceFormat(std::string_view format, const Arguments& arguments);

}  // namespace tessera::chat
