#include "grammar/number_range.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <string_view>
#include <utility>
#include <vector>

namespace tessera::grammar {
namespace {

constexpr int32_t kMaxIntegerDigits = 18;
constexpr int32_t kMaxFractionDigits = 17;
constexpr int32_t kExactDigits = 15;  // decimal digits that a double keeps apart
constexpr double kMaxBound = 1e15;

// A magnitude: digits before the point, without leading zeros, and after it, without trailing
// ones.
struct Decimal {
  std::string whole = "0";
  std::string fraction;
};

// The shortest text that is read as the same double, with 17 digits after the point at most.
Decimal DecimalOf(double magnitude) {
  magnitude = std::fabs(magnitude);  // a zero may have a sign
  std::array<char, 512> buffer{};
  char* const end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), magnitude,
                                  std::chars_format::fixed)
                        .ptr;
  std::string text(buffer.data(), end);
  if (text.find('.') < text.size() - std::min<size_t>(text.size(), kMaxFractionDigits + 1)) {
    std::snprintf(buffer.data(), buffer.size(), "%.*f", kMaxFractionDigits, magnitude);
    text = buffer.data();
  }
  const size_t point = text.find('.');
  Decimal result;
  result.whole = text.substr(0, point);
  if (point != std::string::npos) result.fraction = text.substr(point + 1);
  while (result.fraction.ends_with('0')) result.fraction.pop_back();
  return result;
}

// Expressions for magnitudes on one side of a bound; at most fraction_digits after the point, 0:
// integers.
class Magnitudes {
 public:
  Magnitudes(int32_t fraction_digits, ExpressionPool* pool)
      : fraction_digits_(fraction_digits), pool_(pool) {}

  ExprId Any() { return Concat(AnyWhole(), AnyFraction()); }

  ExprId AtLeast(const Decimal& bound, bool excluded) {
    const int32_t length = Length(bound.whole);
    std::vector<ExprId> out;
    if (length < kMaxIntegerDigits) {
      out.push_back(
          pool_->Sequence({Digit('1', '9'), Digits(length, kMaxIntegerDigits - 1), AnyFraction()}));
    }
    for (int32_t i = 0; i < length; ++i) {
      const char digit = bound.whole[static_cast<size_t>(i)];
      out.push_back(pool_->Sequence({Prefix(bound.whole, i), Digit(Next(digit), '9'),
                                     Digits(length - i - 1, length - i - 1), AnyFraction()}));
    }
    out.push_back(Concat(pool_->Literal(bound.whole), FractionAtLeast(bound.fraction, excluded)));
    return pool_->Alternatives(std::move(out));
  }

  ExprId AtMost(const Decimal& bound, bool excluded) {
    const int32_t length = Length(bound.whole);
    std::vector<ExprId> out;
    if (length > 1) {
      out.push_back(Concat(Digit('0', '0'), AnyFraction()));
      out.push_back(pool_->Sequence({Digit('1', '9'), Digits(0, length - 2), AnyFraction()}));
    }
    for (int32_t i = 0; i < length; ++i) {
      const char digit = bound.whole[static_cast<size_t>(i)];
      const char least = i == 0 && length > 1 ? '1' : '0';
      out.push_back(pool_->Sequence({Prefix(bound.whole, i), Below(digit, least),
                                     Digits(length - i - 1, length - i - 1), AnyFraction()}));
    }
    out.push_back(Concat(pool_->Literal(bound.whole), FractionAtMost(bound.fraction, excluded)));
    return pool_->Alternatives(std::move(out));
  }

 private:
  static int32_t Length(const std::string& text) { return static_cast<int32_t>(text.size()); }
  static char Next(char digit) { return static_cast<char>(digit + 1); }
  ExprId Concat(ExprId a, ExprId b) { return pool_->Concat(a, b); }
  ExprId Prefix(const std::string& digits, int32_t count) {
    return pool_->Literal(std::string_view(digits).substr(0, static_cast<size_t>(count)));
  }
  ExprId Digit(char low, char high) {
    if (low > high) return kNothing;
    return pool_->Bytes(ByteSet::Range(static_cast<uint8_t>(low), static_cast<uint8_t>(high)));
  }
  ExprId Below(char digit, char least) {
    return digit <= least ? kNothing : Digit(least, static_cast<char>(digit - 1));
  }
  ExprId Digits(int32_t min, int32_t max) {
    return max < min ? kNothing : pool_->Repeat(Digit('0', '9'), min, max);
  }
  ExprId Point() { return pool_->Literal("."); }

  ExprId AnyWhole() {
    return pool_->Alternatives(
        {Digit('0', '0'), Concat(Digit('1', '9'), Digits(0, kMaxIntegerDigits - 1))});
  }
  ExprId AnyFraction() {
    if (fraction_digits_ == 0) return kEmpty;
    return pool_->Optional(Concat(Point(), Digits(1, fraction_digits_)));
  }
  // At most `most` digits, one of them at least above 0.
  ExprId NonZero(int32_t most) {
    std::vector<ExprId> out;
    for (int32_t zeros = 0; zeros < most; ++zeros) {
      out.push_back(pool_->Sequence({pool_->Repeat(Digit('0', '0'), zeros, zeros), Digit('1', '9'),
                                     Digits(0, most - zeros - 1)}));
    }
    return pool_->Alternatives(std::move(out));
  }

  ExprId FractionAtLeast(const std::string& bound, bool excluded) {
    if (bound.empty() && !excluded) return AnyFraction();
    const int32_t length = Length(bound);
    std::vector<ExprId> out;
    for (int32_t i = 0; i < length; ++i) {
      out.push_back(
          pool_->Sequence({Prefix(bound, i), Digit(Next(bound[static_cast<size_t>(i)]), '9'),
                           Digits(0, fraction_digits_ - i - 1)}));
    }
    const int32_t rest = fraction_digits_ - length;
    out.push_back(Concat(pool_->Literal(bound), excluded ? NonZero(rest) : Digits(0, rest)));
    return Concat(Point(), pool_->Alternatives(std::move(out)));
  }

  ExprId FractionAtMost(const std::string& bound, bool excluded) {
    if (bound.empty()) {
      if (excluded) return kNothing;
      if (fraction_digits_ == 0) return kEmpty;
      return pool_->Optional(Concat(Point(), pool_->Repeat(Digit('0', '0'), 1, fraction_digits_)));
    }
    const int32_t length = Length(bound);
    std::vector<ExprId> out;
    for (int32_t i = 0; i < length; ++i) {
      out.push_back(pool_->Sequence({Prefix(bound, i), Below(bound[static_cast<size_t>(i)], '0'),
                                     Digits(0, fraction_digits_ - i - 1)}));
      if (i > 0) out.push_back(Prefix(bound, i));
    }
    if (!excluded) {
      out.push_back(Concat(pool_->Literal(bound),
                           pool_->Repeat(Digit('0', '0'), 0, fraction_digits_ - length)));
    }
    return pool_->Optional(Concat(Point(), pool_->Alternatives(std::move(out))));
  }

  const int32_t fraction_digits_;
  ExpressionPool* const pool_;
};

// The next integer inside of the range.
NumberBound ToInteger(NumberBound bound, bool is_low) {
  const double rounded = is_low ? std::ceil(bound.value) : std::floor(bound.value);
  if (bound.excluded && rounded == bound.value) return {rounded + (is_low ? 1 : -1), false};
  return {rounded, false};
}

ExprId Unbounded(bool integer, ExpressionPool* pool) {
  const ExprId digit = pool->Bytes(ByteSet::Range('0', '9'));
  const ExprId minus = pool->Optional(pool->Literal("-"));
  Magnitudes magnitudes(integer ? 0 : kMaxFractionDigits, pool);
  const ExprId number = pool->Concat(minus, magnitudes.Any());
  if (integer) return number;
  const ExprId exponent =
      pool->Sequence({pool->Bytes(ByteSet::Of("eE")),
                      pool->Optional(pool->Bytes(ByteSet::Of("+-"))), pool->Repeat(digit, 1, 2)});
  return pool->Concat(number, pool->Optional(exponent));
}

}  // namespace

Result<ExprId> NumberExpression(const NumberRange& range, ExpressionPool* pool) {
  if (!range.low && !range.high) return Unbounded(range.integer, pool);
  std::optional<NumberBound> low = range.low, high = range.high;
  int32_t fraction_digits = range.integer ? 0 : 8;
  for (auto* bound : {&low, &high}) {
    if (!bound->has_value()) continue;
    if (!(std::fabs((*bound)->value) <= kMaxBound)) {
      return Unsupported(
          "has the bound " + std::to_string((*bound)->value) +
          ", but bounds can be -1e15 to 1e15; leave it out, or choose a nearer one.");
    }
    if (range.integer) {
      *bound = ToInteger(**bound, bound == &low);
      continue;
    }
    const Decimal decimal = DecimalOf(std::fabs((*bound)->value));
    const int32_t whole = static_cast<int32_t>(decimal.whole.size());
    fraction_digits = std::min(fraction_digits, kExactDigits - whole);
  }
  if (!range.integer) {
    fraction_digits = std::max(fraction_digits, 1);
    for (const auto& bound : {low, high}) {
      if (!bound) continue;
      const auto own = DecimalOf(std::fabs(bound->value)).fraction.size();
      fraction_digits = std::max(fraction_digits, static_cast<int32_t>(own));
    }
  }
  Magnitudes magnitudes(fraction_digits, pool);
  std::vector<ExprId> out;
  // From 0 on.
  if (!high || high->value > 0 || (high->value == 0 && !high->excluded)) {
    ExprId positive = magnitudes.Any();
    if (low && low->value >= 0) {
      positive = pool->Both(positive, magnitudes.AtLeast(DecimalOf(low->value), low->excluded));
    }
    if (high) {
      positive = pool->Both(positive, magnitudes.AtMost(DecimalOf(high->value), high->excluded));
    }
    out.push_back(positive);
  }
  // Below 0; -0 is left out.
  if (!low || low->value < 0) {
    ExprId negative = high && high->value < 0
                          ? magnitudes.AtLeast(DecimalOf(-high->value), high->excluded)
                          : magnitudes.AtLeast({}, /*excluded=*/true);
    // An integer above 0 is at least 1: there is no fraction that could tell.
    if (range.integer && !(high && high->value < 0)) {
      negative = magnitudes.AtLeast({"1", ""}, /*excluded=*/false);
    }
    if (low) {
      negative = pool->Both(negative, magnitudes.AtMost(DecimalOf(-low->value), low->excluded));
    }
    out.push_back(pool->Concat(pool->Literal("-"), negative));
  }
  return pool->Alternatives(std::move(out));
}

}  // namespace tessera::grammar
