// The tests of {{ value is test }}.
#include <algorithm>

#include "text/chat/error.h"
#include "text/chat/filters.h"
#include "text/chat/format.h"
#include "text/chat/interpreter.h"
#include "text/chat/loop.h"
#include "text/chat/text.h"

namespace tessera::chat {
namespace {

using TestFunction = bool (*)(Interpreter*, const Value&, const Arguments&);

const Value& Other(const Arguments& arguments) {
  if (arguments.positional.size() != 1 || !arguments.keywords.empty()) {
    Fail("This test needs one value to compare with.");
  }
  return arguments.positional[0];
}

int64_t Remainder(const Value& value, int64_t divisor) {
  if (!value.IsInteger()) {
    Fail("This test needs an integer, got a value of type " + value.TypeName() + ".");
  }
  if (divisor == 0) Fail("Division by zero.");
  return divisor == -1 ? 0 : value.integer() % divisor;
}

bool IsIterable(const Value& value) {
  return value.sequence() != nullptr || value.dict() != nullptr || value.IsText() ||
         value.IsUndefined() || value.As<std::shared_ptr<LoopState>>() != nullptr;
}

bool IsSequence(const Value& value) {
  const Sequence* sequence = value.sequence();
  return value.dict() != nullptr || value.IsText() || value.IsUndefined() ||
         (sequence != nullptr && sequence->IsIndexable());
}

bool SameAs(const Value& a, const Value& b) {
  if (a.TypeName() != b.TypeName()) return false;
  if (a.sequence() != nullptr) return a.sequence() == b.sequence();
  if (a.dict() != nullptr) return a.dict() == b.dict();
  return Equal(a, b);
}

template <bool (*kMember)(char32_t), bool (*kOther)(char32_t)>
bool HasCase(Interpreter*, const Value& value, const Arguments&) {
  const std::u32string text = Decode(ToText(value));
  return std::any_of(text.begin(), text.end(), kMember) &&
         std::none_of(text.begin(), text.end(), kOther);
}

struct Entry {
  const char* name;
  TestFunction function;
};

#define TESSERA_CHAT_TEST(expression)                                             \
  [](Interpreter*, const Value& v, [[maybe_unused]] const Arguments& a) -> bool { \
    return expression;                                                            \
  }

constexpr Entry kTests[] = {
    {"defined", TESSERA_CHAT_TEST(!v.IsUndefined())},
    {"undefined", TESSERA_CHAT_TEST(v.IsUndefined())},
    {"none", TESSERA_CHAT_TEST(v.IsNone())},
    {"boolean", TESSERA_CHAT_TEST(v.As<bool>() != nullptr)},
    {"true", TESSERA_CHAT_TEST(v.As<bool>() != nullptr && *v.As<bool>())},
    {"false", TESSERA_CHAT_TEST(v.As<bool>() != nullptr && !*v.As<bool>())},
    {"integer", TESSERA_CHAT_TEST(v.As<int64_t>() != nullptr)},
    {"float", TESSERA_CHAT_TEST(v.As<double>() != nullptr)},
    {"number", TESSERA_CHAT_TEST(v.IsNumber())},
    {"string", TESSERA_CHAT_TEST(v.IsText())},
    {"mapping", TESSERA_CHAT_TEST(v.dict() != nullptr)},
    {"iterable", TESSERA_CHAT_TEST(IsIterable(v))},
    {"sequence", TESSERA_CHAT_TEST(IsSequence(v))},
    {"callable", TESSERA_CHAT_TEST(v.As<std::shared_ptr<const Callable>>() != nullptr ||
                                   v.IsUndefined())},
    {"escaped", TESSERA_CHAT_TEST(v.IsSafeText())},
    {"odd", TESSERA_CHAT_TEST(Remainder(v, 2) != 0)},
    {"even", TESSERA_CHAT_TEST(Remainder(v, 2) == 0)},
    {"lower", HasCase<IsLowerCase, IsUpperCase>},
    {"upper", HasCase<IsUpperCase, IsLowerCase>},
    {"sameas", TESSERA_CHAT_TEST(SameAs(v, Other(a)))},
    {"eq", TESSERA_CHAT_TEST(Equal(v, Other(a)))},
    {"equalto", TESSERA_CHAT_TEST(Equal(v, Other(a)))},
    {"==", TESSERA_CHAT_TEST(Equal(v, Other(a)))},
    {"ne", TESSERA_CHAT_TEST(!Equal(v, Other(a)))},
    {"!=", TESSERA_CHAT_TEST(!Equal(v, Other(a)))},
    {"lt", TESSERA_CHAT_TEST(Less(v, Other(a)))},
    {"lessthan", TESSERA_CHAT_TEST(Less(v, Other(a)))},
    {"<", TESSERA_CHAT_TEST(Less(v, Other(a)))},
    {"gt", TESSERA_CHAT_TEST(Less(Other(a), v))},
    {"greaterthan", TESSERA_CHAT_TEST(Less(Other(a), v))},
    {">", TESSERA_CHAT_TEST(Less(Other(a), v))},
    {"le", TESSERA_CHAT_TEST(Less(v, Other(a)) || Equal(v, Other(a)))},
    {"<=", TESSERA_CHAT_TEST(Less(v, Other(a)) || Equal(v, Other(a)))},
    {"ge", TESSERA_CHAT_TEST(Less(Other(a), v) || Equal(v, Other(a)))},
    {">=", TESSERA_CHAT_TEST(Less(Other(a), v) || Equal(v, Other(a)))},
    {"filter", TESSERA_CHAT_TEST(v.IsText() && FindFilter(v.text()) != nullptr)},
    {"in", [](Interpreter* interpreter, const Value& v,
              const Arguments& a) { return Contains(interpreter, Other(a), v); }},
    {"divisibleby",
     [](Interpreter*, const Value& v, const Arguments& a) {
       if (!Other(a).IsInteger()) Fail("divisibleby needs an integer.");
       return Remainder(v, Other(a).integer()) == 0;
     }},
};
#undef TESSERA_CHAT_TEST

}  // namespace

bool Interpreter::Test(const std::string& name, const Value& operand, const Arguments& arguments) {
  for (const Entry& entry : kTests) {
    if (entry.name == name) return entry.function(this, operand, arguments);
  }
  Fail("The test '" + name + "' is unknown.");
}

}  // namespace tessera::chat
