#include "text/chat/text.h"

#include <utf8proc.h>

#include <algorithm>

namespace tessera::chat {
namespace {

utf8proc_category_t Category(char32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

// Characters whose upper case is more than one character; utf8proc maps one to one.
struct Expansion {
  char32_t from;
  const char* upper;
  const char* title;
};
constexpr Expansion kExpansions[] = {
    {0x00DF, "SS", "Ss"},           {0x0149, "\u02BCN", "\u02BCN"},
    {0x01F0, "J\u030C", "J\u030C"}, {0x0587, "\u0535\u0552", "\u0535\u0582"},
    {0xFB00, "FF", "Ff"},           {0xFB01, "FI", "Fi"},
    {0xFB02, "FL", "Fl"},           {0xFB03, "FFI", "Ffi"},
    {0xFB04, "FFL", "Ffl"},         {0xFB05, "ST", "St"},
    {0xFB06, "ST", "St"},
};

const Expansion* FindExpansion(char32_t c) {
  for (const Expansion& expansion : kExpansions) {
    if (expansion.from == c) return &expansion;
  }
  return nullptr;
}

void AppendUpper(char32_t c, std::string* out) {
  if (const Expansion* expansion = FindExpansion(c)) {
    *out += expansion->upper;
  } else {
    AppendUtf8(static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c))), out);
  }
}

void AppendTitle(char32_t c, std::string* out) {
  if (const Expansion* expansion = FindExpansion(c)) {
    *out += expansion->title;
  } else {
    AppendUtf8(static_cast<char32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(c))), out);
  }
}

bool IsCased(char32_t c) {
  return IsLowerCase(c) || IsUpperCase(c) || Category(c) == UTF8PROC_CATEGORY_LT;
}

// Characters that do not separate a sigma from its word (Unicode's Case_Ignorable, in short).
bool IsCaseIgnorable(char32_t c) {
  const utf8proc_category_t category = Category(c);
  return c == '\'' || c == '.' || c == ':' || c == 0xB7 || c == 0x2019 ||
         category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_ME ||
         category == UTF8PROC_CATEGORY_CF || category == UTF8PROC_CATEGORY_LM ||
         category == UTF8PROC_CATEGORY_SK;
}

// The capital sigma becomes the final form at the end of a word.
bool IsFinalSigma(std::u32string_view text, size_t at) {
  size_t before = at;
  while (before > 0 && IsCaseIgnorable(text[before - 1])) --before;
  if (before == 0 || !IsCased(text[before - 1])) return false;
  size_t after = at + 1;
  while (after < text.size() && IsCaseIgnorable(text[after])) ++after;
  return after == text.size() || !IsCased(text[after]);
}

void AppendLower(std::u32string_view text, size_t at, std::string* out) {
  const char32_t c = text[at];
  if (c == 0x03A3) {
    AppendUtf8(IsFinalSigma(text, at) ? 0x03C2 : 0x03C3, out);
  } else if (c == 0x0130) {
    *out += "i\u0307";
  } else {
    AppendUtf8(static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))), out);
  }
}

}  // namespace

char32_t NextCodePoint(std::string_view text, size_t* position) {
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data()) + *position;
  const unsigned char first = *bytes;
  if (first < 0x80) {
    ++*position;
    return first;
  }
  utf8proc_int32_t code_point = -1;
  const auto length = static_cast<utf8proc_ssize_t>(std::min<size_t>(4, text.size() - *position));
  const utf8proc_ssize_t used = utf8proc_iterate(bytes, length, &code_point);
  if (used <= 0 || code_point < 0) {
    ++*position;
    return 0xDC00U + first;
  }
  *position += static_cast<size_t>(used);
  return static_cast<char32_t>(code_point);
}

void AppendUtf8(char32_t code_point, std::string* out) {
  if (code_point < 0x80) {
    *out += static_cast<char>(code_point);
    return;
  }
  if (code_point >= 0xDC80 && code_point <= 0xDCFF) {
    *out += static_cast<char>(code_point - 0xDC00);
    return;
  }
  utf8proc_uint8_t buffer[4];
  const utf8proc_ssize_t length =
      utf8proc_encode_char(static_cast<utf8proc_int32_t>(code_point), buffer);
  out->append(reinterpret_cast<const char*>(buffer), static_cast<size_t>(length));
}

std::u32string Decode(std::string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (size_t position = 0; position < text.size();) out += NextCodePoint(text, &position);
  return out;
}

std::string Encode(std::u32string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char32_t c : text) AppendUtf8(c, &out);
  return out;
}

int64_t CodePointCount(std::string_view text) {
  int64_t count = 0;
  for (size_t position = 0; position < text.size(); ++count) NextCodePoint(text, &position);
  return count;
}

bool IsValidUtf8(std::string_view text) {
  for (size_t position = 0; position < text.size();) {
    const char32_t c = NextCodePoint(text, &position);
    if (c >= 0xD800 && c <= 0xDFFF) return false;
  }
  return true;
}

bool IsSpace(char32_t c) {
  return (c >= 9 && c <= 13) || (c >= 28 && c <= 32) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

bool IsAlpha(char32_t c) {
  const utf8proc_category_t category = Category(c);
  return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}

bool IsDecimal(char32_t c) { return Category(c) == UTF8PROC_CATEGORY_ND; }

// Decimal digits and the superscripts, subscripts and circled digits that Python counts too.
bool IsDigit(char32_t c) {
  return IsDecimal(c) || c == 0xB2 || c == 0xB3 || c == 0xB9 || c == 0x2070 ||
         (c >= 0x2074 && c <= 0x2079) || (c >= 0x2080 && c <= 0x2089) ||
         (c >= 0x2460 && c <= 0x2468) || (c >= 0x2474 && c <= 0x247C) ||
         (c >= 0x2488 && c <= 0x2490);
}

bool IsNumeric(char32_t c) {
  const utf8proc_category_t category = Category(c);
  return category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO;
}

bool IsLowerCase(char32_t c) {
  return Category(c) == UTF8PROC_CATEGORY_LL || c == 0xAA || c == 0xBA;
}

bool IsUpperCase(char32_t c) { return Category(c) == UTF8PROC_CATEGORY_LU; }

bool IsPrintable(char32_t c) {
  if (c == ' ') return true;
  const utf8proc_category_t category = Category(c);
  return category != UTF8PROC_CATEGORY_CN && category < UTF8PROC_CATEGORY_ZS;
}

bool IsWord(char32_t c) { return c == '_' || IsAlpha(c) || IsNumeric(c); }

std::string ToUpper(std::string_view text) {
  std::string out;
  for (size_t position = 0; position < text.size();) {
    AppendUpper(NextCodePoint(text, &position), &out);
  }
  return out;
}

std::string ToLower(std::string_view text) {
  const std::u32string points = Decode(text);
  std::string out;
  for (size_t i = 0; i < points.size(); ++i) AppendLower(points, i, &out);
  return out;
}

std::string Capitalize(std::string_view text) {
  const std::u32string points = Decode(text);
  std::string out;
  for (size_t i = 0; i < points.size(); ++i) {
    if (i == 0) {
      AppendTitle(points[0], &out);
    } else {
      AppendLower(points, i, &out);
    }
  }
  return out;
}

std::string TitleCase(std::string_view text) {
  const std::u32string points = Decode(text);
  std::string out;
  bool in_word = false;
  for (size_t i = 0; i < points.size(); ++i) {
    if (in_word) {
      AppendLower(points, i, &out);
    } else {
      AppendTitle(points[i], &out);
    }
    in_word = IsCased(points[i]);
  }
  return out;
}

std::string_view Strip(std::string_view text, const std::string_view* chars, bool left,
                       bool right) {
  const std::u32string set = chars == nullptr ? std::u32string() : Decode(*chars);
  const auto strips = [&](char32_t c) {
    return chars == nullptr ? IsSpace(c) : set.find(c) != std::u32string::npos;
  };
  while (left && !text.empty()) {
    size_t next = 0;
    if (!strips(NextCodePoint(text, &next))) break;
    text.remove_prefix(next);
  }
  while (right && !text.empty()) {
    size_t start = text.size() - 1;
    while (start > 0 && text.size() - start < 4 && (text[start] & 0xC0) == 0x80) --start;
    size_t next = start;
    char32_t c = NextCodePoint(text, &next);
    if (next != text.size()) {  // a stray byte of broken UTF-8 stands for itself
      start = text.size() - 1;
      c = 0xDC00U + static_cast<unsigned char>(text[start]);
    }
    if (!strips(c)) break;
    text.remove_suffix(text.size() - start);
  }
  return text;
}

std::vector<std::string> SplitLines(std::string_view text, bool keep_ends) {
  std::vector<std::string> lines;
  size_t start = 0;
  for (size_t position = 0; position < text.size();) {
    const size_t end = position;
    const char32_t c = NextCodePoint(text, &position);
    const bool breaks =
        (c >= 10 && c <= 13) || (c >= 28 && c <= 30) || c == 0x85 || c == 0x2028 || c == 0x2029;
    if (!breaks) continue;
    if (c == '\r' && position < text.size() && text[position] == '\n') ++position;
    lines.emplace_back(text.substr(start, (keep_ends ? position : end) - start));
    start = position;
  }
  if (start < text.size()) lines.emplace_back(text.substr(start));
  return lines;
}

std::string ReplaceAll(std::string_view text, std::string_view from, std::string_view to,
                       int64_t max_count) {
  std::string out;
  if (from.empty()) {  // between all characters, as Python does
    size_t position = 0;
    for (int64_t count = 0; max_count < 0 || count < max_count; ++count) {
      out += to;
      if (position >= text.size()) return out;
      const size_t start = position;
      NextCodePoint(text, &position);
      out += text.substr(start, position - start);
    }
    out += text.substr(position);
    return out;
  }
  size_t position = 0;
  for (int64_t count = 0; max_count < 0 || count < max_count; ++count) {
    const size_t found = text.find(from, position);
    if (found == std::string_view::npos) break;
    out += text.substr(position, found - position);
    out += to;
    position = found + from.size();
  }
  out += text.substr(position);
  return out;
}

}  // namespace tessera::chat
