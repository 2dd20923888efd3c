#include "grammar/regex.h"

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace tessera::grammar {
namespace {

constexpr int kMaxGroups = 64;  // nested
constexpr int32_t kMaxCount = 10'000;
constexpr size_t kMaxPattern = 16'384;

const CodePointSet& Digits() {
  static const CodePointSet set = {{'0', '9'}};
  return set;
}

const CodePointSet& WordCharacters() {
  static const CodePointSet set = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
  return set;
}

const CodePointSet& Spaces() {
  static const CodePointSet set = {
      {'\t', '\r'},     {' ', ' '},       {0xa0, 0xa0},     {0x1680, 0x1680}, {0x2000, 0x200a},
      {0x2028, 0x2029}, {0x202f, 0x202f}, {0x205f, 0x205f}, {0x3000, 0x3000}, {0xfeff, 0xfeff}};
  return set;
}

class Parser {
 public:
  Parser(std::string_view pattern, TextForm form, ExpressionPool* pool)
      : pattern_(pattern), form_(form), pool_(pool) {}

  Result<ExprId> Parse(RegexMatch match) {
    if (pattern_.size() > kMaxPattern) {
      return InvalidArgument("has " + std::to_string(pattern_.size()) + " bytes, but at most " +
                             std::to_string(kMaxPattern) + " are read; shorten it.");
    }
    std::vector<ExprId> alternatives;
    do {
      const bool begins = match == RegexMatch::kWhole;
      const bool starts = Take('^') || begins;
      TESSERA_ASSIGN_OR_RETURN(ExprId body, ParseSequence());
      const bool ends = Take('$') || begins;
      if (!starts) body = pool_->Concat(Anything(), body);
      if (!ends) body = pool_->Concat(body, Anything());
      alternatives.push_back(body);
    } while (Take('|'));
    if (!AtEnd()) return Wrong("has a ')' without its '('");
    return pool_->Alternatives(std::move(alternatives));
  }

 private:
  bool AtEnd() const { return position_ >= pattern_.size(); }
  char Peek() const { return AtEnd() ? '\0' : pattern_[position_]; }
  bool Take(char c) {
    if (AtEnd() || Peek() != c) return false;
    ++position_;
    return true;
  }
  bool Take(std::string_view text) {
    if (!pattern_.substr(position_).starts_with(text)) return false;
    position_ += text.size();
    return true;
  }

  Error Wrong(const std::string& what) const {
    return InvalidArgument(what + " at byte " + std::to_string(position_) + ".");
  }
  Error Unserved(const std::string& what) const {
    return Unsupported("has " + what + " at byte " + std::to_string(position_) +
                       ", which no constraint can be made of; write it without.");
  }

  // One of the set; patterns name few sets often.
  ExprId Character(const CodePointSet& set) {
    const auto [known, is_new] = known_.try_emplace(set.ranges(), kNothing);
    if (is_new) known->second = OneOf(set, form_, pool_);
    return known->second;
  }
  ExprId Anything() {
    return pool_->Repeat(Character(CodePointSet::All().Without(LineEnds())), 0, kUnbounded);
  }
  // Control characters need no room in generated texts: `.` leaves them all out.
  static CodePointSet LineEnds() { return {{0, 0x1f}, {0x7f, 0x9f}, {0x2028, 0x2029}}; }

  Result<ExprId> ParseAlternatives() {
    std::vector<ExprId> alternatives;
    do {
      TESSERA_ASSIGN_OR_RETURN(const ExprId sequence, ParseSequence());
      alternatives.push_back(sequence);
    } while (Take('|'));
    return pool_->Alternatives(std::move(alternatives));
  }

  // Up to '|', ')', a '$' at the end of an alternative, or the end.
  Result<ExprId> ParseSequence() {
    std::vector<ExprId> parts;
    while (!AtEnd() && Peek() != '|' && Peek() != ')') {
      if (Peek() == '$') {
        const char next = position_ + 1 < pattern_.size() ? pattern_[position_ + 1] : '|';
        if (groups_ == 0 && next == '|') break;
        return Unserved("a '$' that does not end an outermost alternative");
      }
      TESSERA_ASSIGN_OR_RETURN(const ExprId atom, ParseAtom());
      TESSERA_ASSIGN_OR_RETURN(const ExprId part, ParseQuantifiers(atom));
      parts.push_back(part);
    }
    ExprId result = kEmpty;
    for (size_t i = parts.size(); i-- > 0;) result = pool_->Concat(parts[i], result);
    return result;
  }

  Result<ExprId> ParseAtom() {
    const char c = Peek();
    if (c == '^') return Unserved("a '^' that does not begin an outermost alternative");
    if (c == '*' || c == '+' || c == '?') return Wrong("has a quantifier after nothing");
    if (Take('(')) return ParseGroup();
    if (Take('[')) return ParseClass();
    if (Take('.')) return Character(CodePointSet::All().Without(LineEnds()));
    if (Take('\\')) {
      TESSERA_ASSIGN_OR_RETURN(const CodePointSet set, ParseEscape(/*in_class=*/false));
      return Character(set);
    }
    const CodePoint character = ReadCodePoint(pattern_, &position_);
    return Character({{character, character}});
  }

  Result<ExprId> ParseGroup() {
    if (Take("?:")) {
      // A group without a number.
    } else if (pattern_.substr(position_).starts_with("?<") &&
               !pattern_.substr(position_).starts_with("?<=") &&
               !pattern_.substr(position_).starts_with("?<!")) {
      const size_t end = pattern_.find('>', position_);
      if (end == std::string_view::npos) return Wrong("has a group's name without its end");
      position_ = end + 1;
    } else if (Peek() == '?') {
      return Unserved("a look-around or an option");
    }
    if (++groups_ > kMaxGroups) return Wrong("has too many groups inside of each other");
    TESSERA_ASSIGN_OR_RETURN(const ExprId body, ParseAlternatives());
    --groups_;
    if (!Take(')')) return Wrong("has a '(' without its ')'");
    return body;
  }

  Result<ExprId> ParseQuantifiers(ExprId atom) {
    for (int count = 0; !AtEnd(); ++count) {
      int32_t min = 0, max = kUnbounded;
      if (Take('*')) {
      } else if (Take('+')) {
        min = 1;
      } else if (Take('?')) {
        max = 1;
      } else if (Peek() == '{') {
        TESSERA_RETURN_IF_ERROR(ParseCounts(&min, &max));
      } else {
        break;
      }
      if (count > 0) return Wrong("has a quantifier after a quantifier");
      atom = pool_->Repeat(atom, min, max);
      Take('?');  // lazy: the same texts
    }
    return atom;
  }

  Status ParseCounts(int32_t* min, int32_t* max) {
    Take('{');
    const std::optional<int32_t> low = ParseNumber();
    if (!low) return Wrong("has a '{' that begins no {m}, {m,} or {m,n}");
    *min = *max = *low;
    if (Take(',')) {
      *max = kUnbounded;
      if (Peek() != '}') {
        const std::optional<int32_t> high = ParseNumber();
        if (!high) return Wrong("has a '{' that begins no {m}, {m,} or {m,n}");
        *max = *high;
      }
    }
    if (!Take('}')) return Wrong("has a '{' that begins no {m}, {m,} or {m,n}");
    if (*max != kUnbounded && *max < *min) return Wrong("has a range whose end is below its start");
    if (std::max(*min, *max) > kMaxCount) {
      return Wrong("counts further than " + std::to_string(kMaxCount));
    }
    return {};
  }

  std::optional<int32_t> ParseNumber() {
    const size_t start = position_;
    int32_t value = 0;
    while (!AtEnd() && Peek() >= '0' && Peek() <= '9') {
      value = std::min(value * 10 + (Peek() - '0'), kMaxCount + 1);
      ++position_;
    }
    if (position_ == start) return std::nullopt;
    return value;
  }

  Result<CodePointSet> ParseEscape(bool in_class) {
    if (AtEnd()) return Wrong("ends with a backslash");
    const CodePoint c = ReadCodePoint(pattern_, &position_);
    const auto one = [](CodePoint character) { return CodePointSet{{character, character}}; };
    switch (c) {
      case 'd':
        return Digits();
      case 'D':
        return Digits().Complement();
      case 'w':
        return WordCharacters();
      case 'W':
        return WordCharacters().Complement();
      case 's':
        return Spaces();
      case 'S':
        return Spaces().Complement();
      case 'n':
        return one('\n');
      case 't':
        return one('\t');
      case 'r':
        return one('\r');
      case 'f':
        return one('\f');
      case 'v':
        return one('\v');
      case '0':
        return one(0);
      case 'b':
        if (in_class) return one('\b');
        break;
      case 'x':
        return ParseHex(2);
      case 'u':
        return ParseHex(4);
      default:
        break;
    }
    const bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || Digits().Has(c);
    if (is_letter) return Unserved(std::string("\\") + static_cast<char>(c));
    return one(c);
  }

  Result<CodePointSet> ParseHex(size_t digits) {
    CodePoint value = 0;
    for (size_t i = 0; i < digits; ++i) {
      const char c = Peek();
      const bool decimal = c >= '0' && c <= '9';
      const bool letter = (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
      if (!decimal && !letter) return Wrong("has an escape with too few hexadecimal digits");
      value = value * 16 + static_cast<CodePoint>(decimal ? c - '0' : (c | 0x20) - 'a' + 10);
      ++position_;
    }
    return CodePointSet{{value, value}};
  }

  Result<ExprId> ParseClass() {
    const bool negated = Take('^');
    std::vector<CodePointSet::Range> ranges;
    for (;;) {
      if (AtEnd()) return Wrong("has a '[' without its ']'");
      if (Take(']')) break;
      TESSERA_ASSIGN_OR_RETURN(const CodePointSet low, ParseClassItem());
      const bool single =
          low.ranges().size() == 1 && low.ranges().front().first == low.ranges().front().second;
      const bool range = single && Peek() == '-' && position_ + 1 < pattern_.size() &&
                         pattern_[position_ + 1] != ']';
      if (!range) {
        ranges.insert(ranges.end(), low.ranges().begin(), low.ranges().end());
        continue;
      }
      Take('-');
      TESSERA_ASSIGN_OR_RETURN(const CodePointSet high, ParseClassItem());
      const CodePoint first = low.ranges().front().first;
      if (high.ranges().size() != 1 || high.ranges().front().first < first) {
        return Wrong("has a range in brackets whose end is below its start");
      }
      ranges.emplace_back(first, high.ranges().front().second);
    }
    const CodePointSet set(std::move(ranges));
    return Character(negated ? set.Complement() : set);
  }

  Result<CodePointSet> ParseClassItem() {
    if (Take('\\')) return ParseEscape(/*in_class=*/true);
    const CodePoint c = ReadCodePoint(pattern_, &position_);
    return CodePointSet{{c, c}};
  }

  const std::string_view pattern_;
  const TextForm form_;
  ExpressionPool* const pool_;
  std::map<std::vector<CodePointSet::Range>, ExprId> known_;  // by what they are one of
  size_t position_ = 0;
  int groups_ = 0;  // open
};

}  // namespace

Result<ExprId> ParseRegex(std::string_view pattern, RegexMatch match, TextForm form,
                          ExpressionPool* pool) {
  return Parser(pattern, form, pool).Parse(match);
}

}  // namespace tessera::grammar
