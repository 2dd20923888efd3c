#include "grammar/code_points.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <string>

namespace tessera::grammar {
namespace {

constexpr CodePoint kFirstSurrogate = 0xd800, kLastSurrogate = 0xdfff;

int Encode(CodePoint c, std::array<uint8_t, 4>* bytes) {
  const auto tail = [c](int shift) { return static_cast<uint8_t>(0x80 | ((c >> shift) & 0x3f)); };
  if (c < 0x80) {
    *bytes = {static_cast<uint8_t>(c)};
    return 1;
  }
  if (c < 0x800) {
    *bytes = {static_cast<uint8_t>(0xc0 | (c >> 6)), tail(0)};
    return 2;
  }
  if (c < 0x10000) {
    *bytes = {static_cast<uint8_t>(0xe0 | (c >> 12)), tail(6), tail(0)};
    return 3;
  }
  *bytes = {static_cast<uint8_t>(0xf0 | (c >> 18)), tail(12), tail(6), tail(0)};
  return 4;
}

// The range as alternatives of byte ranges: it is cut wherever a continuation byte would not run
// through all its values.
void AddUtf8(CodePoint low, CodePoint high, ExpressionPool* pool, std::vector<ExprId>* out) {
  for (const CodePoint end : {0x7fu, 0x7ffu, 0xffffu}) {
    if (low <= end && high > end) {
      AddUtf8(low, end, pool, out);
      AddUtf8(end + 1, high, pool, out);
      return;
    }
  }
  std::array<uint8_t, 4> first{}, last{};
  const int length = Encode(low, &first);
  for (int i = 1; i < length; ++i) {
    const CodePoint mask = (CodePoint{1} << (6 * i)) - 1;
    if ((low & ~mask) == (high & ~mask)) continue;
    if ((low & mask) != 0) {
      AddUtf8(low, low | mask, pool, out);
      AddUtf8((low | mask) + 1, high, pool, out);
      return;
    }
    if ((high & mask) != mask) {
      AddUtf8(low, (high & ~mask) - 1, pool, out);
      AddUtf8(high & ~mask, high, pool, out);
      return;
    }
  }
  Encode(high, &last);
  ExprId result = kEmpty;
  for (int i = length; i-- > 0;) {
    const size_t at = static_cast<size_t>(i);
    result = pool->Concat(pool->Bytes(ByteSet::Range(first[at], last[at])), result);
  }
  out->push_back(result);
}

std::string JsonEscape(CodePoint c) {
  switch (c) {
    case '"':
      return "\\\"";
    case '\\':
      return "\\\\";
    case '\b':
      return "\\b";
    case '\f':
      return "\\f";
    case '\n':
      return "\\n";
    case '\r':
      return "\\r";
    case '\t':
      return "\\t";
    default: {
      std::array<char, 8> buffer;
      std::snprintf(buffer.data(), buffer.size(), "\\u%04x", static_cast<unsigned>(c));
      return buffer.data();
    }
  }
}

}  // namespace

CodePointSet::CodePointSet(std::vector<Range> ranges) {
  std::sort(ranges.begin(), ranges.end());
  const auto add = [this](CodePoint low, CodePoint high) {
    if (low > high) return;
    if (!ranges_.empty() && low <= ranges_.back().second + 1) {
      ranges_.back().second = std::max(ranges_.back().second, high);
    } else {
      ranges_.emplace_back(low, high);
    }
  };
  for (const auto& [low, high] : ranges) {
    add(low, std::min(high, kFirstSurrogate - 1));
    add(std::max(low, kLastSurrogate + 1), high);
  }
}

CodePointSet CodePointSet::Complement() const {
  std::vector<Range> result;
  CodePoint next = 0;
  for (const auto& [low, high] : ranges_) {
    if (low > next) result.emplace_back(next, low - 1);
    next = high + 1;
  }
  result.emplace_back(next, kMaxCodePoint);
  return CodePointSet(std::move(result));
}

CodePointSet CodePointSet::Without(const CodePointSet& other) const {
  std::vector<Range> outside = Complement().ranges_;
  outside.insert(outside.end(), other.ranges_.begin(), other.ranges_.end());
  return CodePointSet(std::move(outside)).Complement();
}

bool CodePointSet::Has(CodePoint c) const {
  return std::any_of(ranges_.begin(), ranges_.end(),
                     [c](const auto& range) { return c >= range.first && c <= range.second; });
}

ExprId OneOf(const CodePointSet& set, TextForm form, ExpressionPool* pool) {
  std::vector<ExprId> out;
  CodePointSet raw = set;
  if (form == TextForm::kJsonString) {
    const CodePointSet escaped = {{0, 0x1f}, {'"', '"'}, {'\\', '\\'}};
    for (const auto& [low, high] : escaped.ranges()) {
      for (CodePoint c = low; c <= high; ++c) {
        if (set.Has(c)) out.push_back(pool->Literal(JsonEscape(c)));
      }
    }
    raw = set.Without(escaped);
  }
  for (const auto& [low, high] : raw.ranges()) AddUtf8(low, high, pool, &out);
  return pool->Alternatives(std::move(out));
}

ExprId TextExpression(std::string_view text, TextForm form, ExpressionPool* pool) {
  if (form == TextForm::kPlain) return pool->Literal(text);
  std::string escaped;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || c == '"' || c == '\\') {
      escaped += JsonEscape(byte);
    } else {
      escaped += c;
    }
  }
  return pool->Literal(escaped);
}

CodePoint ReadCodePoint(std::string_view text, size_t* position) {
  const auto byte = [&](size_t i) -> CodePoint {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0;
  };
  const size_t i = *position;
  const CodePoint first = byte(i);
  const size_t length = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  *position = std::min(text.size(), i + length);
  if (length == 1) return first;
  CodePoint c = first & (0x7fu >> length);
  for (size_t k = 1; k < length; ++k) c = (c << 6) | (byte(i + k) & 0x3f);
  return std::min(c, kMaxCodePoint);
}

}  // namespace tessera::grammar
