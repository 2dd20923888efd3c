#include "text/chat/lexer.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "base/hex_digit.h"
#include "text/chat/error.h"
#include "text/chat/text.h"

namespace tessera::chat {
namespace {

// Every newline becomes "\n", and the last one of the file is dropped.
std::string NormalizeNewlines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
      out += '\n';
    } else {
      out += source[i];
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

bool IsDigit(char c, int base) {
  const int value = HexDigit(c);
  return value >= 0 && value < base;
}

// The escapes of a Python string literal; unknown ones keep their backslash.
std::string Unescape(std::string_view raw, int line) {
  std::string out;
  size_t i = 0;
  const auto read = [&](size_t max_digits, int base, bool exact) {
    uint32_t value = 0;
    size_t count = 0;
    while (count < max_digits && i < raw.size() && IsDigit(raw[i], base)) {
      value = value * static_cast<uint32_t>(base) + static_cast<uint32_t>(HexDigit(raw[i++]));
      ++count;
    }
    if (exact && count != max_digits) {
      throw SyntaxError(line, "A string holds a truncated \\x, \\u or \\U escape.");
    }
    if (value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) {
      throw SyntaxError(line, "A string holds an escape that is not a Unicode character.");
    }
    AppendUtf8(static_cast<char32_t>(value), &out);
  };
  while (i < raw.size()) {
    const char c = raw[i++];
    if (c != '\\' || i == raw.size()) {
      out += c;
      continue;
    }
    const char escaped = raw[i++];
    static constexpr std::string_view kFrom = "abfnrtv\\'\"";
    static constexpr std::string_view kTo = "\a\b\f\n\r\t\v\\'\"";
    if (const size_t at = kFrom.find(escaped); at != std::string_view::npos) {
      out += kTo[at];
    } else if (escaped == 'x') {
      read(2, 16, true);
    } else if (escaped == 'u') {
      read(4, 16, true);
    } else if (escaped == 'U') {
      read(8, 16, true);
    } else if (escaped == 'N') {
      throw SyntaxError(line, "Named characters (\\N{...}) are not supported; use \\u.");
    } else if (escaped >= '0' && escaped <= '7') {
      --i;
      read(3, 8, false);
    } else if (escaped != '\n') {  // an escaped newline joins two lines
      out += '\\';
      out += escaped;
    }
  }
  return out;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(NormalizeNewlines(source)) {}

  std::vector<Token> Run() {
    while (position_ < source_.size()) LexText();
    Add(Token::Kind::kEnd);
    return std::move(tokens_);
  }

 private:
  std::string_view Rest() const { return std::string_view(source_).substr(position_); }
  bool At(std::string_view text) const { return Rest().starts_with(text); }

  Token& Add(Token::Kind kind, std::string text = {}) {
    tokens_.push_back({kind, line_, std::move(text)});
    return tokens_.back();
  }

  void Advance(size_t count) {
    const std::string_view passed = Rest().substr(0, count);
    line_ += static_cast<int>(std::count(passed.begin(), passed.end(), '\n'));
    position_ += passed.size();
    line_starting_ = !passed.empty() && passed.back() == '\n';
  }

  static size_t SpaceLength(std::string_view text) {
    return text.size() - Strip(text, nullptr, true, false).size();
  }

  // Emits the text before a tag, less what the tag's mark or lstrip_blocks takes away.
  void EmitText(size_t length, char mark, bool strips_blanks) {
    std::string_view text = Rest().substr(0, length);
    if (mark == '-') {
      text = Strip(text, nullptr, false, true);
    } else if (mark != '+' && strips_blanks) {
      const size_t newline = text.rfind('\n');
      const size_t start = newline == std::string_view::npos ? 0 : newline + 1;
      if ((start > 0 || line_starting_) &&
          Strip(text.substr(start), nullptr, true, false).empty()) {
        text = text.substr(0, start);
      }
    }
    if (!text.empty()) Add(Token::Kind::kText, std::string(text));
    Advance(length);
  }

  void LexText() {
    size_t length = 0;
    const std::string_view rest = Rest();
    for (;; ++length) {
      length = rest.find('{', length);
      if (length == std::string_view::npos || length + 1 >= rest.size()) {
        Add(Token::Kind::kText, std::string(rest));
        Advance(rest.size());
        return;
      }
      const char next = rest[length + 1];
      if (next == '%' || next == '{' || next == '#') break;
    }
    const char type = rest[length + 1];
    const char after = length + 2 < rest.size() ? rest[length + 2] : '\0';
    const char mark = after == '-' || after == '+' ? after : '\0';
    EmitText(length, mark, type != '{');
    if (type == '%') {
      if (const size_t raw = RawTagLength("raw", true); raw > 0) return LexRaw(raw);
    }
    if (type != '#') {
      Add(type == '%' ? Token::Kind::kBlockBegin : Token::Kind::kVariableBegin);
    }
    Advance(mark == '\0' ? 2 : 3);
    if (type == '#') {
      LexComment();
    } else {
      LexTag(type == '%');
    }
  }

  // The length of a {% raw %} or {% endraw %} tag here with the white space it takes; 0 if none.
  size_t RawTagLength(std::string_view word, bool begins) const {
    const std::string_view rest = Rest();
    if (!rest.starts_with("{%")) return 0;
    size_t at = 2;
    if (at < rest.size() && (rest[at] == '-' || rest[at] == '+')) ++at;
    at += SpaceLength(rest.substr(at));
    if (!rest.substr(at).starts_with(word)) return 0;
    at += word.size();
    at += SpaceLength(rest.substr(at));
    if (rest.substr(at).starts_with("-%}")) return at + 3 + SpaceLength(rest.substr(at + 3));
    if (!begins && rest.substr(at).starts_with("+%}")) return at + 3;
    if (!rest.substr(at).starts_with("%}")) return 0;
    at += 2;
    return !begins && rest.substr(at).starts_with("\n") ? at + 1 : at;
  }

  void LexRaw(size_t tag_length) {
    const int line = line_;
    Advance(tag_length);
    const size_t start = position_;
    for (size_t found = start; (found = source_.find("{%", found)) != std::string::npos; ++found) {
      position_ = found;
      const size_t end_length = RawTagLength("endraw", false);
      position_ = start;
      if (end_length == 0) continue;
      const char mark = source_[found + 2];
      EmitText(found - start, mark, true);
      Advance(end_length);
      return;
    }
    if (position_ == source_.size()) return;  // with nothing inside, Jinja lets it pass
    throw SyntaxError(line, "{% raw %} is never closed; add {% endraw %}.");
  }

  void LexComment() {
    const std::string_view rest = Rest();
    const size_t end = rest.find("#}");
    if (rest.empty()) return;  // at the very end, Jinja lets it pass
    if (end == std::string_view::npos) {
      throw SyntaxError(line_, "A comment is never closed; add '#}'.");
    }
    size_t length = end + 2;
    const char mark = end > 0 ? rest[end - 1] : '\0';
    if (mark == '-') {
      length += SpaceLength(rest.substr(length));
    } else if (mark != '+' && rest.substr(length).starts_with("\n")) {
      ++length;
    }
    Advance(length);
  }

  // Everything up to and with the end of a {{ }} or {% %} tag.
  void LexTag(bool block) {
    const int line = line_;
    std::string open;  // the closing brackets that are still due
    while (true) {
      Advance(SpaceLength(Rest()));
      if (position_ == source_.size()) {
        throw SyntaxError(line, block ? "A tag is never closed; add '%}'."
                                      : "An expression is never closed; add '}}'.");
      }
      if (open.empty() && LexTagEnd(block)) return;
      LexToken(&open);
    }
  }

  bool LexTagEnd(bool block) {
    const std::string_view end = block ? "%}" : "}}";
    const bool plus = block && At("+%}");
    const bool minus = At("-") && Rest().substr(1).starts_with(end);
    if (!plus && !minus && !At(end)) return false;
    Add(block ? Token::Kind::kBlockEnd : Token::Kind::kVariableEnd);
    size_t length = plus || minus ? 3 : 2;
    if (minus) {
      length += SpaceLength(Rest().substr(length));
    } else if (block && !plus && Rest().substr(length).starts_with("\n")) {
      ++length;
    }
    Advance(length);
    return true;
  }

  void LexToken(std::string* open) {
    const char c = source_[position_];
    if (c >= '0' && c <= '9') return LexNumber();
    if (c == '\'' || c == '"') return LexString(c);
    size_t length = 0;
    const std::string_view rest = Rest();
    for (size_t next = 0; next < rest.size() && IsWord(NextCodePoint(rest, &next));) length = next;
    if (length > 0) {
      Add(Token::Kind::kName, std::string(rest.substr(0, length)));
      Advance(length);
      return;
    }
    static constexpr std::string_view kOperators[] = {
        "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
        "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};
    for (const std::string_view op : kOperators) {
      if (!At(op)) continue;
      Balance(op, open);
      Add(Token::Kind::kOperator, std::string(op));
      Advance(op.size());
      return;
    }
    size_t next = 0;
    NextCodePoint(rest, &next);
    throw SyntaxError(line_, "Unexpected character '" + std::string(rest.substr(0, next)) + "'.");
  }

  void Balance(std::string_view op, std::string* open) const {
    static constexpr std::string_view kOpening = "([{";
    static constexpr std::string_view kClosing = ")]}";
    if (op.size() != 1) return;
    if (const size_t at = kOpening.find(op[0]); at != std::string_view::npos) {
      *open += kClosing[at];
    } else if (kClosing.find(op[0]) != std::string_view::npos) {
      if (open->empty() || open->back() != op[0]) {
        throw SyntaxError(line_,
                          "Unexpected '" + std::string(op) + "'" +
                              (open->empty() ? std::string(".")
                                             : std::string(", expected '") + open->back() + "'."));
      }
      open->pop_back();
    }
  }

  void LexString(char quote) {
    size_t end = position_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) throw SyntaxError(line_, "A string is never closed.");
    const std::string_view raw =
        std::string_view(source_).substr(position_ + 1, end - position_ - 1);
    Add(Token::Kind::kString, Unescape(raw, line_));
    Advance(end + 1 - position_);
  }

  // Digits of `base` from `at`, single underscores between them; returns their end.
  size_t DigitsEnd(size_t at, int base) const {
    const auto digit = [&](size_t i) { return i < source_.size() && IsDigit(source_[i], base); };
    while (digit(at) || (at < source_.size() && source_[at] == '_' && digit(at + 1))) ++at;
    return at;
  }

  void LexNumber() {
    const size_t start = position_;
    const size_t whole = DigitsEnd(start, 10);
    size_t end = whole;
    const bool after_dot = start > 0 && source_[start - 1] == '.';
    if (!after_dot) {
      const auto digit = [&](size_t i) { return i < source_.size() && IsDigit(source_[i], 10); };
      if (end < source_.size() && source_[end] == '.' && digit(end + 1)) {
        end = DigitsEnd(end + 1, 10);
      }
      if (end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
        size_t exponent = end + 1;
        if (exponent < source_.size() && (source_[exponent] == '+' || source_[exponent] == '-')) {
          ++exponent;
        }
        if (digit(exponent)) end = DigitsEnd(exponent, 10);
      }
    }
    if (end > whole) {
      std::string digits = source_.substr(start, end - start);
      std::erase(digits, '_');
      Add(Token::Kind::kFloat).number = std::strtod(digits.c_str(), nullptr);
      Advance(end - start);
      return;
    }
    LexInteger(whole);
  }

  void LexInteger(size_t end) {
    size_t first = position_;
    int base = 10;
    if (source_[first] == '0' && first + 1 < source_.size()) {
      const char letter = static_cast<char>(source_[first + 1] | 0x20);
      const int wanted = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 10;
      const size_t prefixed = DigitsEnd(first + 2, wanted);
      if (wanted != 10 && prefixed > first + 2) {
        base = wanted;
        first += 2;
        end = prefixed;
      }
    }
    std::string digits = source_.substr(first, end - first);
    std::erase(digits, '_');
    if (base == 10 && digits.size() > 1 && digits[0] == '0' &&
        digits.find_first_not_of('0') != std::string::npos) {
      throw SyntaxError(line_, "The number " + digits + " must not start with 0.");
    }
    int64_t value = 0;
    const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
    if (parsed.ec != std::errc()) {
      throw SyntaxError(line_, "The number " + digits + " does not fit into 64 bits.");
    }
    Add(Token::Kind::kInteger).integer = value;
    Advance(end - position_);
  }

  std::string source_;
  size_t position_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> Tokenize(std::string_view source) { return Lexer(source).Run(); }

}  // namespace tessera::chat
