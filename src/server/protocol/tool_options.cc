#include "server/protocol/tool_options.h"

#include <algorithm>
#include <utility>

namespace tessera {
namespace {

constexpr size_t kMaxTools = 512;
constexpr size_t kMaxNameBytes = 256;

void Fail(FieldReader* fields, const char* param, std::string message) {
  fields->Fail(ApiError::Invalid(param, std::move(message)));
}

// Why the value cannot be the schema of a function's arguments, which are an object; "" if it
// can. What its members have to be is looked at only if the answer is bound to it.
std::string ProblemOf(const Json& parameters) {
  if (parameters.is_null()) return "";
  if (!parameters.is_object()) return " must be a JSON schema, an object.";
  if (parameters.value("type", Json("object")) != "object") {
    return ".type must be \"object\": the arguments of a call are an object.";
  }
  if (!parameters.value("properties", Json::object()).is_object()) {
    return ".properties must be an object.";
  }
  if (!parameters.value("required", Json::array()).is_array()) {
    return ".required must be a list of names.";
  }
  return "";
}

void ReadTools(FieldReader* fields, ToolOptions* options) {
  const Json* tools = fields->Find("tools");
  if (tools == nullptr) return;
  if (!tools->is_array() || tools->size() > kMaxTools) {
    return Fail(fields, "tools",
                "tools must be a list of at most " + std::to_string(kMaxTools) + " tools.");
  }
  for (size_t i = 0; i < tools->size(); ++i) {
    const Json& tool = (*tools)[i];
    const std::string name = "tools[" + std::to_string(i) + "]";
    const Json function = tool.is_object() ? tool.value("function", Json()) : Json();
    if (!function.is_object() || tool.value("type", Json("function")) != "function" ||
        !function.contains("name") || !function["name"].is_string()) {
      return Fail(fields, "tools",
                  name +
                      " must be {\"type\": \"function\", \"function\": {\"name\": ..., "
                      "\"parameters\": ...}}; this server knows no other tools.");
    }
    CallableFunction callable;
    callable.name = function["name"].get<std::string>();
    callable.parameters = function.value("parameters", Json());
    const Json description = function.value("description", Json());
    if (const std::string problem = ProblemOf(callable.parameters); !problem.empty()) {
      return Fail(fields, "tools", name + ".function.parameters" + problem);
    }
    if (!description.is_null() && !description.is_string()) {
      return Fail(fields, "tools", name + ".function.description must be a string.");
    }
    if (callable.name.empty() || callable.name.size() > kMaxNameBytes) {
      return Fail(fields, "tools",
                  name + " has a name that is empty or longer than " +
                      std::to_string(kMaxNameBytes) + " bytes.");
    }
    if (options->Knows(callable.name)) {
      return Fail(fields, "tools", name + " has a name that another tool has already.");
    }
    options->functions.push_back(std::move(callable));
  }
  options->tools = *tools;
  if (!tools->empty()) options->choice = ToolChoice::kAuto;
}

void ReadToolChoice(FieldReader* fields, ToolOptions* options) {
  const Json* choice = fields->Find("tool_choice");
  if (choice == nullptr) return;
  if (*choice == "none") {
    options->choice = ToolChoice::kNone;
    return;
  }
  if (options->functions.empty()) {
    if (*choice == "auto") return;
    return Fail(fields, "tool_choice", "tool_choice asks for a call, but there are no tools.");
  }
  if (*choice == "auto") return;
  if (*choice == "required") {
    options->choice = ToolChoice::kRequired;
    return;
  }
  const Json function = choice->is_object() ? choice->value("function", Json()) : Json();
  if (!function.is_object() || !function.contains("name") || !function["name"].is_string()) {
    return Fail(fields, "tool_choice",
                "tool_choice must be \"none\", \"auto\", \"required\" or {\"type\": \"function\", "
                "\"function\": {\"name\": ...}}.");
  }
  options->name = function["name"].get<std::string>();
  if (!options->Knows(options->name)) {
    return Fail(fields, "tool_choice",
                "tool_choice names the function '" + options->name.substr(0, kMaxNameBytes) +
                    "', which is not among the tools.");
  }
  options->choice = ToolChoice::kNamed;
}

}  // namespace

bool ToolOptions::Knows(const std::string& function) const {
  return std::any_of(functions.begin(), functions.end(),
                     [&](const CallableFunction& own) { return own.name == function; });
}

void ReadToolOptions(FieldReader* fields, ToolOptions* options) {
  ReadTools(fields, options);
  ReadToolChoice(fields, options);
  fields->Read("parallel_tool_calls", &options->parallel);
}

std::optional<ApiError> ReadToolCalls(const std::string& name, Json* message) {
  if (!message->contains("tool_calls") || (*message)["tool_calls"].is_null()) {
    message->erase("tool_calls");
    return std::nullopt;
  }
  Json& calls = (*message)["tool_calls"];
  const auto wrong = [&](const std::string& what) {
    return ApiError::Invalid("messages", name + ".tool_calls " + what);
  };
  if (!calls.is_array()) return wrong("must be a list of calls.");
  for (Json& call : calls) {
    const bool has_function = call.is_object() && call.contains("function") &&
                              call["function"].is_object() && call["function"].contains("name") &&
                              call["function"]["name"].is_string();
    if (!has_function) {
      return wrong(
          "must hold calls as {\"id\", \"type\": \"function\", \"function\": {\"name\", "
          "\"arguments\"}}.");
    }
    Json& arguments = call["function"]["arguments"];
    const std::string text = arguments.is_string() ? arguments.get<std::string>() : "";
    if (arguments.is_null() || (arguments.is_string() && text.empty())) arguments = Json::object();
    if (arguments.is_object()) continue;
    Json parsed;
    if (!arguments.is_string() || ParseJsonObject(text, &parsed)) {
      return wrong("has arguments that are no JSON object, written as a string.");
    }
    arguments = std::move(parsed);
  }
  return std::nullopt;
}

ConstraintSpec ConstraintOf(const ToolOptions& options, CallForm form) {
  ConstraintSpec spec;
  if (options.choice == ToolChoice::kRequired) {
    spec.kind = ConstraintSpec::Kind::kCalls;
    spec.functions = options.functions;
    spec.form = form;
    spec.several_calls = options.parallel;
  } else if (options.choice == ToolChoice::kNamed) {
    spec.kind = ConstraintSpec::Kind::kCalls;
    spec.form = CallForm::kArguments;
    for (const CallableFunction& function : options.functions) {
      if (function.name == options.name) spec.functions.push_back(function);
    }
  }
  return spec;
}

}  // namespace tessera
