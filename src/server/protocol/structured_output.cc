#include "server/protocol/structured_output.h"

#include <string>
#include <utility>

namespace tessera {
namespace {

using Kind = ConstraintSpec::Kind;

constexpr size_t kMaxChoices = 10'000;

class Reader {
 public:
  Reader(FieldReader* fields, ConstraintSpec* spec) : fields_(fields), spec_(spec) {}

  void ResponseFormat(const Json& format) {
    const Json type = format.is_object() ? format.value("type", Json()) : Json();
    if (type == "text") return;
    if (type == "json_object") return Set("response_format", Kind::kJsonObject);
    if (type != "json_schema") {
      return Fail(
          "response_format",
          "response_format must be {\"type\": \"text\"}, {\"type\": \"json_object\"} or "
          "{\"type\": \"json_schema\", \"json_schema\": {\"name\": ..., \"schema\": ...}}.");
    }
    const Json inner = format.value("json_schema", Json());
    if (!inner.is_object() || !inner.contains("schema")) {
      return Fail("response_format",
                  "response_format has no json_schema.schema; give {\"type\": \"json_schema\", "
                  "\"json_schema\": {\"name\": ..., \"schema\": ...}}.");
    }
    SetSchema("response_format", inner["schema"]);
  }

  // `field` names the value in messages.
  void Schema(const char* field, const Json& value) {
    if (!value.is_string() && !value.is_object()) {
      return Fail(field, std::string(field) + " must be a JSON schema, an object, but is " +
                             JsonTypeName(value) + ".");
    }
    if (!value.is_string()) return SetSchema(field, value);
    Json parsed;
    if (const auto error = ParseJsonObject(value.get<std::string>(), &parsed)) {
      return Fail(field, std::string(field) + " is a string that holds no JSON object.");
    }
    SetSchema(field, parsed);
  }

  void Pattern(const char* field, const Json& value) {
    if (!value.is_string()) return Fail(field, std::string(field) + " must be a string.");
    Set(field, Kind::kRegex);
    spec_->pattern = value.get<std::string>();
  }

  void Choices(const char* field, const Json& value) {
    const bool fits = value.is_array() && !value.empty() && value.size() <= kMaxChoices;
    if (!fits) return Fail(field, WrongChoices(field));
    Set(field, Kind::kChoice);
    for (const Json& choice : value) {
      std::string text = choice.is_string() ? choice.get<std::string>() : "";
      if (text.empty()) return Fail(field, WrongChoices(field));
      spec_->choices.push_back(std::move(text));
    }
  }

  void Unserved(const char* field, const std::string& name) {
    Fail(field, name + " is not supported; use a JSON schema, a regular expression or a choice.");
  }

  void StructuredOutputs(const Json& value) {
    constexpr const char* kName = "structured_outputs";
    if (!value.is_object()) return Fail(kName, std::string(kName) + " must be an object.");
    FieldReader inner(value, "structured_outputs.");
    if (const Json* schema = inner.Find("json")) Schema("structured_outputs.json", *schema);
    if (const Json* pattern = inner.Find("regex")) Pattern("structured_outputs.regex", *pattern);
    if (const Json* choices = inner.Find("choice")) Choices("structured_outputs.choice", *choices);
    bool object = false;
    inner.Read("json_object", &object);
    if (object) Set(kName, Kind::kJsonObject);
    for (const char* name : {"grammar", "structural_tag"}) {
      if (inner.Find(name) != nullptr) Unserved(kName, std::string(kName) + "." + name);
    }
    for (const char* name :
         {"whitespace_pattern", "disable_any_whitespace", "disable_additional_properties"}) {
      const Json* option = inner.Find(name);
      if (option == nullptr || *option == false) continue;
      Fail(kName, std::string(kName) + "." + name + " is not supported; leave it out.");
    }
    if (const auto& error = inner.error()) fields_->Fail(*error);
  }

 private:
  void Fail(const char* field, std::string message) {
    fields_->Fail(ApiError::Invalid(field, std::move(message)));
  }
  static std::string WrongChoices(const char* field) {
    return std::string(field) + " must be a list of 1 to " + std::to_string(kMaxChoices) +
           " strings that are not empty.";
  }
  void Set(const char* field, Kind kind) {
    if (spec_->kind != Kind::kNone) {
      return Fail(field, std::string(field) +
                             " is not the only field that binds the answer to a form; give one of "
                             "response_format, guided_* and structured_outputs.");
    }
    spec_->kind = kind;
    spec_->field = field;
  }
  void SetSchema(const char* field, const Json& schema) {
    Set(field, Kind::kJsonSchema);
    spec_->schema = schema;
  }

  FieldReader* const fields_;
  ConstraintSpec* const spec_;
};

}  // namespace

void ReadStructuredOutput(FieldReader* fields, ConstraintSpec* spec) {
  Reader reader(fields, spec);
  if (const Json* value = fields->Find("response_format")) reader.ResponseFormat(*value);
  if (const Json* value = fields->Find("guided_json")) reader.Schema("guided_json", *value);
  if (const Json* value = fields->Find("guided_regex")) reader.Pattern("guided_regex", *value);
  if (const Json* value = fields->Find("guided_choice")) reader.Choices("guided_choice", *value);
  if (fields->Find("guided_grammar") != nullptr)
    reader.Unserved("guided_grammar", "guided_grammar");
  if (const Json* value = fields->Find("structured_outputs")) reader.StructuredOutputs(*value);
}

}  // namespace tessera
