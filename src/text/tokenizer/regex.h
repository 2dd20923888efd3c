// Regular expressions of tokenizer.json, run by PCRE2's just-in-time compiler.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "tessera/result.h"

namespace tessera::tokenization {

// Immutable and shared by its copies; matching is thread-safe.
class Regex {
 public:
  // A pattern in the syntax of Oniguruma (Ruby's), which `tokenizers` uses. What PCRE2 would read
  // differently is translated or refused.
  static Result<Regex> Oniguruma(std::string_view pattern);
  // Matches exactly `text`.
  static Result<Regex> Literal(std::string_view text);

  // Walks the non-overlapping matches from left to right. Empty matches count, except right after
  // the previous match.
  class Matches {
   public:
    // `text` is valid UTF-8 and outlives the walk, as does `regex`.
    Matches(const Regex& regex, std::string_view text);
    ~Matches();
    Matches(const Matches&) = delete;
    Matches& operator=(const Matches&) = delete;

    // False at the end, and if a hostile pattern runs into the limit on backtracking: what is
    // left then counts as not matched.
    bool Next(size_t* begin, size_t* end);

   private:
    bool Search(size_t* begin, size_t* end);

    struct State;
    std::unique_ptr<State> state_;
  };

 private:
  struct Code;
  static Result<Regex> Compile(std::string_view pattern, bool literal);
  std::shared_ptr<const Code> code_;
};

}  // namespace tessera::tokenization
