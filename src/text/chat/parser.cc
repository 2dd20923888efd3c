#include "text/chat/parser.h"

#include <algorithm>

#include "text/chat/error.h"
#include "text/chat/nesting.h"

namespace tessera::chat {
namespace {

std::string Describe(const Token& token) {
  switch (token.kind) {
    case Token::Kind::kEnd:
      return "the end of the template";
    case Token::Kind::kText:
      return "text";
    case Token::Kind::kVariableBegin:
      return "'{{'";
    case Token::Kind::kVariableEnd:
      return "'}}'";
    case Token::Kind::kBlockBegin:
      return "'{%'";
    case Token::Kind::kBlockEnd:
      return "'%}'";
    case Token::Kind::kInteger:
    case Token::Kind::kFloat:
      return "a number";
    case Token::Kind::kString:
      return "a string";
    case Token::Kind::kName:
    case Token::Kind::kOperator:
      break;
  }
  return "'" + token.text + "'";
}

}  // namespace

Token Parser::Take() {
  Token token = Current();
  if (token.kind != Token::Kind::kEnd) ++position_;
  return token;
}

bool Parser::IsName(std::string_view name) const {
  return Current().kind == Token::Kind::kName && Current().text == name;
}

bool Parser::IsOperator(std::string_view op) const {
  return Current().kind == Token::Kind::kOperator && Current().text == op;
}

bool Parser::SkipName(std::string_view name) {
  const bool found = IsName(name);
  if (found) ++position_;
  return found;
}

bool Parser::SkipOperator(std::string_view op) {
  const bool found = IsOperator(op);
  if (found) ++position_;
  return found;
}

void Parser::ExpectName(std::string_view name) {
  if (!SkipName(name)) FailHere("Expected '" + std::string(name) + "'");
}

void Parser::ExpectOperator(std::string_view op) {
  if (!SkipOperator(op)) FailHere("Expected '" + std::string(op) + "'");
}

void Parser::Expect(Token::Kind kind, std::string_view what) {
  if (Current().kind != kind) FailHere("Expected " + std::string(what));
  Take();
}

std::string Parser::TakeName() {
  if (Current().kind != Token::Kind::kName) FailHere("Expected a name");
  return Take().text;
}

void Parser::FailHere(const std::string& message) const {
  throw SyntaxError(Current().line, message + ", got " + Describe(Current()) + ".");
}

Body Parser::Parse() { return ParseBody({}); }

// Up to one of `end_tags`, whose name is left as the current token.
Body Parser::ParseBody(std::initializer_list<std::string_view> end_tags) {
  const Nesting nesting(&nesting_, Current().line);
  Body body;
  while (true) {
    const int line = Current().line;
    auto statement = std::make_unique<Statement>();
    statement->line = line;
    switch (Current().kind) {
      case Token::Kind::kText:
        statement->kind = Statement::Kind::kText;
        statement->text = Take().text;
        break;
      case Token::Kind::kVariableBegin:
        Take();
        statement->kind = Statement::Kind::kOutput;
        statement->expression = ParseTuple(true, false, "");
        Expect(Token::Kind::kVariableEnd, "'}}'");
        break;
      case Token::Kind::kBlockBegin:
        Take();
        for (const std::string_view tag : end_tags) {
          if (IsName(tag)) return body;
        }
        statement = ParseStatement();
        Expect(Token::Kind::kBlockEnd, "'%}'");
        break;
      default:
        if (end_tags.size() != 0) {
          FailHere("Expected {% " + std::string(*(end_tags.end() - 1)) + " %}");
        }
        return body;
    }
    body.push_back(std::move(statement));
  }
}

// The rest of an opening tag and the body after it.
Body Parser::ParseBlock(std::initializer_list<std::string_view> end_tags) {
  SkipOperator(":");
  Expect(Token::Kind::kBlockEnd, "'%}'");
  return ParseBody(end_tags);
}

std::unique_ptr<Statement> Parser::ParseStatement() {
  using StatementKind = Statement::Kind;
  auto statement = std::make_unique<Statement>();
  statement->line = Current().line;
  const std::string tag = TakeName();
  if (tag == "set") {
    ParseSet(statement.get());
  } else if (tag == "for") {
    ParseFor(statement.get());
  } else if (tag == "if") {
    ParseIf(statement.get());
  } else if (tag == "macro") {
    ParseMacro(statement.get());
  } else if (tag == "call") {
    ParseCallBlock(statement.get());
  } else if (tag == "with") {
    ParseWith(statement.get());
  } else if (tag == "print") {
    statement->kind = StatementKind::kOutput;
    statement->expression = ParseExpression();
  } else if (tag == "filter") {
    statement->kind = StatementKind::kFilterBlock;
    statement->expression = ParseFilter(nullptr);
    while (SkipOperator("|")) statement->expression = ParseFilter(std::move(statement->expression));
    statement->body = ParseBlock({"endfilter"});
    ExpectName("endfilter");
  } else if (tag == "generation") {
    // A block of its own in transformers, with the variables of a macro.
    statement->kind = StatementKind::kScope;
    const int loops = std::exchange(loop_depth_, 0);
    statement->body = ParseBlock({"endgeneration"});
    loop_depth_ = loops;
    ExpectName("endgeneration");
  } else if (tag == "break" || tag == "continue") {
    if (loop_depth_ == 0) {
      throw SyntaxError(statement->line, "{% " + tag + " %} stands outside of a loop.");
    }
    statement->kind = tag == "break" ? StatementKind::kBreak : StatementKind::kContinue;
  } else {
    throw SyntaxError(statement->line, "The tag {% " + tag +
                                           " %} is unknown, closes nothing, or is not supported "
                                           "in chat templates.");
  }
  return statement;
}

void Parser::ParseSet(Statement* set) {
  set->target = ParseTarget(true, "");
  if (SkipOperator("=")) {
    set->kind = Statement::Kind::kSet;
    set->expression = ParseTuple(true, false, "");
    return;
  }
  set->kind = Statement::Kind::kSetBlock;
  while (SkipOperator("|")) set->expression = ParseFilter(std::move(set->expression));
  set->body = ParseBlock({"endset"});
  ExpectName("endset");
}

void Parser::ParseFor(Statement* loop) {
  loop->kind = Statement::Kind::kFor;
  loop->target = ParseTarget(false, "in");
  ExpectName("in");
  loop->expression = ParseTuple(false, false, "recursive");
  if (SkipName("if")) loop->condition = ParseExpression();
  if (IsName("recursive")) {
    throw SyntaxError(Current().line, "Recursive loops are not supported; use a macro.");
  }
  ++loop_depth_;
  loop->body = ParseBlock({"else", "endfor"});
  --loop_depth_;
  if (SkipName("else")) loop->orelse = ParseBlock({"endfor"});
  ExpectName("endfor");
}

void Parser::ParseIf(Statement* branch) {
  const Nesting nesting(&nesting_, branch->line);
  branch->kind = Statement::Kind::kIf;
  branch->expression = ParseTuple(false, false, "");
  branch->body = ParseBlock({"elif", "else", "endif"});
  if (IsName("elif")) {
    auto next = std::make_unique<Statement>();
    next->line = Current().line;
    Take();
    ParseIf(next.get());
    branch->orelse.push_back(std::move(next));
    return;
  }
  if (SkipName("else")) branch->orelse = ParseBlock({"endif"});
  ExpectName("endif");
}

void Parser::ParseMacro(Statement* macro) {
  macro->kind = Statement::Kind::kMacro;
  macro->name = TakeName();
  macro->parameters = ParseParameters();
  ParseMacroBody(macro, "endmacro");
}

void Parser::ParseCallBlock(Statement* call) {
  call->kind = Statement::Kind::kCallBlock;
  if (IsOperator("(")) call->parameters = ParseParameters();
  call->expression = ParseExpression();
  if (call->expression->kind != Kind::kCall) {
    throw SyntaxError(call->line, "{% call %} needs the call of a macro.");
  }
  ParseMacroBody(call, "endcall");
}

void Parser::ParseMacroBody(Statement* macro, std::string_view end_tag) {
  const int loops = std::exchange(loop_depth_, 0);
  const bool varargs = std::exchange(uses_varargs_, false);
  const bool kwargs = std::exchange(uses_kwargs_, false);
  const bool caller = std::exchange(uses_caller_, false);
  macro->body = ParseBlock({end_tag});
  ExpectName(end_tag);
  loop_depth_ = loops;
  macro->uses_varargs = std::exchange(uses_varargs_, varargs);
  macro->uses_kwargs = std::exchange(uses_kwargs_, kwargs);
  macro->uses_caller = std::exchange(uses_caller_, caller);
}

void Parser::ParseWith(Statement* with) {
  with->kind = Statement::Kind::kWith;
  while (Current().kind != Token::Kind::kBlockEnd) {
    if (!with->assignments.empty()) ExpectOperator(",");
    ExpressionPtr target = ParseTarget(false, "");
    ExpectOperator("=");
    with->assignments.emplace_back(std::move(target), ParseExpression());
  }
  with->body = ParseBlock({"endwith"});
  ExpectName("endwith");
}

std::vector<Parameter> Parser::ParseParameters() {
  std::vector<Parameter> parameters;
  ExpectOperator("(");
  while (!IsOperator(")")) {
    if (!parameters.empty()) ExpectOperator(",");
    Parameter parameter;
    parameter.name = TakeName();
    if (SkipOperator("=")) {
      parameter.default_value = ParseExpression();
    } else if (!parameters.empty() && parameters.back().default_value != nullptr) {
      FailHere("A parameter without a default follows one with a default");
    }
    parameters.push_back(std::move(parameter));
  }
  ExpectOperator(")");
  return parameters;
}

ExpressionPtr Parser::ParseTarget(bool allows_namespace, std::string_view end_name) {
  const int line = Current().line;
  std::vector<ExpressionPtr> parts;
  bool is_tuple = false;
  while (!IsTupleEnd(end_name)) {
    parts.push_back(ParsePrimary(allows_namespace));
    CheckTarget(*parts.back());
    if (!SkipOperator(",")) break;
    is_tuple = true;
  }
  if (parts.empty()) FailHere("Expected the name of a variable");
  if (!is_tuple) return std::move(parts[0]);
  ExpressionPtr tuple = Make(Kind::kTuple, line);
  for (ExpressionPtr& part : parts) AddOperand(tuple.get(), std::move(part));
  return tuple;
}

void Parser::CheckTarget(const Expression& target) const {
  if (target.kind == Kind::kName || target.kind == Kind::kNamespaceItem) return;
  if (target.kind != Kind::kTuple) {
    throw SyntaxError(target.line, "Only names, ns.name and tuples of them can be assigned to.");
  }
  for (const ExpressionPtr& part : target.operands) CheckTarget(*part);
}

}  // namespace tessera::chat
