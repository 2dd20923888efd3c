// JSON schemas as expressions.
#pragma once

#include <nlohmann/json.hpp>

#include "grammar/expression.h"
#include "tessera/result.h"

namespace tessera::grammar {

using Json = nlohmann::ordered_json;

// Every text of the expression is JSON that the schema allows; not everything that it allows is
// among the texts:
// - members come in the order of `properties`, those that are only `required` behind them;
// - members that are not named come only where `additionalProperties` is given and allows them, or
//   nothing is named;
// - further list items come only where `items` is given, or there is no `prefixItems`;
// - what `pattern` and `format` allow is written with as few escapes as possible.
// `oneOf` is read as `anyOf`. Formats that are not known are annotations.
//
// Keywords: type, enum, const, properties, required, additionalProperties, items, prefixItems,
// minItems, maxItems, minLength, maxLength, pattern, format, minimum, maximum, exclusiveMinimum,
// exclusiveMaximum, anyOf, oneOf, allOf, $ref within the document, $defs. Other keywords that would
// change what is allowed are refused by their names; annotations are ignored. Messages are whole
// sentences. Time and memory are bounded for any schema.
Result<ExprId> AddJsonSchema(const Json& schema, ExpressionPool* pool);

// Any object.
ExprId AddJsonObject(ExpressionPool* pool);

}  // namespace tessera::grammar
