#include "grammar/json_text.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "grammar/code_points.h"
#include "grammar/number_range.h"

namespace tessera::grammar {
namespace {

constexpr int32_t kMaxIndent = 24;

// One character of a string, however it is written.
ExprId AnyCharacter(ExpressionPool* pool) {
  const ExprId hex = pool->Bytes(ByteSet::Of("0123456789abcdefABCDEF"));
  const ExprId two = pool->Repeat(hex, 2, 2), three = pool->Repeat(hex, 3, 3);
  const ExprId d = pool->Bytes(ByteSet::Of("dD"));
  const ExprId u = pool->Literal("u");
  const auto one_of = [pool](std::string_view bytes) { return pool->Bytes(ByteSet::Of(bytes)); };
  const ExprId escape = pool->Alternatives(
      {one_of("\"\\/bfnrt"), pool->Sequence({u, one_of("0123456789abcefABCEF"), three}),
       pool->Sequence({u, d, one_of("01234567"), two}),
       // A character beyond 0xffff as two surrogates.
       pool->Sequence(
           {u, d, one_of("89abAB"), two, pool->Literal("\\u"), d, one_of("cdefCDEF"), two})});
  const CodePointSet raw = CodePointSet::All().Without({{0, 0x1f}, {'"', '"'}, {'\\', '\\'}});
  return pool->Alternatives(
      {OneOf(raw, TextForm::kPlain, pool), pool->Concat(pool->Literal("\\"), escape)});
}

const CodePointSet& NameCharacters() {
  static const CodePointSet set =
      CodePointSet::All().Without({{0, 0x1f}, {'"', '"'}, {'\\', '\\'}, {0x7f, 0x9f}});
  return set;
}

// The texts of name characters that are none of except[begin, end), which are ascending and agree
// in their first `depth` bytes. `any`: all texts of name characters.
ExprId TextsExcept(const std::vector<std::string>& except, size_t begin, size_t end, size_t depth,
                   ExprId any, ExpressionPool* pool) {
  std::vector<ExprId> out;
  std::vector<CodePointSet::Range> named;
  bool may_end = true;
  for (size_t i = begin; i < end && !pool->overflowed();) {
    const std::string& name = except[i];
    if (name.size() == depth) {
      may_end = false;
      ++i;
      continue;
    }
    size_t next_depth = depth;
    const CodePoint c = ReadCodePoint(name, &next_depth);
    size_t last = i;
    while (last < end && except[last].compare(0, next_depth, name, 0, next_depth) == 0) ++last;
    if (NameCharacters().Has(c)) {
      named.emplace_back(c, c);
      out.push_back(pool->Concat(pool->Literal(name.substr(depth, next_depth - depth)),
                                 TextsExcept(except, i, last, next_depth, any, pool)));
    }
    i = last;
  }
  const CodePointSet others = NameCharacters().Without(CodePointSet(std::move(named)));
  out.push_back(pool->Concat(OneOf(others, TextForm::kPlain, pool), any));
  if (may_end) out.push_back(kEmpty);
  return pool->Alternatives(std::move(out));
}

}  // namespace

JsonText::JsonText(ExpressionPool* pool) : pool_(pool) {
  const ExprId space = pool->Literal(" ");
  const ExprId line = pool->Concat(pool->Literal("\n"), pool->Repeat(space, 0, kMaxIndent));
  gap_ = pool->Optional(line);
  comma_ = pool->Concat(pool->Literal(","), pool->Optional(pool->Alternatives({space, line})));
  colon_ = pool->Concat(pool->Literal(":"), pool->Optional(space));
  character_ = AnyCharacter(pool);
}

ExprId JsonText::Quoted(ExprId inner) {
  const ExprId quote = pool_->Literal("\"");
  return pool_->Sequence({quote, inner, quote});
}

ExprId JsonText::String(int32_t min, int32_t max) { return Quoted(Characters(min, max)); }

ExprId JsonText::Characters(int32_t min, int32_t max) {
  return pool_->Repeat(character_, min, max);
}

ExprId JsonText::NameExcept(std::vector<std::string> except) {
  std::sort(except.begin(), except.end());
  const ExprId any = pool_->Repeat(OneOf(NameCharacters(), TextForm::kPlain, pool_), 0, kUnbounded);
  return Quoted(TextsExcept(except, 0, except.size(), 0, any, pool_));
}

ExprId JsonText::Member(ExprId name, ExprId value) {
  return pool_->Sequence({name, colon_, value});
}

ExprId JsonText::InBrackets(char open, ExprId inner, char close) {
  const auto bracket = [this](char c) { return pool_->Literal(std::string_view(&c, 1)); };
  const ExprId filled = pool_->Sequence({gap_, inner, gap_, bracket(close)});
  // Nothing inside has no gaps around it.
  const ExprId rest =
      pool_->at(inner).nullable ? pool_->Alternatives({filled, bracket(close)}) : filled;
  return pool_->Concat(bracket(open), rest);
}

ExprId JsonText::List(ExprId item, int32_t min, int32_t max) {
  if (max == 0) return pool_->Literal("[]");
  const ExprId more = pool_->Repeat(pool_->Concat(comma_, item), std::max(min - 1, 0),
                                    max == kUnbounded ? kUnbounded : max - 1);
  const ExprId items = pool_->Concat(item, more);
  return InBrackets('[', min == 0 ? pool_->Optional(items) : items, ']');
}

// What may follow depends on the items that have come.
ExprId JsonText::ListOfDistinct(const std::vector<ExprId>& items, int32_t min, int32_t max) {
  // From the full list to the empty one: bit i of `used` stands for items[i].
  std::vector<ExprId> rest(size_t{1} << items.size());
  for (size_t used = rest.size(); used-- > 0;) {
    const int32_t count = std::popcount(used);
    const bool is_full = max != kUnbounded && count >= max;
    std::vector<ExprId> out;
    if (count >= min) out.push_back(kEmpty);
    for (size_t i = 0; i < items.size() && !is_full; ++i) {
      const size_t with = used | size_t{1} << i;
      if (with == used) continue;
      out.push_back(pool_->Sequence({count > 0 ? comma_ : kEmpty, items[i], rest[with]}));
    }
    rest[used] = pool_->Alternatives(std::move(out));
  }
  return InBrackets('[', rest[0], ']');
}

ExprId JsonText::Any() {
  if (any_ == kNothing) DefineAny();
  return any_;
}

ExprId JsonText::AnyObject() {
  if (any_ == kNothing) DefineAny();
  return any_object_;
}

void JsonText::DefineAny() {
  any_ = pool_->DeclareRule();
  const ExprId member = Member(String(0, kUnbounded), any_);
  const ExprId more = pool_->Repeat(pool_->Concat(comma_, member), 0, kUnbounded);
  any_object_ = InBrackets('{', pool_->Optional(pool_->Concat(member, more)), '}');
  auto number = NumberExpression({}, pool_);
  TESSERA_CHECK(number.ok());  // it has no bounds that could be wrong
  pool_->DefineRule(
      any_, pool_->Alternatives({any_object_, List(any_, 0, kUnbounded), String(0, kUnbounded),
                                 *number, pool_->Literal("true"), pool_->Literal("false"),
                                 pool_->Literal("null")}));
}

}  // namespace tessera::grammar
