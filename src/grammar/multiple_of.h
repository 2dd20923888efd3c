// JSON numbers that are multiples of a number.
#pragma once

#include "grammar/expression.h"
#include "tessera/result.h"

namespace tessera::grammar {

// Decimals without exponents whose value is a whole multiple of `step`: an automaton of the
// remainders. `step` is written with at most 8 digits after the point, and its digits alone are at
// most 1000. Messages are the end of a sentence: "has ...".
Result<ExprId> MultiplesOf(double step, ExpressionPool* pool);

}  // namespace tessera::grammar
