// JSON schemas as expressions.
#pragma once

#include <nlohmann/json.hpp>

#include "grammar/expression.h"
#include "tessera/result.h"

namespace tessera::grammar {

using Json = nlohmann::ordered_json;

// Every text of the expression is JSON that the schema allows; not everything that it allows is
// among the texts:
// - members come in the order of `properties`, those that are only `required` after them;
// - members that are not named come only if `additionalProperties` is given and allows them, or
//   nothing is named;
// - further list items come only if `items` is given, or there is no `prefixItems`;
// - multiples of a number are written without exponents;
// - what `pattern` and `format` allow is written with as few escapes as possible.
// `oneOf` is read as `anyOf`: an answer may follow several alternatives if they are not
// disjoint. Formats and keywords that are not known are annotations.
//
// Keywords: type, enum, const, properties, required, additionalProperties, patternProperties (one
// pattern, nothing named), items, prefixItems, minItems, maxItems, uniqueItems (of an enum of up to
// 8 values), minLength, maxLength, pattern, format, minimum, maximum, exclusiveMinimum,
// exclusiveMaximum, multipleOf, anyOf, oneOf, allOf, $ref within the document, $defs. Other
// keywords that would change what is allowed are refused by their names; annotations are ignored.
// Messages are whole sentences. Time and memory are bounded for any schema by the pool's budget of
// work.
Result<ExprId> AddJsonSchema(const Json& schema, ExpressionPool* pool);

// Any object.
ExprId AddJsonObject(ExpressionPool* pool);

}  // namespace tessera::grammar
