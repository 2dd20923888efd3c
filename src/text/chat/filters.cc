#include "text/chat/filters.h"

#include <charconv>
#include <cmath>
#include <cstdlib>

#include "text/chat/error.h"
#include "text/chat/format.h"
#include "text/chat/text.h"

namespace tessera::chat {
namespace {

void RequireDefined(const Value& value) {
  if (const Undefined* undefined = value.As<Undefined>()) Fail(*undefined->why);
}

template <std::string (*kConvert)(std::string_view)>
Value Convert(Interpreter* interpreter, const Value& value, const Arguments& arguments) {
  const BoundArguments bound("This filter", arguments, {});
  return interpreter->MakeText(kConvert(ToText(value)), value.IsSafeText());
}

// Every word's first character in upper case; words end at white space and at ( { [ < -.
std::string TitleWords(std::string_view text) {
  std::string out;
  std::string word;
  const auto flush = [&] {
    if (word.empty()) return;
    size_t first = 0;
    NextCodePoint(word, &first);
    out += ToUpper(std::string_view(word).substr(0, first));
    out += ToLower(std::string_view(word).substr(first));
    word.clear();
  };
  for (size_t at = 0; at < text.size();) {
    const size_t start = at;
    const char32_t c = NextCodePoint(text, &at);
    if (c == '-' || c == '(' || c == '{' || c == '[' || c == '<' || IsSpace(c)) {
      flush();
      out += text.substr(start, at - start);
    } else {
      word += text.substr(start, at - start);
    }
  }
  flush();
  return out;
}

Value Trim(Interpreter* interpreter, const Value& value, const Arguments& arguments) {
  const BoundArguments bound("trim", arguments, {"chars"});
  const std::string text = ToText(value);
  if (bound[0] == nullptr || bound[0]->IsNone()) {
    return interpreter->MakeText(std::string(Strip(text, nullptr, true, true)), value.IsSafeText());
  }
  const std::string chars = bound.Text(0, "");
  const std::string_view view = chars;
  return interpreter->MakeText(std::string(Strip(text, &view, true, true)), value.IsSafeText());
}

Value Replace(Interpreter* interpreter, const Value& value, const Arguments& arguments) {
  const BoundArguments bound("replace", arguments, {"old", "new", "count"}, 2);
  const int64_t count = bound[2] == nullptr || bound[2]->IsNone() ? -1 : bound.Integer(2, -1);
  return interpreter->MakeText(
      ReplaceAll(ToText(value), ToText(*bound[0]), ToText(*bound[1]), count));
}

Value Default(Interpreter*, const Value& value, const Arguments& arguments) {
  const BoundArguments bound("default", arguments, {"default_value", "boolean"});
  if (value.IsUndefined() || (bound.Flag(1, false) && !value.IsTruthy())) {
    return bound[0] == nullptr ? Value(std::string()) : *bound[0];
  }
  return value;
}

// A number as Python's float() reads it; nothing if it is none.
std::optional<double> ParseFloat(std::string_view text) {
  std::string digits(Strip(text, nullptr, true, true));
  if (digits.find_first_of("xXpP(") != std::string::npos) return std::nullopt;
  for (size_t i = 0; i < digits.size(); ++i) {
    const auto is_digit = [&](size_t at) {
      return at < digits.size() && digits[at] >= '0' && digits[at] <= '9';
    };
    if (digits[i] == '_' && (i == 0 || !is_digit(i - 1) || !is_digit(i + 1))) return std::nullopt;
  }
  std::erase(digits, '_');
  if (digits.empty()) return std::nullopt;
  char* end = nullptr;
  const double number = std::strtod(digits.c_str(), &end);
  if (end != digits.c_str() + digits.size()) return std::nullopt;
  return number;
}

std::optional<int64_t> ParseInt(std::string_view text, int64_t base) {
  std::string digits(Strip(text, nullptr, true, true));
  bool negative = false;
  if (!digits.empty() && (digits[0] == '-' || digits[0] == '+')) {
    negative = digits[0] == '-';
    digits.erase(0, 1);
  }
  const std::string prefix = ToLower(digits.substr(0, 2));
  const int64_t prefix_base = prefix == "0x" ? 16 : prefix == "0o" ? 8 : prefix == "0b" ? 2 : 0;
  if (prefix_base != 0 && (base == prefix_base || base == 0)) {
    digits.erase(0, 2);
    base = prefix_base;
  }
  if (base == 0) base = 10;
  if (base < 2 || base > 36) Fail("int() needs a base from 2 to 36.");
  if (digits.empty() || digits.front() == '_' || digits.back() == '_' || digits.front() == '-' ||
      digits.find("__") != std::string::npos) {
    return std::nullopt;
  }
  std::erase(digits, '_');
  if (negative) digits.insert(0, "-");
  int64_t number = 0;
  const char* end = digits.data() + digits.size();
  const auto parsed = std::from_chars(digits.data(), end, number, static_cast<int>(base));
  if (parsed.ptr != end || parsed.ec == std::errc::invalid_argument) return std::nullopt;
  if (parsed.ec != std::errc()) Fail("The number " + digits + " does not fit into 64 bits.");
  return number;
}

std::optional<int64_t> Truncate(double number) {
  if (!std::isfinite(number)) return std::nullopt;
  if (std::abs(number) >= 9223372036854775808.0) Fail("An integer grows beyond 64 bits.");
  return static_cast<int64_t>(number);
}

Value Int(Interpreter*, const Value& value, const Arguments& arguments) {
  RequireDefined(value);
  const BoundArguments bound("int", arguments, {"default", "base"});
  std::optional<int64_t> number;
  if (value.IsText()) {
    number = ParseInt(value.text(), bound.Integer(1, 10));
    const std::optional<double> real = ParseFloat(value.text());
    if (!number.has_value() && real.has_value()) number = Truncate(*real);
  } else if (value.IsInteger()) {
    number = value.integer();
  } else if (value.IsNumber()) {
    number = Truncate(value.number());
    if (!number.has_value() && std::isinf(value.number())) Fail("Infinity is not an integer.");
  }
  if (number.has_value()) return Value(*number);
  return bound[0] == nullptr ? Value(int64_t{0}) : *bound[0];
}

Value Float(Interpreter*, const Value& value, const Arguments& arguments) {
  RequireDefined(value);
  const BoundArguments bound("float", arguments, {"default"});
  if (value.IsNumber()) return Value(value.number());
  if (value.IsText()) {
    if (const std::optional<double> number = ParseFloat(value.text())) return Value(*number);
  }
  return bound[0] == nullptr ? Value(0.0) : *bound[0];
}

Value Round(Interpreter*, const Value& value, const Arguments& arguments) {
  const BoundArguments bound("round", arguments, {"precision", "method"});
  const int64_t precision = bound.Integer(0, 0);
  const std::string method = bound.Text(1, "common");
  if (!value.IsNumber())
    Fail("round needs a number, got a value of type " + value.TypeName() + ".");
  if (method != "common" && method != "ceil" && method != "floor") {
    Fail("The method of round must be common, ceil or floor.");
  }
  if (precision < -300 || precision > 300) Fail("The precision of round is out of range.");
  const double number = value.number();
  const double scale = std::pow(10.0, static_cast<double>(precision));
  if (method == "ceil") return Value(std::ceil(number * scale) / scale);
  if (method == "floor") return Value(std::floor(number * scale) / scale);
  if (value.IsInteger() && precision >= 0) return Value(value.integer());
  if (!std::isfinite(number)) return value;
  if (precision < 0) {
    const double rounded = std::nearbyint(number * scale) / scale;
    return value.IsInteger() ? Value(static_cast<int64_t>(rounded)) : Value(rounded);
  }
  // Correct rounding of the exact binary value, half to even, as Python's round().
  char buffer[1024];
  const auto written = std::to_chars(buffer, buffer + sizeof(buffer), number,
                                     std::chars_format::fixed, static_cast<int>(precision));
  *written.ptr = '\0';
  return Value(std::strtod(buffer, nullptr));
}

Value Abs(Interpreter* interpreter, const Value& value, const Arguments&) {
  RequireDefined(value);
  if (!value.IsNumber()) Fail("abs needs a number, got a value of type " + value.TypeName() + ".");
  if (!value.IsInteger()) return Value(std::abs(value.number()));
  return BinaryOperation(interpreter, value.integer() < 0 ? "neg" : "pos", value, Value());
}

Value Json(Interpreter* interpreter, const Value& value, const Arguments& arguments) {
  const BoundArguments bound("tojson", arguments,
                             {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.ensure_ascii = bound.Flag(0, false);
  style.sort_keys = bound.Flag(3, false);
  if (bound[1] != nullptr && !bound[1]->IsNone()) {
    if (bound[1]->IsText()) {
      style.indent = bound[1]->text();
    } else {
      const int64_t width = bound.Integer(1, 0);
      if (width > 1000) Fail("tojson indents by at most 1000 blanks.");
      style.indent = std::string(static_cast<size_t>(std::max<int64_t>(width, 0)), ' ');
    }
    style.item_separator = ",";
  }
  if (bound[2] != nullptr && !bound[2]->IsNone()) {
    const std::vector<Value> separators = Iterate(interpreter, *bound[2]);
    if (separators.size() != 2 || !separators[0].IsText() || !separators[1].IsText()) {
      Fail("The separators of tojson must be two strings.");
    }
    style.item_separator = separators[0].text();
    style.key_separator = separators[1].text();
  }
  return interpreter->MakeText(ToJson(value, style));
}

Value Indent(Interpreter* interpreter, const Value& value, const Arguments& arguments) {
  const BoundArguments bound("indent", arguments, {"width", "first", "blank"});
  if (!value.IsText()) Fail("indent needs a string, got a value of type " + value.TypeName() + ".");
  std::string indention = bound[0] != nullptr && bound[0]->IsText() ? bound[0]->text() : "";
  if (bound[0] == nullptr || !bound[0]->IsText()) {
    const int64_t width = bound.Integer(0, 4);
    if (width > 10'000) Fail("indent goes up to 10000 blanks.");
    indention.assign(static_cast<size_t>(std::max<int64_t>(width, 0)), ' ');
  }
  std::string out = bound.Flag(1, false) ? indention : "";
  bool first = true;
  for (const std::string& line : SplitLines(value.text() + "\n", false)) {
    if (!first) out += '\n';
    if (!first && (bound.Flag(2, false) || !line.empty())) out += indention;
    first = false;
    out += line;
    if (out.size() > kMaxTextBytes) Fail("A text grows beyond 64 MiB.");
  }
  return interpreter->MakeText(std::move(out), value.IsSafeText());
}

Value WordCount(Interpreter*, const Value& value, const Arguments&) {
  int64_t count = 0;
  bool in_word = false;
  for (const char32_t c : Decode(ToText(value))) {
    count += IsWord(c) && !in_word ? 1 : 0;
    in_word = IsWord(c);
  }
  return Value(count);
}

Value Format(Interpreter* interpreter, const Value& value, const Arguments& arguments) {
  if (!arguments.positional.empty() && !arguments.keywords.empty()) {
    Fail("format takes positional or named arguments, not both.");
  }
  if (arguments.keywords.empty()) {
    return interpreter->MakeText(
        PercentFormat(ToText(value), Value::MakeTuple(arguments.positional)));
  }
  std::vector<Dict::Entry> entries;
  for (const auto& [name, item] : arguments.keywords) entries.emplace_back(Value(name), item);
  return interpreter->MakeText(PercentFormat(ToText(value), MakeDict(std::move(entries))));
}

Value UrlEncode(Interpreter* interpreter, const Value& value, const Arguments&) {
  if (value.dict() != nullptr || value.sequence() != nullptr) {
    Fail("urlencode needs plain text; pairs are not supported.");
  }
  std::string out;
  for (const char c : ToText(value)) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("_.-~/").find(c) != std::string_view::npos;
    static constexpr const char* kHex = "0123456789ABCDEF";
    const auto byte = static_cast<unsigned char>(c);
    out += plain ? std::string(1, c) : std::string{'%', kHex[byte >> 4], kHex[byte & 15]};
  }
  return interpreter->MakeText(std::move(out));
}

Value Escape(Interpreter* interpreter, const Value& value, const Arguments&) {
  if (value.IsSafeText()) return value;
  return interpreter->MakeText(EscapeHtml(ToText(value)), true);
}

Value Attr(Interpreter*, const Value& value, const Arguments& arguments) {
  const BoundArguments bound("attr", arguments, {"name"}, 1);
  RequireDefined(value);
  if (std::optional<Value> member = FindMember(value, bound.Text(0, ""))) return *member;
  return Value::MakeUndefined("The attribute '" + bound.Text(0, "") + "' is undefined.");
}

struct Entry {
  const char* name;
  FilterFunction function;
};

constexpr Entry kFilters[] = {
    {"upper", Convert<ToUpper>},
    {"lower", Convert<ToLower>},
    {"title", Convert<TitleWords>},
    {"capitalize", Convert<Capitalize>},
    {"trim", Trim},
    {"replace", Replace},
    {"default", Default},
    {"d", Default},
    {"int", Int},
    {"float", Float},
    {"round", Round},
    {"abs", Abs},
    {"tojson", Json},
    {"indent", Indent},
    {"wordcount", WordCount},
    {"format", Format},
    {"urlencode", UrlEncode},
    {"escape", Escape},
    {"e", Escape},
    {"attr", Attr},
    {"string",
     [](Interpreter* interpreter, const Value& value, const Arguments&) {
       return value.IsText() ? value : interpreter->MakeText(ToText(value));
     }},
    {"safe", [](Interpreter* interpreter, const Value& value,
                const Arguments&) { return interpreter->MakeText(ToText(value), true); }},
};

}  // namespace

FilterFunction FindFilter(std::string_view name) {
  for (const Entry& entry : kFilters) {
    if (entry.name == name) return entry.function;
  }
  return FindSequenceFilter(name);
}

Value Interpreter::Filter(const std::string& name, const Value& operand,
                          const Arguments& arguments) {
  const FilterFunction function = FindFilter(name);
  if (function == nullptr) Fail("The filter '" + name + "' is unknown.");
  Charge(operand.IsText() ? static_cast<int64_t>(operand.text().size() / 16) + 1 : 1);
  return function(this, operand, arguments);
}

}  // namespace tessera::chat
