// Checked access to a JSON document's fields, for files that people and programs edit by hand. A
// field that is null counts as absent, as Hugging Face's writers have it.
#pragma once

#include <simdjson.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "tessera/result.h"

namespace tessera {

// The object that `text` is; its memory belongs to the parser. Messages begin with "is no".
Result<simdjson::dom::object> ParseJsonObject(simdjson::dom::parser* parser, std::string_view text);

class JsonReader {
 public:
  // `object` outlives the reader.
  explicit JsonReader(simdjson::dom::object object) : object_(object) {}

  // Whether the key is there and not null.
  bool Has(const char* key) const;

  // An object under `key`; nothing if it is absent.
  Result<std::optional<JsonReader>> Object(const char* key) const;

  // The number, or nothing; an error if it is of another type or outside [low, high].
  Result<std::optional<int64_t>> Integer(const char* key, int64_t low, int64_t high) const;
  Result<std::optional<double>> Number(const char* key, double low, double high) const;
  Result<std::optional<bool>> Boolean(const char* key) const;
  Result<std::optional<std::string>> String(const char* key) const;

  simdjson::dom::object object() const { return object_; }

 private:
  std::optional<simdjson::dom::element> Find(const char* key) const;

  simdjson::dom::object object_;
};

}  // namespace tessera
