#include "text/tokenizer/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

namespace tessera::tokenization {
namespace {

enum class Step : uint8_t { kValid, kInvalid, kIncomplete };

// Looks at the first character of `bytes` (not empty). `length` receives its bytes; for kInvalid
// those that one U+FFFD stands for. Ranges of the second byte: Unicode standard, table 3-7.
Step Classify(std::string_view bytes, size_t* length) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(bytes[i]); };
  const uint8_t lead = byte(0);
  *length = 1;
  if (lead < 0x80) return Step::kValid;
  if (lead < 0xC2 || lead > 0xF4) return Step::kInvalid;
  const size_t needed = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  for (size_t i = 1; i < needed; ++i) {
    if (i == bytes.size()) return Step::kIncomplete;
    uint8_t low = 0x80;
    uint8_t high = 0xBF;
    if (i == 1) {
      if (lead == 0xE0) low = 0xA0;
      if (lead == 0xED) high = 0x9F;
      if (lead == 0xF0) low = 0x90;
      if (lead == 0xF4) high = 0x8F;
    }
    if (byte(i) < low || byte(i) > high) return Step::kInvalid;
    *length = i + 1;
  }
  return Step::kValid;
}

// Bytes at the front that are ASCII, eight at a time.
size_t AsciiPrefix(std::string_view text) {
  size_t i = 0;
  for (uint64_t word; i + 8 <= text.size(); i += 8) {
    std::memcpy(&word, text.data() + i, 8);
    if (word & 0x8080808080808080u) break;
  }
  while (i < text.size() && static_cast<uint8_t>(text[i]) < 0x80) ++i;
  return i;
}

}  // namespace

size_t CharLength(std::string_view text) {
  const auto lead = static_cast<uint8_t>(text[0]);
  return lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

char32_t TakeChar(std::string_view* text) {
  const size_t length = CharLength(*text);
  const auto lead = static_cast<uint8_t>((*text)[0]);
  char32_t c = length == 1 ? lead : lead & (0xFFu >> (length + 1));
  for (size_t i = 1; i < length; ++i) c = c << 6 | (static_cast<uint8_t>((*text)[i]) & 0x3Fu);
  text->remove_prefix(length);
  return c;
}

void AppendUtf8(char32_t c, std::string* out) {
  std::array<utf8proc_uint8_t, 4> bytes;
  const auto length = utf8proc_encode_char(static_cast<utf8proc_int32_t>(c), bytes.data());
  out->append(reinterpret_cast<const char*>(bytes.data()), static_cast<size_t>(length));
}

void Utf8Repair::Append(std::string_view bytes, std::string* out) {
  std::string joined;
  if (!pending_.empty()) {
    joined = std::move(pending_);
    joined += bytes;
    bytes = joined;
    pending_.clear();
  }
  while (!bytes.empty()) {
    size_t length = AsciiPrefix(bytes);
    if (length == 0) {
      switch (Classify(bytes, &length)) {
        case Step::kValid:
          break;
        case Step::kInvalid:
          *out += kReplacement;
          bytes.remove_prefix(length);
          continue;
        case Step::kIncomplete:
          pending_ = bytes;
          return;
      }
    }
    *out += bytes.substr(0, length);
    bytes.remove_prefix(length);
  }
}

void Utf8Repair::Finish(std::string* out) {
  if (!pending_.empty()) *out += kReplacement;
  pending_.clear();
}

bool IsValidUtf8(std::string_view bytes) {
  while (!bytes.empty()) {
    size_t length = AsciiPrefix(bytes);
    if (length == 0 && Classify(bytes, &length) != Step::kValid) return false;
    bytes.remove_prefix(length);
  }
  return true;
}

bool IsWhitespace(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

bool IsWord(char32_t c) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:  // the letters in circles and squares are Alphabetic symbols; then Join_Control
      return (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) ||
             (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189) || c == 0x200C ||
             c == 0x200D;
  }
}

bool IsMark(char32_t c) {
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_MC ||
         category == UTF8PROC_CATEGORY_ME;
}

void AppendLowercase(char32_t c, std::string* out) {
  if (c == 0x130) {  // the only character whose lower case is two
    *out += "i\xCC\x87";
    return;
  }
  AppendUtf8(static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))), out);
}

std::string Normalize(std::string_view text, NormalForm form) {
  if (AsciiPrefix(text) == text.size()) return std::string(text);

  const bool compatible = form == NormalForm::kNfkc || form == NormalForm::kNfkd;
  const auto decompose = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE |
                                                        (compatible ? UTF8PROC_COMPAT : 0));
  std::vector<utf8proc_int32_t> chars;
  chars.reserve(text.size());
  while (!text.empty()) {
    constexpr utf8proc_ssize_t kLongest = 32;  // U+FDFA has the longest decomposition, of 18
    std::array<utf8proc_int32_t, kLongest> parts;
    int boundclass = UTF8PROC_BOUNDCLASS_START;
    const auto c = static_cast<utf8proc_int32_t>(TakeChar(&text));
    const auto count = utf8proc_decompose_char(c, parts.data(), kLongest, decompose, &boundclass);
    chars.insert(chars.end(), parts.begin(), parts.begin() + std::clamp<int64_t>(count, 0, 32));
  }

  // Canonical order. utf8proc_decompose() would do it too, but in time quadratic in a run's length.
  const auto ccc = [](utf8proc_int32_t c) { return utf8proc_get_property(c)->combining_class; };
  for (auto begin = chars.begin(); begin != chars.end();) {
    auto end = begin;
    while (end != chars.end() && ccc(*end) != 0) ++end;
    std::stable_sort(begin, end, [&](auto a, auto b) { return ccc(a) < ccc(b); });
    begin = end == chars.end() ? end : end + 1;
  }

  auto length = static_cast<utf8proc_ssize_t>(chars.size());
  if (form == NormalForm::kNfc || form == NormalForm::kNfkc) {
    constexpr auto kCompose = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    length = utf8proc_normalize_utf32(chars.data(), length, kCompose);
  }
  std::string out;
  out.reserve(chars.size());
  for (utf8proc_ssize_t i = 0; i < length; ++i) {
    AppendUtf8(static_cast<char32_t>(chars[static_cast<size_t>(i)]), &out);
  }
  return out;
}

}  // namespace tessera::tokenization
