// JSON numbers between bounds.
#pragma once

#include <optional>
#include <string>

#include "grammar/expression.h"
#include "tessera/result.h"

namespace tessera::grammar {

struct NumberBound {
  double value = 0;
  bool excluded = false;
};

struct NumberRange {
  bool integer = false;
  std::optional<NumberBound> low, high;
};

// Numbers are written so that every parser reads them: at most 18 digits before the point and 17
// after it, exponents of two digits; with bounds without exponents, and with no more digits than a
// double tells apart. Bounds are at most 1e15 in magnitude. Messages are the end of a sentence:
// "has the bound ...".
Result<ExprId> NumberExpression(const NumberRange& range, ExpressionPool* pool);

}  // namespace tessera::grammar
