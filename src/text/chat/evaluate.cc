#include <algorithm>

#include "text/chat/error.h"
#include "text/chat/format.h"
#include "text/chat/interpreter.h"

namespace tessera::chat {
namespace {

constexpr int kMaxDepth = 1000;

bool CompareWith(Interpreter* interpreter, const std::string& op, const Value& a, const Value& b) {
  interpreter->Charge(std::min(a.weight(), b.weight()));
  if (op == "==") return Equal(a, b);
  if (op == "!=") return !Equal(a, b);
  if (op == "<") return Less(a, b);
  if (op == ">") return Less(b, a);
  if (op == "<=") return Less(a, b) || Equal(a, b);
  if (op == ">=") return Less(b, a) || Equal(a, b);
  return Contains(interpreter, b, a) == (op == "in");
}

}  // namespace

Value Interpreter::Lookup(const std::string& name) {
  for (const Scope* scope = scope_.get(); scope != nullptr; scope = scope->parent.get()) {
    for (const auto& [key, value] : scope->variables) {
      if (key == name) return value;
    }
  }
  if (std::optional<Value> global = FindGlobal(name)) return *global;
  return Value::MakeUndefined("'" + name + "' is undefined.");
}

Value Interpreter::Evaluate(const Expression& expression) {
  if (depth_ >= kMaxDepth) Fail("Macros or expressions are nested too deeply.");
  ++depth_;
  Charge(1);
  line_ = expression.line;
  Value value = EvaluateNode(expression);
  --depth_;
  return value;
}

Value Interpreter::EvaluateNode(const Expression& expression) {
  using Kind = Expression::Kind;
  const auto operand = [&](size_t i) { return Evaluate(*expression.operands[i]); };
  switch (expression.kind) {
    case Kind::kConstant:
      return expression.value;
    case Kind::kName:
      return Lookup(expression.name);
    case Kind::kList:
    case Kind::kTuple: {
      std::vector<Value> items;
      for (const ExpressionPtr& item : expression.operands) items.push_back(Evaluate(*item));
      Charge(0, static_cast<int64_t>(items.size() * sizeof(Value)));
      return expression.kind == Kind::kList ? Value::MakeList(std::move(items))
                                            : Value::MakeTuple(std::move(items));
    }
    case Kind::kDict:
      return EvaluateDict(expression);
    case Kind::kNot:
      return Value(!operand(0).IsTruthy());
    case Kind::kNegate:
      return BinaryOperation(this, "neg", operand(0), Value());
    case Kind::kPlus:
      return BinaryOperation(this, "pos", operand(0), Value());
    case Kind::kAnd: {
      Value left = operand(0);
      return left.IsTruthy() ? operand(1) : left;
    }
    case Kind::kOr: {
      Value left = operand(0);
      return left.IsTruthy() ? left : operand(1);
    }
    case Kind::kBinary: {
      const Value left = operand(0);
      const Value right = operand(1);
      line_ = expression.line;
      return BinaryOperation(this, expression.name, left, right);
    }
    case Kind::kConcat: {
      std::string text;
      for (const ExpressionPtr& part : expression.operands) text += ToText(Evaluate(*part));
      return MakeText(std::move(text));
    }
    case Kind::kCompare:
      return EvaluateCompare(expression);
    case Kind::kConditional:
      if (operand(0).IsTruthy()) return operand(1);
      if (expression.operands[2] != nullptr) return operand(2);
      return Value::MakeUndefined("An inline if without else was false.");
    case Kind::kAttribute:
      return GetAttribute(operand(0), expression.name);
    case Kind::kItem:
      return EvaluateItem(expression);
    case Kind::kCall:
      return EvaluateCall(expression, nullptr);
    case Kind::kFilter:
      return EvaluateFilter(expression,
                            expression.operands[0] == nullptr ? *filter_input_ : operand(0));
    case Kind::kTest: {
      const Value subject = operand(0);
      const Arguments arguments = EvaluateArguments(expression.arguments);
      return Value(Test(expression.name, subject, arguments));
    }
    case Kind::kSlice:
    case Kind::kNamespaceItem:
      break;
  }
  Fail("A slice stands where a value is needed.");
}

Value Interpreter::EvaluateDict(const Expression& expression) {
  std::vector<Dict::Entry> entries;
  for (size_t i = 0; i < expression.operands.size(); i += 2) {
    Value key = Evaluate(*expression.operands[i]);
    entries.emplace_back(std::move(key), Evaluate(*expression.operands[i + 1]));
  }
  Charge(0, static_cast<int64_t>(entries.size() * 4 * sizeof(Value)));
  return MakeDict(std::move(entries));
}

Value Interpreter::EvaluateCompare(const Expression& expression) {
  Value left = Evaluate(*expression.operands[0]);
  for (size_t i = 0; i < expression.operators.size(); ++i) {
    Value right = Evaluate(*expression.operands[i + 1]);
    line_ = expression.line;
    if (!CompareWith(this, expression.operators[i], left, right)) return Value(false);
    left = std::move(right);
  }
  return Value(true);
}

Value Interpreter::EvaluateItem(const Expression& expression) {
  const Value object = Evaluate(*expression.operands[0]);
  const Expression& index = *expression.operands[1];
  if (index.kind != Expression::Kind::kSlice) {
    const Value position = Evaluate(index);
    if (object.IsText()) Charge(static_cast<int64_t>(object.text().size() / 64));
    return GetItem(object, position);
  }
  const auto part = [&](size_t i) {
    return index.operands[i] == nullptr ? Value() : Evaluate(*index.operands[i]);
  };
  const Value start = part(0);
  const Value stop = part(1);
  const Value step = part(2);
  Value slice = GetSlice(object, start, stop, step);
  if (slice.IsText()) Charge(static_cast<int64_t>(object.text().size() / 16));
  if (const Sequence* items = slice.sequence()) {
    const auto size = static_cast<int64_t>(items->items.size());
    Charge(size / 8, size * static_cast<int64_t>(sizeof(Value)));
  }
  return slice;
}

Value Interpreter::EvaluateFilter(const Expression& expression, const Value& operand) {
  const Arguments arguments = EvaluateArguments(expression.arguments);
  line_ = expression.line;
  return Filter(expression.name, operand, arguments);
}

Value Interpreter::EvaluateCall(const Expression& expression, const Value* caller) {
  const Value callee = Evaluate(*expression.operands[0]);
  Arguments arguments = EvaluateArguments(expression.arguments);
  if (caller != nullptr) arguments.keywords.emplace_back("caller", *caller);
  line_ = expression.line;
  return Call(callee, arguments);
}

Value Interpreter::Call(const Value& callee, const Arguments& arguments) {
  if (const auto* callable = callee.As<std::shared_ptr<const Callable>>()) {
    return (*callable)->Call(this, arguments);
  }
  if (const Undefined* undefined = callee.As<Undefined>()) Fail(*undefined->why);
  Fail("A value of type " + callee.TypeName() + " cannot be called.");
}

Arguments Interpreter::EvaluateArguments(const ArgumentList& list) {
  Arguments arguments;
  for (const ExpressionPtr& argument : list.positional) {
    arguments.positional.push_back(Evaluate(*argument));
  }
  if (list.spread != nullptr) {
    for (Value& item : Iterate(this, Evaluate(*list.spread))) {
      arguments.positional.push_back(std::move(item));
    }
  }
  for (const auto& [name, argument] : list.keywords) {
    arguments.keywords.emplace_back(name, Evaluate(*argument));
  }
  if (list.spread_keywords != nullptr) {
    const Value spread = Evaluate(*list.spread_keywords);
    if (spread.dict() == nullptr) Fail("The argument after ** must be a dict.");
    for (const auto& [key, value] : spread.dict()->entries()) {
      if (!key.IsText()) Fail("The keys of the dict after ** must be strings.");
      arguments.keywords.emplace_back(key.text(), value);
    }
  }
  return arguments;
}

}  // namespace tessera::chat
