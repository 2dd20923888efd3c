// Regular expressions as clients write them (the subset of ECMA 262 that is regular), as
// expressions over bytes.
#pragma once

#include <string_view>

#include "grammar/code_points.h"
#include "grammar/expression.h"
#include "tessera/result.h"

namespace tessera::grammar {

enum class RegexMatch : uint8_t {
  kWhole,      // the whole text matches
  kSomewhere,  // some part of it does, unless ^ and $ say otherwise
};

// Characters, ., classes, \d \w \s (ASCII, as in ECMA 262; \s with the Unicode spaces that matter),
// groups, alternatives, greedy and lazy quantifiers, and ^ and $ at the ends of the outermost
// alternatives. Look-around, references and word boundaries are kUnsupported. Messages are the end
// of a sentence that begins with the pattern's name: "has ...".
Result<ExprId> ParseRegex(std::string_view pattern, RegexMatch match, TextForm form,
                          ExpressionPool* pool);

}  // namespace tessera::grammar
