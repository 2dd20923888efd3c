// What the readers of all components share.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "text/tokenizer/json.h"
#include "text/tokenizer/regex.h"

namespace tessera::tokenization {

// Sequences may hold sequences, but no deeper than this.
inline constexpr int kMaxNesting = 16;

Error UnknownType(std::string_view component, std::string_view type);

// {"String": "..."} or {"Regex": "..."}, the member "pattern" of `parent`.
struct Pattern {
  Regex regex;
  std::string literal;  // of a String; "" for a Regex
};
Result<Pattern> ParsePattern(Json parent, std::string_view where);

// Calls read(component, type) for `json`, or, if its type is Sequence, for all that the member
// `members` lists, in order.
Status ForEachComponent(Json json, std::string_view members, std::string_view component,
                        const std::function<Status(Json, const std::string&)>& read, int depth = 0);

}  // namespace tessera::tokenization
