// Bounds the parser's recursion, so that a hostile template cannot exhaust the stack.
#pragma once

#include "text/chat/error.h"

namespace tessera::chat {

inline constexpr int kMaxNesting = 200;  // tags and brackets inside each other
// Of one expression's tree; a long chain of operators is as deep as it has operators.
inline constexpr int kMaxExpressionDepth = 400;

class Nesting {
 public:
  Nesting(int* level, int line) : level_(level) {
    if (*level_ >= kMaxNesting) throw SyntaxError(line, "Tags or brackets are nested too deeply.");
    ++*level_;
  }
  ~Nesting() { --*level_; }
  Nesting(const Nesting&) = delete;
  Nesting& operator=(const Nesting&) = delete;

 private:
  int* level_;
};

}  // namespace tessera::chat
