// The syntax tree of a template. Immutable once parsed.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "text/chat/value.h"

namespace tessera::chat {

struct Expression;
struct Statement;
using ExpressionPtr = std::unique_ptr<Expression>;
using Body = std::vector<std::unique_ptr<Statement>>;

// f(positional..., *spread, name=value..., **spread_keywords)
struct ArgumentList {
  std::vector<ExpressionPtr> positional;
  std::vector<std::pair<std::string, ExpressionPtr>> keywords;
  ExpressionPtr spread;
  ExpressionPtr spread_keywords;
};

struct Expression {
  enum class Kind {
    kConstant,       // value
    kName,           // name
    kNamespaceItem,  // name.member, only as a target of set
    kList,           // operands
    kTuple,          // operands
    kDict,           // operands: key, value, key, value, ...
    kNot,            // operands[0]
    kNegate,         // operands[0]
    kPlus,           // operands[0]
    kAnd,            // operands[0] and operands[1]
    kOr,             // operands[0] or operands[1]
    kBinary,         // operands[0] name operands[1]
    kConcat,         // all operands, with ~
    kCompare,        // operands[0] operators[0] operands[1] operators[1] ...
    kConditional,    // operands: condition, value if true, value if false (may be null)
    kAttribute,      // operands[0].name
    kItem,           // operands[0][operands[1]]
    kSlice,          // start, stop, step, each may be null; only as the index of kItem
    kCall,           // operands[0](arguments)
    kFilter,         // operands[0]|name(arguments); null operand: the text of the block around it
    kTest,           // operands[0] is name(arguments)
  };
  Kind kind;
  int line;
  int depth = 1;  // of the tree below; the parser bounds it
  std::string name;
  std::string member;
  Value value;
  std::vector<ExpressionPtr> operands;
  std::vector<std::string> operators;
  ArgumentList arguments;
};

struct Parameter {
  std::string name;
  ExpressionPtr default_value;  // may be null
};

struct Statement {
  enum class Kind {
    kText,         // text
    kOutput,       // {{ expression }}
    kSet,          // target = expression
    kSetBlock,     // target = body, through the filter in expression if there is one
    kFor,          // for target in expression if condition: body, else orelse
    kIf,           // if expression: body, else orelse (elif is an if inside)
    kMacro,        // macro name(parameters): body
    kCallBlock,    // call(parameters) expression: body
    kFilterBlock,  // filter expression: body
    kWith,         // with assignments: body
    kScope,        // body with variables of its own ({% generation %})
    kBreak,
    kContinue,
  };
  Kind kind;
  int line;
  std::string text;
  std::string name;
  ExpressionPtr target;
  ExpressionPtr expression;
  ExpressionPtr condition;
  std::vector<Parameter> parameters;
  std::vector<std::pair<ExpressionPtr, ExpressionPtr>> assignments;
  Body body;
  Body orelse;
  // Of macros and call blocks: which of the implicit names the body mentions.
  bool uses_varargs = false;
  bool uses_kwargs = false;
  bool uses_caller = false;
};

}  // namespace tessera::chat
