#include "text/chat/format.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "text/chat/error.h"
#include "text/chat/text.h"

namespace tessera::chat {
namespace {

void CheckSize(const std::string& text) {
  if (text.size() > kMaxTextBytes) Fail("A text grows beyond 64 MiB.");
}

std::string Hex(char32_t c, const char* format) {
  char buffer[16];
  std::snprintf(buffer, sizeof(buffer), format, static_cast<unsigned>(c));
  return buffer;
}

void AppendQuoted(std::string_view text, std::string* out) {
  const bool double_quotes =
      text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos;
  const char quote = double_quotes ? '"' : '\'';
  *out += quote;
  for (size_t i = 0; i < text.size();) {
    const char32_t c = NextCodePoint(text, &i);
    if (c == static_cast<char32_t>(quote) || c == '\\') {
      *out += '\\';
      *out += static_cast<char>(c);
    } else if (c == '\n') {
      *out += "\\n";
    } else if (c == '\r') {
      *out += "\\r";
    } else if (c == '\t') {
      *out += "\\t";
    } else if (IsPrintable(c)) {
      AppendUtf8(c, out);
    } else {
      *out += Hex(c, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x");
    }
  }
  *out += quote;
}

void AppendRepr(const Value& value, std::string* out);

void AppendItems(const std::vector<Value>& items, std::string* out) {
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) *out += ", ";
    AppendRepr(items[i], out);
    CheckSize(*out);
  }
}

void AppendSequence(const Sequence& sequence, std::string* out) {
  using Kind = Sequence::Kind;
  switch (sequence.kind) {
    case Kind::kTuple:
      *out += '(';
      AppendItems(sequence.items, out);
      *out += sequence.items.size() == 1 ? ",)" : ")";
      return;
    case Kind::kRange:
      *out += "range(" + std::to_string(sequence.start) + ", " + std::to_string(sequence.stop);
      if (sequence.step != 1) *out += ", " + std::to_string(sequence.step);
      *out += ')';
      return;
    case Kind::kIterator:
      *out += "<generator object>";
      return;
    default:
      break;
  }
  const bool is_list = sequence.kind == Kind::kList;
  if (!is_list)
    *out += Value(std::make_shared<Sequence>(sequence.kind, std::vector<Value>())).TypeName() + "(";
  *out += '[';
  AppendItems(sequence.items, out);
  *out += is_list ? "]" : "])";
}

void AppendRepr(const Value& value, std::string* out) {
  if (value.IsUndefined()) {
    *out += "Undefined";
  } else if (value.IsSafeText()) {
    *out += "Markup(";
    AppendQuoted(value.text(), out);
    *out += ')';
  } else if (value.IsText()) {
    AppendQuoted(value.text(), out);
  } else if (value.sequence() != nullptr) {
    AppendSequence(*value.sequence(), out);
  } else if (const Dict* dict = value.dict()) {
    *out += '{';
    bool first = true;
    for (const auto& [key, item] : dict->entries()) {
      if (!first) *out += ", ";
      first = false;
      AppendRepr(key, out);
      *out += ": ";
      AppendRepr(item, out);
      CheckSize(*out);
    }
    *out += '}';
  } else {
    *out += ToText(value);
  }
}

std::string JsonString(std::string_view text, bool ascii) {
  std::string out = "\"";
  for (size_t i = 0; i < text.size();) {
    const char32_t c = NextCodePoint(text, &i);
    static constexpr std::string_view kFrom = "\"\\\n\r\t\b\f";
    static constexpr std::string_view kTo = "\"\\nrtbf";
    const size_t at = c < 0x80 ? kFrom.find(static_cast<char>(c)) : std::string_view::npos;
    if (at != std::string_view::npos) {
      out += '\\';
      out += kTo[at];
    } else if (c < 0x20 || (ascii && c >= 0x7F && c < 0x10000)) {
      out += Hex(c, "\\u%04x");
    } else if (ascii && c >= 0x10000) {
      out += Hex(0xD800 + ((c - 0x10000) >> 10), "\\u%04x");
      out += Hex(0xDC00 + ((c - 0x10000) & 0x3FF), "\\u%04x");
    } else {
      AppendUtf8(c, &out);
    }
  }
  return out + '"';
}

class JsonWriter {
 public:
  explicit JsonWriter(const JsonStyle& style) : style_(style) {}

  void Write(const Value& value) {
    CheckSize(out_);
    if (value.IsNone()) {
      out_ += "null";
    } else if (const bool* flag = value.As<bool>()) {
      out_ += *flag ? "true" : "false";
    } else if (const double* real = value.As<double>()) {
      out_ += std::isnan(*real)   ? "NaN"
              : std::isinf(*real) ? (*real > 0 ? "Infinity" : "-Infinity")
                                  : FloatText(*real);
    } else if (value.IsInteger()) {
      out_ += std::to_string(value.integer());
    } else if (value.IsText()) {
      out_ += JsonString(value.text(), style_.ensure_ascii);
    } else if (const Sequence* items = value.sequence();
               items != nullptr && items->kind <= Sequence::Kind::kTuple) {
      Open('[');
      for (const Value& item : items->items) {
        Next();
        Write(item);
      }
      Close(']', items->items.empty());
    } else if (value.dict() != nullptr) {
      WriteDict(*value.dict());
    } else {
      Fail("A value of type " + value.TypeName() + " cannot be written as JSON" +
           (value.IsUndefined() ? ": " + *value.As<Undefined>()->why : "."));
    }
  }

  std::string Take() { return std::move(out_); }

 private:
  void WriteDict(const Dict& dict) {
    std::vector<Dict::Entry> entries = dict.entries();
    if (style_.sort_keys) {
      std::stable_sort(entries.begin(), entries.end(),
                       [](const auto& a, const auto& b) { return Less(a.first, b.first); });
    }
    Open('{');
    for (const auto& [key, item] : entries) {
      Next();
      if (key.IsText()) {
        Write(key);
      } else if (key.IsNone() || key.IsNumber()) {
        out_ += '"';
        Write(key);
        out_ += '"';
      } else {
        Fail("A dict key of type " + key.TypeName() + " cannot be written as JSON.");
      }
      out_ += style_.key_separator;
      Write(item);
    }
    Close('}', entries.empty());
  }

  void Open(char bracket) {
    out_ += bracket;
    ++level_;
    first_ = true;
  }
  void Next() {
    if (!first_) out_ += style_.item_separator;
    first_ = false;
    NewLine();
  }
  void Close(char bracket, bool empty) {
    --level_;
    first_ = false;
    if (!empty) NewLine();
    out_ += bracket;
  }
  void NewLine() {
    if (!style_.indent.has_value()) return;
    out_ += '\n';
    for (int i = 0; i < level_; ++i) out_ += *style_.indent;
  }

  const JsonStyle& style_;
  std::string out_;
  int level_ = 0;
  bool first_ = true;
};

}  // namespace

std::string FloatText(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char buffer[64];
  const auto written =
      std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::scientific);
  const std::string text(buffer, written.ptr);
  const size_t e = text.find('e');
  const int exponent = std::atoi(text.c_str() + e + 1);
  if (exponent < -4 || exponent >= 16) return text;
  std::string sign = text[0] == '-' ? "-" : "";
  std::string digits = text.substr(sign.size(), e - sign.size());
  std::erase(digits, '.');
  if (exponent < 0)
    return sign + "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  const auto whole = static_cast<size_t>(exponent) + 1;
  if (digits.size() <= whole) return sign + digits + std::string(whole - digits.size(), '0') + ".0";
  return sign + digits.substr(0, whole) + "." + digits.substr(whole);
}

std::string ToText(const Value& value) {
  if (value.IsText()) return value.text();
  if (value.IsUndefined()) return "";
  if (value.IsNone()) return "None";
  if (const bool* flag = value.As<bool>()) return *flag ? "True" : "False";
  if (value.IsInteger()) return std::to_string(value.integer());
  if (const double* real = value.As<double>()) return FloatText(*real);
  if (value.sequence() != nullptr || value.dict() != nullptr) return Repr(value);
  if (const auto* function = value.As<std::shared_ptr<const Callable>>()) {
    return "<function '" + (*function)->name() + "'>";
  }
  return "<" + value.TypeName() + ">";
}

std::string Repr(const Value& value) {
  std::string out;
  AppendRepr(value, &out);
  return out;
}

std::string EscapeHtml(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '\'':
        out += "&#39;";
        break;
      case '"':
        out += "&#34;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string ToJson(const Value& value, const JsonStyle& style) {
  JsonWriter writer(style);
  writer.Write(value);
  return writer.Take();
}

}  // namespace tessera::chat
