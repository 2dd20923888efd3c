#include <algorithm>
#include <iterator>

#include "text/chat/error.h"
#include "text/chat/nesting.h"
#include "text/chat/parser.h"

namespace tessera::chat {

ExpressionPtr Parser::Make(Kind kind, int line) {
  auto expression = std::make_unique<Expression>();
  expression->kind = kind;
  expression->line = line;
  return expression;
}

ExpressionPtr Parser::Make(Kind kind, int line, ExpressionPtr a, ExpressionPtr b,
                           std::string name) {
  ExpressionPtr expression = Make(kind, line);
  expression->name = std::move(name);
  AddOperand(expression.get(), std::move(a));
  if (b != nullptr) AddOperand(expression.get(), std::move(b));
  return expression;
}

void Parser::Deepen(Expression* parent, const Expression* child) const {
  if (child == nullptr) return;
  parent->depth = std::max(parent->depth, child->depth + 1);
  if (parent->depth > kMaxExpressionDepth) {
    throw SyntaxError(parent->line, "An expression has too many operators in a row.");
  }
}

void Parser::AddOperand(Expression* parent, ExpressionPtr operand) const {
  Deepen(parent, operand.get());
  parent->operands.push_back(std::move(operand));
}

bool Parser::IsTupleEnd(std::string_view end_name) const {
  return Current().kind == Token::Kind::kVariableEnd || Current().kind == Token::Kind::kBlockEnd ||
         IsOperator(")") || (!end_name.empty() && IsName(end_name));
}

ExpressionPtr Parser::ParseTuple(bool conditional, bool parenthesized, std::string_view end_name) {
  const int line = Current().line;
  std::vector<ExpressionPtr> items;
  bool is_tuple = false;
  while (!IsTupleEnd(end_name)) {
    items.push_back(ParseExpression(conditional));
    if (!SkipOperator(",")) break;
    is_tuple = true;
  }
  if (!is_tuple) {
    if (!items.empty()) return std::move(items[0]);
    if (!parenthesized) FailHere("Expected an expression");
  }
  ExpressionPtr tuple = Make(Kind::kTuple, line);
  for (ExpressionPtr& item : items) AddOperand(tuple.get(), std::move(item));
  return tuple;
}

ExpressionPtr Parser::ParseExpression(bool conditional) {
  const Nesting nesting(&nesting_, Current().line);
  ExpressionPtr value = ParseOr();
  while (conditional && IsName("if")) {
    const int line = Take().line;
    ExpressionPtr condition = ParseOr();
    ExpressionPtr otherwise = SkipName("else") ? ParseExpression() : nullptr;
    value = Make(Kind::kConditional, line, std::move(condition), std::move(value));
    AddOperand(value.get(), std::move(otherwise));
  }
  return value;
}

ExpressionPtr Parser::ParseOr() {
  ExpressionPtr left = ParseAnd();
  while (IsName("or")) {
    const int line = Take().line;
    left = Make(Kind::kOr, line, std::move(left), ParseAnd());
  }
  return left;
}

ExpressionPtr Parser::ParseAnd() {
  ExpressionPtr left = ParseNot();
  while (IsName("and")) {
    const int line = Take().line;
    left = Make(Kind::kAnd, line, std::move(left), ParseNot());
  }
  return left;
}

ExpressionPtr Parser::ParseNot() {
  if (!IsName("not")) return ParseCompare();
  const Nesting nesting(&nesting_, Current().line);
  const int line = Take().line;
  return Make(Kind::kNot, line, ParseNot());
}

ExpressionPtr Parser::ParseCompare() {
  static constexpr std::string_view kOperators[] = {"==", "!=", "<", "<=", ">", ">="};
  ExpressionPtr first = ParseSum();
  ExpressionPtr compare;
  while (true) {
    const int line = Current().line;
    std::string op;
    if (Current().kind == Token::Kind::kOperator &&
        std::find(std::begin(kOperators), std::end(kOperators), Current().text) !=
            std::end(kOperators)) {
      op = Take().text;
    } else if (SkipName("in")) {
      op = "in";
    } else if (IsName("not") && Peek().kind == Token::Kind::kName && Peek().text == "in") {
      Take();
      Take();
      op = "not in";
    } else {
      break;
    }
    if (compare == nullptr) compare = Make(Kind::kCompare, line, std::move(first));
    compare->operators.push_back(std::move(op));
    AddOperand(compare.get(), ParseSum());
  }
  return compare == nullptr ? std::move(first) : std::move(compare);
}

ExpressionPtr Parser::ParseSum() {
  ExpressionPtr left = ParseConcat();
  while (IsOperator("+") || IsOperator("-")) {
    Token op = Take();
    left = Make(Kind::kBinary, op.line, std::move(left), ParseConcat(), std::move(op.text));
  }
  return left;
}

ExpressionPtr Parser::ParseConcat() {
  ExpressionPtr first = ParseProduct();
  if (!IsOperator("~")) return first;
  ExpressionPtr concat = Make(Kind::kConcat, Current().line, std::move(first));
  while (SkipOperator("~")) AddOperand(concat.get(), ParseProduct());
  return concat;
}

ExpressionPtr Parser::ParseProduct() {
  ExpressionPtr left = ParsePower();
  while (IsOperator("*") || IsOperator("/") || IsOperator("//") || IsOperator("%")) {
    Token op = Take();
    left = Make(Kind::kBinary, op.line, std::move(left), ParsePower(), std::move(op.text));
  }
  return left;
}

// Jinja's ** binds to the left, unlike Python's.
ExpressionPtr Parser::ParsePower() {
  ExpressionPtr left = ParseUnary(true);
  while (IsOperator("**")) {
    Token op = Take();
    left = Make(Kind::kBinary, op.line, std::move(left), ParseUnary(true), std::move(op.text));
  }
  return left;
}

ExpressionPtr Parser::ParseUnary(bool with_filters) {
  const Nesting nesting(&nesting_, Current().line);
  const int line = Current().line;
  ExpressionPtr operand;
  if (SkipOperator("-")) {
    operand = Make(Kind::kNegate, line, ParseUnary(false));
  } else if (SkipOperator("+")) {
    operand = Make(Kind::kPlus, line, ParseUnary(false));
  } else {
    operand = ParsePrimary(false);
  }
  operand = ParsePostfix(std::move(operand));
  return with_filters ? ParseFilters(std::move(operand)) : std::move(operand);
}

ExpressionPtr Parser::ParsePrimary(bool allows_namespace) {
  const Nesting nesting(&nesting_, Current().line);
  const int line = Current().line;
  ExpressionPtr constant = Make(Kind::kConstant, line);
  switch (Current().kind) {
    case Token::Kind::kString: {
      std::string text;
      while (Current().kind == Token::Kind::kString) text += Take().text;
      constant->value = Value(std::move(text));
      return constant;
    }
    case Token::Kind::kInteger:
      constant->value = Value(Take().integer);
      return constant;
    case Token::Kind::kFloat:
      constant->value = Value(Take().number);
      return constant;
    case Token::Kind::kName:
      break;
    default:
      if (SkipOperator("(")) {
        ExpressionPtr inner = ParseTuple(true, true, "");
        ExpectOperator(")");
        return inner;
      }
      if (IsOperator("[") || IsOperator("{")) return ParseListOrDict();
      FailHere("Expected an expression");
  }
  std::string name = TakeName();
  if (name == "true" || name == "True" || name == "false" || name == "False") {
    constant->value = Value(name == "true" || name == "True");
    return constant;
  }
  if (name == "none" || name == "None") return constant;
  ExpressionPtr variable = Make(Kind::kName, line);
  if (allows_namespace && SkipOperator(".")) {
    variable->kind = Kind::kNamespaceItem;
    variable->member = TakeName();
  }
  uses_varargs_ |= name == "varargs";
  uses_kwargs_ |= name == "kwargs";
  uses_caller_ |= name == "caller";
  variable->name = std::move(name);
  return variable;
}

ExpressionPtr Parser::ParseListOrDict() {
  const Token open = Take();
  const bool is_list = open.text == "[";
  const std::string_view close = is_list ? "]" : "}";
  ExpressionPtr container = Make(is_list ? Kind::kList : Kind::kDict, open.line);
  while (!IsOperator(close)) {
    AddOperand(container.get(), ParseExpression());
    if (!is_list) {
      ExpectOperator(":");
      AddOperand(container.get(), ParseExpression());
    }
    if (!IsOperator(close)) ExpectOperator(",");
  }
  ExpectOperator(close);
  return container;
}

ExpressionPtr Parser::ParsePostfix(ExpressionPtr operand) {
  while (true) {
    const int line = Current().line;
    if (SkipOperator(".")) {
      if (Current().kind == Token::Kind::kInteger) {
        ExpressionPtr index = Make(Kind::kConstant, line);
        index->value = Value(Take().integer);
        operand = Make(Kind::kItem, line, std::move(operand), std::move(index));
      } else {
        operand = Make(Kind::kAttribute, line, std::move(operand), nullptr, TakeName());
      }
    } else if (SkipOperator("[")) {
      ExpressionPtr index = ParseSubscript();
      if (IsOperator(",")) {
        index = Make(Kind::kTuple, line, std::move(index));
        while (SkipOperator(",")) AddOperand(index.get(), ParseSubscript());
      }
      ExpectOperator("]");
      operand = Make(Kind::kItem, line, std::move(operand), std::move(index));
    } else if (IsOperator("(")) {
      operand = ParseCall(std::move(operand));
    } else {
      return operand;
    }
  }
}

ExpressionPtr Parser::ParseSubscript() {
  const int line = Current().line;
  ExpressionPtr start = IsOperator(":") ? nullptr : ParseExpression();
  if (!SkipOperator(":")) return start;
  ExpressionPtr slice = Make(Kind::kSlice, line);
  AddOperand(slice.get(), std::move(start));
  const auto ends = [&] { return IsOperator(":") || IsOperator("]") || IsOperator(","); };
  AddOperand(slice.get(), ends() ? nullptr : ParseExpression());
  const bool has_step = SkipOperator(":") && !ends();
  AddOperand(slice.get(), has_step ? ParseExpression() : nullptr);
  return slice;
}

ExpressionPtr Parser::ParseFilters(ExpressionPtr operand) {
  while (true) {
    if (SkipOperator("|")) {
      operand = ParseFilter(std::move(operand));
    } else if (IsName("is")) {
      operand = ParseTest(std::move(operand));
    } else if (IsOperator("(")) {
      operand = ParseCall(std::move(operand));
    } else {
      return operand;
    }
  }
}

// The current token is the filter's name.
ExpressionPtr Parser::ParseFilter(ExpressionPtr operand) {
  ExpressionPtr filter = Make(Kind::kFilter, Current().line);
  filter->name = TakeName();
  AddOperand(filter.get(), std::move(operand));
  if (IsOperator("(")) filter->arguments = ParseArguments(filter.get());
  return filter;
}

ExpressionPtr Parser::ParseTest(ExpressionPtr operand) {
  const int line = Take().line;
  const bool negated = SkipName("not");
  ExpressionPtr test = Make(Kind::kTest, line, std::move(operand), nullptr, TakeName());
  const Token::Kind next = Current().kind;
  if (IsOperator("(")) {
    test->arguments = ParseArguments(test.get());
  } else if (next == Token::Kind::kString || next == Token::Kind::kInteger ||
             next == Token::Kind::kFloat || IsOperator("[") || IsOperator("{") ||
             (next == Token::Kind::kName && !IsName("else") && !IsName("or") && !IsName("and"))) {
    if (IsName("is")) FailHere("Tests cannot be chained with 'is'");
    ExpressionPtr argument = ParsePostfix(ParsePrimary(false));
    Deepen(test.get(), argument.get());
    test->arguments.positional.push_back(std::move(argument));
  }
  return negated ? Make(Kind::kNot, line, std::move(test)) : std::move(test);
}

ExpressionPtr Parser::ParseCall(ExpressionPtr callee) {
  ExpressionPtr call = Make(Kind::kCall, Current().line, std::move(callee));
  call->arguments = ParseArguments(call.get());
  return call;
}

ArgumentList Parser::ParseArguments(Expression* owner) {
  ArgumentList arguments;
  ExpectOperator("(");
  while (!IsOperator(")")) {
    const bool may_spread = arguments.spread == nullptr && arguments.spread_keywords == nullptr;
    if (SkipOperator("*")) {
      if (!may_spread) FailHere("Only one *argument is possible, before **arguments");
      arguments.spread = ParseExpression();
    } else if (SkipOperator("**")) {
      if (arguments.spread_keywords != nullptr) FailHere("Only one **argument is possible");
      arguments.spread_keywords = ParseExpression();
    } else if (Current().kind == Token::Kind::kName && Peek().kind == Token::Kind::kOperator &&
               Peek().text == "=") {
      std::string name = TakeName();
      Take();
      arguments.keywords.emplace_back(std::move(name), ParseExpression());
    } else {
      if (!may_spread || !arguments.keywords.empty()) {
        FailHere("A positional argument cannot follow a named one");
      }
      arguments.positional.push_back(ParseExpression());
    }
    if (!IsOperator(")")) ExpectOperator(",");
  }
  ExpectOperator(")");
  for (const ExpressionPtr& argument : arguments.positional) Deepen(owner, argument.get());
  for (const auto& keyword : arguments.keywords) Deepen(owner, keyword.second.get());
  Deepen(owner, arguments.spread.get());
  Deepen(owner, arguments.spread_keywords.get());
  return arguments;
}

}  // namespace tessera::chat
