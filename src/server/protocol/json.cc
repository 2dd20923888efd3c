#include "server/protocol/json.h"

#include <cmath>
#include <limits>
#include <utility>

namespace tessera {
namespace {

constexpr size_t kMaxDepth = 64;
// The parser compares each name with those before it in its object. A comparison counts for one,
// and for more if the name is long; this many take about 0.1 s.
constexpr int64_t kMaxComparisons = 20'000'000;
constexpr int64_t kBytesPerComparison = 64;

// Why the text would take too long or too deep a recursion to parse; "" if it would not.
std::string TooMuchToParse(std::string_view text) {
  std::vector<int64_t> members;  // of the brackets that are open
  int64_t comparisons = 0, length = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      ++length;
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        in_string = false;
      }
    } else if (c == '"') {
      in_string = true;
      length = 0;
    } else if (c == '[' || c == '{') {
      members.push_back(0);
      if (members.size() > kMaxDepth) {
        return "is nested deeper than " + std::to_string(kMaxDepth) + " levels.";
      }
    } else if ((c == ']' || c == '}') && !members.empty()) {
      members.pop_back();
    } else if (c == ':' && !members.empty()) {
      comparisons += members.back()++ * (1 + length / kBytesPerComparison);
      if (comparisons > kMaxComparisons) {
        return "has objects with too many members, up to " + std::to_string(members.back()) +
               " so far; send fewer of them.";
      }
    }
  }
  return "";
}

// The library's message without its own name in brackets, nor all of the text that it quotes.
std::string Reason(const char* what) {
  constexpr size_t kMaxReason = 160;
  const std::string text = what;
  const size_t end = text.find("] ");
  return text.substr(end == std::string::npos ? 0 : end + 2, kMaxReason);
}

}  // namespace

std::optional<ApiError> ParseJsonObject(std::string_view text, Json* object) {
  if (const std::string problem = TooMuchToParse(text); !problem.empty()) {
    return ApiError::Invalid("", "The body's JSON " + problem);
  }
  if (text.find_first_not_of(" \t\r\n") == std::string_view::npos) {
    return ApiError::Invalid("", "The body is empty; send a JSON object.");
  }
  try {
    *object = Json::parse(text);
  } catch (const Json::exception& error) {
    return ApiError::Invalid("", "The body is no valid JSON: " + Reason(error.what()) + ".");
  }
  if (!object->is_object()) {
    return ApiError::Invalid(
        "", std::string("The body must be a JSON object, but is ") + JsonTypeName(*object) + ".");
  }
  return std::nullopt;
}

std::string Dump(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

const char* JsonTypeName(const Json& value) {
  switch (value.type()) {
    case Json::value_t::null:
      return "null";
    case Json::value_t::object:
      return "an object";
    case Json::value_t::array:
      return "a list";
    case Json::value_t::string:
      return "a string";
    case Json::value_t::boolean:
      return "true or false";
    default:
      return "a number";
  }
}

std::optional<int64_t> IntegerOf(const Json& value) {
  if (value.is_number_unsigned()) {
    const uint64_t number = value.get<uint64_t>();
    if (number > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return std::nullopt;
    return static_cast<int64_t>(number);
  }
  if (value.is_number_integer()) return value.get<int64_t>();
  if (value.is_number_float()) {
    constexpr double kExact = 9007199254740992.0;  // 2^53
    const double number = value.get<double>();
    if (std::trunc(number) == number && std::fabs(number) <= kExact) {
      return static_cast<int64_t>(number);
    }
  }
  return std::nullopt;
}

std::optional<std::vector<int32_t>> TokensOf(const Json& value) {
  if (!value.is_array()) return std::nullopt;
  std::vector<int32_t> tokens;
  tokens.reserve(value.size());
  for (const Json& entry : value) {
    const std::optional<int64_t> number = IntegerOf(entry);
    if (!number || *number < std::numeric_limits<int32_t>::min() ||
        *number > std::numeric_limits<int32_t>::max()) {
      return std::nullopt;
    }
    tokens.push_back(static_cast<int32_t>(*number));
  }
  return tokens;
}

const Json* FieldReader::Find(const char* name) const {
  if (!ok()) return nullptr;
  const auto found = object_.find(name);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

void FieldReader::Read(const char* name, bool* value) {
  const Json* field = Find(name);
  if (field == nullptr) return;
  if (!field->is_boolean()) return WrongType(name, "true or false", *field);
  *value = field->get<bool>();
}

void FieldReader::Read(const char* name, std::optional<bool>* value) {
  bool found = false;
  Read(name, &found);
  if (Find(name) != nullptr) *value = found;
}

void FieldReader::Read(const char* name, float* value) {
  const Json* field = Find(name);
  if (field == nullptr) return;
  if (!field->is_number()) return WrongType(name, "a number", *field);
  constexpr double kMax = std::numeric_limits<float>::max();
  const double number = field->get<double>();
  *value = std::fabs(number) <= kMax ? static_cast<float>(number)
                                     : std::numeric_limits<float>::infinity();
}

void FieldReader::Read(const char* name, std::string* value) {
  const Json* field = Find(name);
  if (field == nullptr) return;
  if (!field->is_string()) return WrongType(name, "a string", *field);
  *value = field->get<std::string>();
}

void FieldReader::Read(const char* name, std::vector<int32_t>* tokens) {
  const Json* field = Find(name);
  if (field == nullptr) return;
  std::optional<std::vector<int32_t>> found = TokensOf(*field);
  if (found) {
    *tokens = std::move(*found);
    return;
  }
  if (!field->is_array()) return WrongType(name, "a list of token ids", *field);
  for (size_t i = 0; i < field->size(); ++i) {
    if (TokensOf(Json::array({(*field)[i]}))) continue;
    return WrongType(name, "a list of token ids", (*field)[i], static_cast<int64_t>(i));
  }
}

void FieldReader::Read(const char* name, int64_t low, int64_t high, int32_t* value) {
  std::optional<int32_t> found;
  Read(name, low, high, &found);
  if (found) *value = *found;
}

void FieldReader::Read(const char* name, int64_t low, int64_t high, std::optional<int32_t>* value) {
  const Json* field = Find(name);
  if (field == nullptr) return;
  const std::optional<int64_t> number = IntegerOf(*field);
  constexpr double kLarge = 9e15;  // no integer for IntegerOf, but for people
  if (!number && field->is_number() && std::fabs(field->get<double>()) > kLarge) {
    return OutOfRange(name, Dump(*field), low, high);
  }
  if (!number) return WrongType(name, "an integer", *field);
  if (*number < low || *number > high) {
    return OutOfRange(name, std::to_string(*number), low, high);
  }
  *value = static_cast<int32_t>(*number);
}

void FieldReader::Fail(ApiError error) {
  if (ok()) error_ = std::move(error);
}

void FieldReader::WrongType(const char* name, const char* wanted, const Json& value,
                            int64_t entry) {
  std::string what = JsonTypeName(value);
  // Short values are worth showing: most mistakes are plain then.
  const std::string shown = value.is_structured() ? "" : Dump(value);
  if (!shown.empty() && shown.size() <= 40) what += " (" + shown + ")";
  const std::string where =
      entry < 0 ? ", but is " : ", but its entry " + std::to_string(entry) + " is ";
  const std::string path = prefix_ + name;
  Fail(ApiError::Invalid(path, path + " must be " + wanted + where + what + "."));
}

void FieldReader::OutOfRange(const char* name, const std::string& value, int64_t low,
                             int64_t high) {
  const std::string path = prefix_ + name;
  Fail(ApiError::Invalid(path, path + " is " + value + ", but must be in " + std::to_string(low) +
                                   " to " + std::to_string(high) + "."));
}

}  // namespace tessera
