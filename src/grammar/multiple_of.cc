#include "grammar/multiple_of.h"

#include <array>
#include <charconv>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tessera::grammar {
namespace {

constexpr int kMaxFractionDigits = 8;
constexpr int kMaxModulus = 1000;

// step = modulus / 10^fraction_digits
struct Step {
  int modulus = 0;  // 0: it is none that is served
  int fraction_digits = 0;
};

Step Read(double step) {
  std::array<char, 512> buffer{};
  const auto end =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), step, std::chars_format::fixed)
          .ptr;
  Step result;
  bool fraction = false;
  for (const char c : std::string_view(buffer.data(), static_cast<size_t>(end - buffer.data()))) {
    if (c == '.') {
      fraction = true;
      continue;
    }
    if (c < '0' || c > '9') return {};
    result.modulus = result.modulus * 10 + (c - '0');
    if (fraction) ++result.fraction_digits;
    if (result.modulus > kMaxModulus || result.fraction_digits > kMaxFractionDigits) return {};
  }
  return result;
}

class Multiples {
 public:
  Multiples(const Step& step, ExpressionPool* pool)
      : modulus_(step.modulus), digits_(step.fraction_digits), pool_(pool) {}

  ExprId All() {
    fractions_.assign(static_cast<size_t>(modulus_) * static_cast<size_t>(digits_ + 1), -1);
    for (int r = 0; r < modulus_; ++r) wholes_.push_back(pool_->DeclareRule());
    for (int r = 0; r < modulus_ && !pool_->overflowed(); ++r) {
      pool_->DefineRule(Whole(r), Behind(r, 0, [this](int next) {
                          return pool_->Alternatives({Whole(next), AfterWhole(next)});
                        }));
    }
    // A zero stands alone before the point.
    const ExprId zero = pool_->Concat(pool_->Literal("0"), AfterWhole(0));
    const ExprId more = Behind(0, 1, [this](int next) {
      return pool_->Alternatives({Whole(next), AfterWhole(next)});
    });
    return pool_->Concat(pool_->Optional(pool_->Literal("-")), pool_->Alternatives({zero, more}));
  }

 private:
  // At least one more digit before the point, after digits with that remainder.
  ExprId Whole(int remainder) const { return wholes_[static_cast<size_t>(remainder)]; }

  // A digit of at least `least`, and what follows the remainder then.
  template <typename Follow>
  ExprId Behind(int remainder, int least, const Follow& follow) {
    std::vector<ExprId> out;
    for (int digit = least; digit < 10; ++digit) {
      const char c = static_cast<char>('0' + digit);
      out.push_back(pool_->Concat(pool_->Literal(std::string_view(&c, 1)),
                                  follow((remainder * 10 + digit) % modulus_)));
    }
    return pool_->Alternatives(std::move(out));
  }

  bool Divides(int remainder, int fraction_digits) const {
    for (int i = fraction_digits; i < digits_; ++i) remainder = remainder * 10 % modulus_;
    return remainder == 0;
  }

  ExprId AfterWhole(int remainder) {
    const ExprId end = Divides(remainder, 0) ? kEmpty : kNothing;
    if (digits_ == 0) return end;
    const ExprId fraction = Behind(remainder, 0, [this](int next) { return Fraction(next, 1); });
    return pool_->Alternatives({end, pool_->Concat(pool_->Literal("."), fraction)});
  }

  // What follows so many digits after the point.
  ExprId Fraction(int remainder, int count) {
    const size_t index = static_cast<size_t>(remainder) * static_cast<size_t>(digits_ + 1) +
                         static_cast<size_t>(count);
    if (fractions_[index] >= 0) return fractions_[index];
    std::vector<ExprId> out;
    if (Divides(remainder, count)) out.push_back(kEmpty);
    if (count < digits_) {
      out.push_back(
          Behind(remainder, 0, [this, count](int next) { return Fraction(next, count + 1); }));
    }
    fractions_[index] = pool_->Alternatives(std::move(out));
    return fractions_[index];
  }

  const int modulus_;
  const int digits_;  // after the point, at most
  ExpressionPool* const pool_;
  std::vector<ExprId> wholes_;     // [remainders]: rules
  std::vector<ExprId> fractions_;  // [remainders, digits_ + 1]: -1: not made yet
};

}  // namespace

Result<ExprId> MultiplesOf(double step, ExpressionPool* pool) {
  if (!(step > 0)) return InvalidArgument("has multipleOf that is no number above 0.");
  const Step read = Read(step);
  if (read.modulus == 0) {
    return Unsupported(
        "has multipleOf that no constraint can be made of: it can have up to 8 digits after the "
        "point, and up to 1000 without it; leave it out.");
  }
  return Multiples(read, pool).All();
}

}  // namespace tessera::grammar
