// A validator of JSON schemas for tests, written without the grammar's code; and random schemas.
#pragma once

#include <nlohmann/json.hpp>
#include <random>
#include <string>

namespace tessera::testing {

using Json = nlohmann::ordered_json;

// Why `value` does not follow `schema`, a part of `root`; "" if it does. Knows the keywords that
// RandomSchema uses.
std::string Violation(const Json& value, const Json& schema, const Json& root);

// A schema that some value follows, with definitions that refer to themselves.
Json RandomSchema(std::mt19937* random);

}  // namespace tessera::testing
