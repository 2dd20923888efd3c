// Tokens to syntax tree, by recursive descent over Jinja's grammar.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <string_view>
#include <vector>

#include "text/chat/ast.h"
#include "text/chat/lexer.h"

namespace tessera::chat {

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}
  // The whole template. Throws SyntaxError.
  Body Parse();

 private:
  using Kind = Expression::Kind;

  // Looking at and consuming tokens.
  const Token& Current() const { return tokens_[position_]; }
  const Token& Peek() const { return tokens_[std::min(position_ + 1, tokens_.size() - 1)]; }
  Token Take();
  bool IsName(std::string_view name) const;
  bool IsOperator(std::string_view op) const;
  bool SkipName(std::string_view name);
  bool SkipOperator(std::string_view op);
  void ExpectName(std::string_view name);
  void ExpectOperator(std::string_view op);
  void Expect(Token::Kind kind, std::string_view what);
  std::string TakeName();
  [[noreturn]] void FailHere(const std::string& message) const;

  // Statements.
  Body ParseBody(std::initializer_list<std::string_view> end_tags);
  Body ParseBlock(std::initializer_list<std::string_view> end_tags);
  std::unique_ptr<Statement> ParseStatement();
  void ParseSet(Statement* set);
  void ParseFor(Statement* loop);
  void ParseIf(Statement* branch);
  void ParseMacro(Statement* macro);
  void ParseCallBlock(Statement* call);
  void ParseWith(Statement* with);
  void ParseMacroBody(Statement* macro, std::string_view end_tag);
  std::vector<Parameter> ParseParameters();
  ExpressionPtr ParseTarget(bool allows_namespace, std::string_view end_name);
  void CheckTarget(const Expression& target) const;

  // Expressions, loosest binding first.
  ExpressionPtr ParseTuple(bool conditional, bool parenthesized, std::string_view end_name);
  ExpressionPtr ParseExpression(bool conditional = true);
  ExpressionPtr ParseOr();
  ExpressionPtr ParseAnd();
  ExpressionPtr ParseNot();
  ExpressionPtr ParseCompare();
  ExpressionPtr ParseSum();
  ExpressionPtr ParseConcat();
  ExpressionPtr ParseProduct();
  ExpressionPtr ParsePower();
  ExpressionPtr ParseUnary(bool with_filters);
  ExpressionPtr ParsePrimary(bool allows_namespace);
  ExpressionPtr ParseListOrDict();
  ExpressionPtr ParsePostfix(ExpressionPtr operand);
  ExpressionPtr ParseFilters(ExpressionPtr operand);
  ExpressionPtr ParseFilter(ExpressionPtr operand);
  ExpressionPtr ParseTest(ExpressionPtr operand);
  ExpressionPtr ParseSubscript();
  ExpressionPtr ParseCall(ExpressionPtr callee);
  ArgumentList ParseArguments(Expression* owner);
  bool IsTupleEnd(std::string_view end_name) const;

  ExpressionPtr Make(Kind kind, int line);
  ExpressionPtr Make(Kind kind, int line, ExpressionPtr a, ExpressionPtr b = nullptr,
                     std::string name = {});
  // Adds an operand and keeps the depth of the tree within its bound.
  void AddOperand(Expression* parent, ExpressionPtr operand) const;
  void Deepen(Expression* parent, const Expression* child) const;

  std::vector<Token> tokens_;
  size_t position_ = 0;
  int nesting_ = 0;     // of the parser's own recursion
  int loop_depth_ = 0;  // loops around the current tag inside the current macro
  bool uses_varargs_ = false, uses_kwargs_ = false, uses_caller_ = false;
};

}  // namespace tessera::chat
