// Sets of characters, and how their texts look as bytes.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <utility>
#include <vector>

#include "grammar/expression.h"

namespace tessera::grammar {

using CodePoint = uint32_t;
constexpr CodePoint kMaxCodePoint = 0x10ffff;

// Immutable; surrogates are never among the characters.
class CodePointSet {
 public:
  using Range = std::pair<CodePoint, CodePoint>;

  CodePointSet() = default;
  CodePointSet(std::initializer_list<Range> ranges) : CodePointSet(std::vector<Range>(ranges)) {}
  // In any order; those that end before they begin are empty.
  explicit CodePointSet(std::vector<Range> ranges);
  static CodePointSet All() { return {{0, kMaxCodePoint}}; }

  CodePointSet Complement() const;
  CodePointSet Without(const CodePointSet& other) const;
  bool Has(CodePoint c) const;

  // Ascending, apart from each other.
  const std::vector<Range>& ranges() const { return ranges_; }

 private:
  std::vector<Range> ranges_;
};

// How a text stands in the output.
enum class TextForm : uint8_t {
  kPlain,       // as UTF-8
  kJsonString,  // inside of a JSON string; escaped where it has to be, and only there
};

// One character of the set.
ExprId OneOf(const CodePointSet& set, TextForm form, ExpressionPool* pool);

// The text itself, which is valid UTF-8.
ExprId TextExpression(std::string_view text, TextForm form, ExpressionPool* pool);

// The character at `*position` of valid UTF-8, which moves after it.
CodePoint ReadCodePoint(std::string_view text, size_t* position);

}  // namespace tessera::grammar
