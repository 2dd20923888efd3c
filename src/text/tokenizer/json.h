// Typed access to a parsed JSON file, with sentences for what is not as it must be.
#pragma once

#include <simdjson.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "tessera/result.h"

namespace tessera::tokenization {

using Json = simdjson::dom::element;

// The member `key` of an object; nothing if it is missing or null, or `parent` is no object.
std::optional<Json> Member(Json parent, std::string_view key);

// Each returns the member's value, or `fallback` if it is missing or null, and refuses other
// types. `where` names the parent in messages: "the decoder".
Result<bool> BoolOr(Json parent, std::string_view key, bool fallback, std::string_view where);
Result<std::string> StringOr(Json parent, std::string_view key, std::string_view fallback,
                             std::string_view where);
Result<int64_t> IntegerOr(Json parent, std::string_view key, int64_t fallback, int64_t smallest,
                          int64_t largest, std::string_view where);

// A member that has to be there.
Result<simdjson::dom::array> ArrayAt(Json parent, std::string_view key, std::string_view where);
Result<std::string> StringAt(Json parent, std::string_view key, std::string_view where);
// A string of exactly one character.
Result<std::string> CharacterAt(Json parent, std::string_view key, std::string_view where);

// Parses a whole file. `parser` owns what the result refers to.
Result<Json> ParseJson(simdjson::dom::parser* parser, std::string_view text, std::string_view file);

}  // namespace tessera::tokenization
