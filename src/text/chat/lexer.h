// Splits a template into text and tokens. White space around tags is resolved here: "-" and "+"
// marks, one newline after a block tag (trim_blocks), blanks before one (lstrip_blocks).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::chat {

struct Token {
  enum class Kind {
    kText,
    kVariableBegin,
    kVariableEnd,
    kBlockBegin,
    kBlockEnd,
    kName,
    kString,
    kInteger,
    kFloat,
    kOperator,
    kEnd,
  };
  Kind kind;
  int line;
  std::string text;  // names, operators, unescaped strings and template text
  int64_t integer = 0;
  double number = 0;
};

// Ends with a kEnd token. Throws SyntaxError.
std::vector<Token> Tokenize(std::string_view source);

}  // namespace tessera::chat
