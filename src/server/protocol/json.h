// JSON of requests and answers: parsed with a limit on its depth, read field by field.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/protocol/api_error.h"

namespace tessera {

using Json = nlohmann::ordered_json;

// A request's body, which is an object. Refuses what is no JSON, what is nested deeper than 64
// values, what is not UTF-8, and objects with more than some thousands of members.
std::optional<ApiError> ParseJsonObject(std::string_view text, Json* object);

// On one line; bytes that are no UTF-8 become U+FFFD.
std::string Dump(const Json& value);

// "a number", "a list", ...: what a value is, for messages.
const char* JsonTypeName(const Json& value);

// Reads the fields of an object. An absent field and null leave the variable as it is. The first
// value of a wrong type or out of range is the error; nothing is read after it.
class FieldReader {
 public:
  // `object` is an object and outlives the reader. `prefix` stands before the names in errors, as
  // "stream_options." does if the object is that field.
  explicit FieldReader(const Json& object, std::string prefix = "")
      : object_(object), prefix_(std::move(prefix)) {}

  // The field, unless it is absent or null, or an error came before.
  const Json* Find(const char* name) const;

  void Read(const char* name, bool* value);
  void Read(const char* name, std::optional<bool>* value);
  void Read(const char* name, float* value);
  void Read(const char* name, std::string* value);
  void Read(const char* name, std::vector<int32_t>* tokens);
  // An integer in [low, high]; 2.0 counts as 2.
  void Read(const char* name, int64_t low, int64_t high, int32_t* value);
  void Read(const char* name, int64_t low, int64_t high, std::optional<int32_t>* value);

  void Fail(ApiError error);
  bool ok() const { return !error_.has_value(); }
  const std::optional<ApiError>& error() const { return error_; }

 private:
  // `value` is the field, or where `entry` is given, what stands there in it.
  void WrongType(const char* name, const char* wanted, const Json& value, int64_t entry = -1);

  void OutOfRange(const char* name, const std::string& value, int64_t low, int64_t high);

  const Json& object_;
  const std::string prefix_;
  std::optional<ApiError> error_;
};

// The integer that a JSON number stands for, if it does.
std::optional<int64_t> IntegerOf(const Json& value);

// A list of token ids; none if something else is in it.
std::optional<std::vector<int32_t>> TokensOf(const Json& value);

}  // namespace tessera
