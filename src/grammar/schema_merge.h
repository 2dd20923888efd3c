// Schemas that hold at the same time, as one.
#pragma once

#include <string>
#include <vector>

#include "grammar/json_schema.h"
#include "tessera/result.h"

namespace tessera::grammar {

// Whether the keyword says something about values: annotations and containers of definitions do
// not.
bool IsAnnotation(const std::string& keyword);

// A keyword that would change what is allowed and that nothing here computes.
bool IsUnserved(const std::string& keyword, const Json& value);

// A keyword that is read here.
bool IsServed(const std::string& keyword);

// Whether `part` can be merged into `base` keyword by keyword. It cannot if a keyword of one of
// them concerns members or items that only the other one names.
Status CheckTogether(const Json& part, const Json& base);

// Adds the keyword to `base`, which has other keywords already: both hold from now on. `value` is
// the keyword's. The message names the keyword if nothing can be made of both.
Status MergeKeyword(const std::string& keyword, const Json& value, Json* base);

// Whether the JSON value is of the type that a schema names.
bool HasType(const Json& value, const std::string& type);

// `type` as a list; empty: any. Fails if it is no name or list of names that exist.
Result<std::vector<std::string>> TypesOf(const Json& schema);

// What takes time with a value: the values inside, itself included, and the lengths of their texts.
int64_t CostOf(const Json& value);

// What CheckTogether and MergeKeyword take, in the same units.
int64_t CostOfCheck(const Json& part, const Json& base);
int64_t CostOfMerge(const std::string& keyword, const Json& value, const Json& base);

}  // namespace tessera::grammar
