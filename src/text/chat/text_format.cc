// The two formatting languages of Python's str: "%5.2f" % value and "{:>5}".format(value).
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "text/chat/error.h"
#include "text/chat/format.h"
#include "text/chat/text.h"

namespace tessera::chat {
namespace {

constexpr int64_t kMaxWidth = 1'000'000;

// What both languages can say about a field.
struct Spec {
  std::string fill = " ";
  char align = '\0';  // '<', '>', '^' or '=' (between the sign and the digits)
  char sign = '-';
  bool alternate = false;
  bool comma = false;
  int64_t width = 0;
  int64_t precision = -1;
  char type = '\0';
};

int64_t ReadNumber(std::string_view text, size_t* at) {
  int64_t number = 0;
  while (*at < text.size() && text[*at] >= '0' && text[*at] <= '9') {
    number = number * 10 + (text[(*at)++] - '0');
    if (number > kMaxWidth) Fail("A width or precision in a format is too large.");
  }
  return number;
}

std::string Pad(const std::string& prefix, const std::string& body, const Spec& spec,
                char default_align) {
  const int64_t missing = spec.width - CodePointCount(prefix) - CodePointCount(body);
  if (missing <= 0) return prefix + body;
  const char align = spec.align == '\0' ? default_align : spec.align;
  const int64_t left = align == '<' ? 0 : align == '^' ? missing / 2 : missing;
  std::string before, after;
  for (int64_t i = 0; i < left; ++i) before += spec.fill;
  for (int64_t i = left; i < missing; ++i) after += spec.fill;
  return align == '=' ? prefix + before + body : before + prefix + body + after;
}

std::string IntegerDigits(uint64_t magnitude, char type) {
  if (type == 'b') {
    std::string bits;
    do {
      bits.insert(bits.begin(), static_cast<char>('0' + (magnitude & 1)));
    } while ((magnitude >>= 1) != 0);
    return bits;
  }
  char buffer[32];
  const char* format = type == 'x' ? "%llx" : type == 'X' ? "%llX" : type == 'o' ? "%llo" : "%llu";
  std::snprintf(buffer, sizeof(buffer), format, static_cast<unsigned long long>(magnitude));
  return buffer;
}

std::string FloatDigits(double magnitude, const Spec& spec) {
  if (std::isinf(magnitude)) return "inf";
  if (std::isnan(magnitude)) return "nan";
  if (spec.type == '\0' && spec.precision < 0) return FloatText(magnitude);
  if (spec.precision > 400) Fail("The precision of a format is too large.");
  const std::string format = std::string(spec.alternate ? "%#" : "%") + ".*" +
                             (spec.type == '\0' || spec.type == '%' ? 'f' : spec.type);
  char buffer[1024];
  const int precision = spec.precision < 0 ? 6 : static_cast<int>(spec.precision);
  std::snprintf(buffer, sizeof(buffer), format.c_str(), precision,
                spec.type == '%' ? magnitude * 100 : magnitude);
  return spec.type == '%' ? std::string(buffer) + "%" : std::string(buffer);
}

std::string FormatNumber(const Value& value, const Spec& spec) {
  const bool as_integer =
      value.IsInteger() &&
      (spec.type == '\0' || std::string_view("dxXobi").find(spec.type) != std::string_view::npos);
  std::string prefix, digits;
  bool negative = false;
  if (as_integer) {
    const int64_t number = value.integer();
    negative = number < 0;
    const auto bits = static_cast<uint64_t>(number);
    digits = IntegerDigits(negative ? ~bits + 1 : bits, spec.type);
    if (spec.alternate && std::string_view("xXob").find(spec.type) != std::string_view::npos) {
      prefix = std::string("0") + spec.type;
    }
  } else {
    negative = std::signbit(value.number()) && !std::isnan(value.number());
    digits = FloatDigits(std::abs(value.number()), spec);
  }
  if (spec.comma) {
    const size_t whole = std::min(digits.find_first_not_of("0123456789"), digits.size());
    for (size_t at = whole; at > 3; at -= 3) digits.insert(at - 3, ",");
  }
  const std::string sign = negative ? "-" : spec.sign == '-' ? "" : std::string(1, spec.sign);
  return Pad(sign + prefix, digits, spec, '>');
}

std::string FormatText(const std::string& text, const Spec& spec, char default_align) {
  std::u32string points = Decode(text);
  if (spec.precision >= 0 && static_cast<int64_t>(points.size()) > spec.precision) {
    points.resize(static_cast<size_t>(spec.precision));
  }
  return Pad("", Encode(points), spec, default_align);
}

std::string FormatPercentField(const Value& value, Spec spec) {
  switch (spec.type) {
    case 's':
      return FormatText(ToText(value), spec, '>');
    case 'r':
    case 'a':
      return FormatText(Repr(value), spec, '>');
    case 'c':
      if (value.IsText() && CodePointCount(value.text()) == 1) {
        return FormatText(value.text(), spec, '>');
      }
      Fail("%c needs a single character.");
    default:
      break;
  }
  if (!value.IsNumber()) {
    Fail(std::string("%") + spec.type + " needs a number, got a " + value.TypeName() + ".");
  }
  const bool whole = std::string_view("diuxXo").find(spec.type) != std::string_view::npos;
  if (!whole && std::string_view("eEfFgG").find(spec.type) == std::string_view::npos) {
    Fail(std::string("The format %") + spec.type + " is unknown.");
  }
  if (!whole) return FormatNumber(value, spec);
  if (spec.type == 'i' || spec.type == 'u') spec.type = 'd';
  if (value.IsInteger()) return FormatNumber(value, spec);
  if (spec.type != 'd' || !(std::abs(value.number()) < 9.2e18)) Fail("A format needs an integer.");
  return FormatNumber(Value(static_cast<int64_t>(value.number())), spec);
}

Spec ParseBraceSpec(std::string_view text) {
  Spec spec;
  size_t at = 0;
  const auto is_align = [](char c) { return c == '<' || c == '>' || c == '^' || c == '='; };
  size_t next = 0;
  if (!text.empty()) NextCodePoint(text, &next);
  if (next > 0 && next < text.size() && is_align(text[next])) {
    spec.fill = std::string(text.substr(0, next));
    spec.align = text[next];
    at = next + 1;
  } else if (!text.empty() && is_align(text[0])) {
    spec.align = text[at++];
  }
  const auto peek = [&] { return at < text.size() ? text[at] : '\0'; };
  if (peek() == '+' || peek() == '-' || peek() == ' ') spec.sign = text[at++];
  if (peek() == '#') spec.alternate = ++at > 0;
  if (peek() == '0') {
    ++at;
    if (spec.align == '\0') {
      spec.align = '=';
      spec.fill = "0";
    }
  }
  spec.width = ReadNumber(text, &at);
  if (peek() == ',') spec.comma = ++at > 0;
  if (peek() == '.') {
    ++at;
    spec.precision = ReadNumber(text, &at);
  }
  if (at < text.size()) spec.type = text[at++];
  if (at != text.size() ||
      (spec.type != '\0' &&
       std::string_view("sdxXobeEfFgG%").find(spec.type) == std::string_view::npos)) {
    Fail("The format specification '" + std::string(text) + "' is not supported.");
  }
  return spec;
}

}  // namespace

std::string PercentFormat(std::string_view format, const Value& arguments) {
  const Sequence* tuple = arguments.sequence();
  if (tuple != nullptr && tuple->kind != Sequence::Kind::kTuple) tuple = nullptr;
  size_t used = 0;
  const auto take = [&]() -> const Value& {
    if (tuple == nullptr ? used == 1 : used >= tuple->items.size()) {
      Fail("A format needs more values than it was given.");
    }
    ++used;
    return tuple == nullptr ? arguments : tuple->items[used - 1];
  };
  std::string out;
  for (size_t at = 0; at < format.size();) {
    if (format[at] != '%') {
      out += format[at++];
      continue;
    }
    ++at;
    Spec spec;
    const Value* value = nullptr;
    if (at < format.size() && format[at] == '(') {
      const size_t end = format.find(')', at);
      if (end == std::string_view::npos) Fail("A format has '%(' without ')'.");
      if (arguments.dict() == nullptr) Fail("A format with names needs a dict.");
      const std::string name(format.substr(at + 1, end - at - 1));
      value = arguments.dict()->Find(std::string_view(name));
      if (value == nullptr) Fail("The format's name '" + name + "' is missing.");
      used = 1;
      at = end + 1;
    }
    for (; at < format.size() && std::string_view("-+ #0").find(format[at]) != std::string::npos;
         ++at) {
      const char flag = format[at];
      if (flag == '-') spec.align = '<';
      if (flag == '+' || (flag == ' ' && spec.sign != '+')) spec.sign = flag;
      if (flag == '#') spec.alternate = true;
      if (flag == '0') spec.fill = "0";
    }
    spec.width = ReadNumber(format, &at);
    if (at < format.size() && format[at] == '.') {
      ++at;
      spec.precision = ReadNumber(format, &at);
    }
    if (at == format.size()) Fail("A format ends after '%'.");
    spec.type = format[at++];
    if (spec.type == '%') {
      out += '%';
      continue;
    }
    const bool is_text = std::string_view("srac").find(spec.type) != std::string_view::npos;
    if (spec.fill == "0" && !is_text && spec.align == '\0') spec.align = '=';
    if (is_text || spec.align == '<') spec.fill = " ";
    out += FormatPercentField(value != nullptr ? *value : take(), spec);
    if (out.size() > kMaxTextBytes) Fail("A text grows beyond 64 MiB.");
  }
  const bool all_used = tuple != nullptr ? used == tuple->items.size()
                                         : used == 1 || arguments.dict() != nullptr ||
                                               (arguments.sequence() != nullptr);
  if (!all_used) Fail("A format was given more values than it uses.");
  return out;
}

std::string BraceFormat(std::string_view format, const Arguments& arguments) {
  std::string out;
  size_t automatic = 0;
  for (size_t at = 0; at < format.size(); ++at) {
    const char c = format[at];
    const bool doubled = at + 1 < format.size() && format[at + 1] == c;
    if ((c == '{' || c == '}') && doubled) ++at;
    if ((c != '{' && c != '}') || doubled) {
      out += c;
      continue;
    }
    const size_t end = format.find('}', at);
    if (c == '}' || end == std::string_view::npos) Fail("A format has a single brace.");
    const std::string_view field = format.substr(at + 1, end - at - 1);
    const size_t mark = std::min(field.find_first_of("!:"), field.size());
    const std::string name(field.substr(0, mark));
    const Value* value = nullptr;
    size_t digits = 0;
    const auto index = static_cast<size_t>(ReadNumber(name, &digits));
    if (digits == name.size()) {
      const size_t position = name.empty() ? automatic++ : index;
      if (position < arguments.positional.size()) value = &arguments.positional[position];
    }
    for (const auto& [key, candidate] : arguments.keywords) {
      if (key == name) value = &candidate;
    }
    if (value == nullptr) Fail("The format's field '{" + name + "}' has no value.");
    std::string_view rest = field.substr(mark);
    std::optional<Value> converted;
    if (rest.starts_with("!r") || rest.starts_with("!s")) {
      converted = Value(rest[1] == 'r' ? Repr(*value) : ToText(*value));
      rest.remove_prefix(2);
    }
    if (!rest.empty() && rest[0] != ':') Fail("A format's conversion must be !r or !s.");
    const Spec spec = ParseBraceSpec(rest.empty() ? rest : rest.substr(1));
    const Value& shown = converted.has_value() ? *converted : *value;
    const bool as_number = shown.IsNumber() && (shown.As<bool>() == nullptr || spec.type != '\0');
    if (spec.type == 's' && shown.IsNumber()) Fail("The format 's' needs a string.");
    if (!shown.IsNumber() && spec.type != '\0' && spec.type != 's') {
      Fail("A format for numbers got a " + shown.TypeName() + ".");
    }
    out += as_number ? FormatNumber(shown, spec) : FormatText(ToText(shown), spec, '<');
    if (out.size() > kMaxTextBytes) Fail("A text grows beyond 64 MiB.");
    at = end;
  }
  return out;
}

}  // namespace tessera::chat
