// Arithmetic and membership with Python's meaning; integers are 64 bits wide here and overflow is
// an error.
#include <algorithm>
#include <cmath>

#include "text/chat/error.h"
#include "text/chat/format.h"
#include "text/chat/interpreter.h"
#include "text/chat/text.h"

namespace tessera::chat {
namespace {

[[noreturn]] void FailOverflow() { Fail("An integer grows beyond 64 bits."); }

Value IntegerPower(int64_t base, int64_t exponent) {
  if (exponent < 0) {
    if (base == 0) Fail("0 cannot be raised to a negative power.");
    return Value(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  }
  int64_t result = 1;
  while (exponent > 0) {
    if ((exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result)) FailOverflow();
    exponent >>= 1;
    if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) FailOverflow();
  }
  return Value(result);
}

Value IntegerOperation(const std::string& op, int64_t a, int64_t b) {
  int64_t result = 0;
  if (op == "+") {
    if (__builtin_add_overflow(a, b, &result)) FailOverflow();
    return Value(result);
  }
  if (op == "-") {
    if (__builtin_sub_overflow(a, b, &result)) FailOverflow();
    return Value(result);
  }
  if (op == "*") {
    if (__builtin_mul_overflow(a, b, &result)) FailOverflow();
    return Value(result);
  }
  if (op == "**") return IntegerPower(a, b);
  if (b == 0) Fail("Division by zero.");
  if (op == "/") return Value(static_cast<double>(a) / static_cast<double>(b));
  if (b == -1) return op == "%" ? Value(int64_t{0}) : IntegerOperation("-", 0, a);
  const int64_t remainder = a % b;  // the quotient rounds down, the rest has the divisor's sign
  const bool adjusts = remainder != 0 && (remainder < 0) != (b < 0);
  if (op == "//") return Value(a / b - (adjusts ? 1 : 0));
  return Value(adjusts ? remainder + b : remainder);
}

Value RealOperation(const std::string& op, double a, double b) {
  if (op == "+") return Value(a + b);
  if (op == "-") return Value(a - b);
  if (op == "*") return Value(a * b);
  if (op == "**") {
    if (a == 0 && b < 0) Fail("0 cannot be raised to a negative power.");
    if (a < 0 && std::isfinite(b) && std::floor(b) != b) {
      Fail("The root of a negative number is not real.");
    }
    const double power = std::pow(a, b);
    if (std::isinf(power) && std::isfinite(a) && std::isfinite(b)) Fail("A power is too large.");
    return Value(power);
  }
  if (b == 0) Fail("Division by zero.");
  if (op == "/") return Value(a / b);
  double remainder = std::fmod(a, b);
  double quotient = (a - remainder) / b;
  if (remainder != 0 && (remainder < 0) != (b < 0)) {
    remainder += b;
    quotient -= 1;
  }
  if (remainder == 0) remainder = std::copysign(0.0, b);
  if (op == "%") return Value(remainder);
  if (quotient == 0) return Value(std::copysign(0.0, a / b));
  double rounded = std::floor(quotient);
  if (quotient - rounded > 0.5) rounded += 1;
  return Value(rounded);
}

Value Repeat(Interpreter* interpreter, const Value& value, int64_t count) {
  count = std::max<int64_t>(count, 0);
  if (value.IsText()) {
    const auto size = static_cast<int64_t>(value.text().size());
    if (size > 0 && count > static_cast<int64_t>(kMaxTextBytes) / size) {
      Fail("A text grows beyond 64 MiB.");
    }
    std::string text;
    for (int64_t i = 0; size > 0 && i < count; ++i) text += value.text();
    return interpreter->MakeText(std::move(text), value.IsSafeText());
  }
  const std::vector<Value>& items = value.sequence()->items;
  const auto size = static_cast<int64_t>(items.size());
  if (size > 0 && count > 10'000'000 / size) Fail("A list grows beyond 10 million items.");
  interpreter->Charge(size * count, size * count * static_cast<int64_t>(sizeof(Value)));
  std::vector<Value> repeated;
  for (int64_t i = 0; size > 0 && i < count; ++i) {
    repeated.insert(repeated.end(), items.begin(), items.end());
  }
  return MakeSequence(value.sequence()->kind, std::move(repeated));
}

bool IsListOrTuple(const Value& value) {
  return value.sequence() != nullptr && value.sequence()->kind <= Sequence::Kind::kTuple;
}

}  // namespace

Value BinaryOperation(Interpreter* interpreter, const std::string& op, const Value& a,
                      const Value& b) {
  for (const Value* side : {&a, &b}) {
    if (side->IsUndefined() && !(op == "%" && a.IsText())) Fail(*side->As<Undefined>()->why);
  }
  if ((op == "neg" || op == "pos") && a.IsNumber()) {
    if (!a.IsInteger()) return Value(op == "neg" ? -a.number() : a.number());
    return op == "neg" ? IntegerOperation("-", 0, a.integer()) : Value(a.integer());
  }
  if (op == "%" && a.IsText()) return interpreter->MakeText(PercentFormat(a.text(), b));
  if (a.IsNumber() && b.IsNumber()) {
    return a.IsInteger() && b.IsInteger() ? IntegerOperation(op, a.integer(), b.integer())
                                          : RealOperation(op, a.number(), b.number());
  }
  if (op == "+" && a.IsText() && b.IsText()) {
    const bool safe = a.IsSafeText() || b.IsSafeText();
    const auto part = [&](const Value& value) {
      return safe && !value.IsSafeText() ? EscapeHtml(value.text()) : value.text();
    };
    return interpreter->MakeText(part(a) + part(b), safe);
  }
  if (op == "+" && IsListOrTuple(a) && IsListOrTuple(b) &&
      a.sequence()->kind == b.sequence()->kind) {
    std::vector<Value> items = a.sequence()->items;
    items.insert(items.end(), b.sequence()->items.begin(), b.sequence()->items.end());
    const auto size = static_cast<int64_t>(items.size());
    interpreter->Charge(size / 8, size * static_cast<int64_t>(sizeof(Value)));
    return MakeSequence(a.sequence()->kind, std::move(items));
  }
  if (op == "*") {
    if ((a.IsText() || IsListOrTuple(a)) && b.IsInteger()) {
      return Repeat(interpreter, a, b.integer());
    }
    if ((b.IsText() || IsListOrTuple(b)) && a.IsInteger()) {
      return Repeat(interpreter, b, a.integer());
    }
  }
  Fail("'" + op + "' does not work between values of type " + a.TypeName() + " and " +
       b.TypeName() + ".");
}

bool Contains(Interpreter* interpreter, const Value& container, const Value& item) {
  if (container.IsText()) {
    if (!item.IsText()) {
      Fail("Only a string can be in a string, not a value of type " + item.TypeName() + ".");
    }
    interpreter->Charge(static_cast<int64_t>(container.text().size() / 64));
    return container.text().find(item.text()) != std::string::npos;
  }
  if (const Dict* dict = container.dict()) return dict->Find(item) != nullptr;
  const std::vector<Value> items = Iterate(interpreter, container);
  interpreter->Charge(container.weight());
  for (const Value& candidate : items) {
    if (Equal(candidate, item)) return true;
  }
  return false;
}

std::vector<Value> Iterate(Interpreter* interpreter, const Value& value) {
  std::vector<Value> items;
  if (Sequence* sequence = value.sequence()) {
    items.assign(sequence->items.begin() + static_cast<std::ptrdiff_t>(sequence->position),
                 sequence->items.end());
    if (!sequence->HasLength()) sequence->position = sequence->items.size();
  } else if (const Dict* dict = value.dict()) {
    for (const auto& entry : dict->entries()) items.push_back(entry.first);
  } else if (value.IsText()) {
    const std::string& text = value.text();
    for (size_t at = 0; at < text.size();) {
      const size_t start = at;
      NextCodePoint(text, &at);
      interpreter->Charge(1, static_cast<int64_t>(sizeof(Value) * 4));
      items.emplace_back(text.substr(start, at - start));
    }
  } else if (!value.IsUndefined()) {
    Fail("A value of type " + value.TypeName() + " cannot be iterated over.");
  }
  const auto size = static_cast<int64_t>(items.size());
  interpreter->Charge(size / 4, size * static_cast<int64_t>(sizeof(Value)));
  return items;
}

int64_t Length(const Value& value) {
  if (value.IsText()) return CodePointCount(value.text());
  if (const Dict* dict = value.dict()) return static_cast<int64_t>(dict->entries().size());
  const Sequence* sequence = value.sequence();
  if (sequence != nullptr && sequence->HasLength()) {
    return static_cast<int64_t>(sequence->items.size());
  }
  if (value.IsUndefined()) return 0;
  Fail("A value of type " + value.TypeName() + " has no length.");
}

}  // namespace tessera::chat
