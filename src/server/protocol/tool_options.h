// The tools of a chat: what a request says about them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "grammar/constraint_spec.h"
#include "server/protocol/json.h"

namespace tessera {

enum class ToolChoice : uint8_t {
  kNone,      // no calls
  kAuto,      // calls if the model makes some
  kRequired,  // nothing but calls
  kNamed,     // one call of the function `name`
};

struct ToolOptions {
  Json tools = Json::array();  // as they were sent: for the chat template
  std::vector<CallableFunction> functions;
  ToolChoice choice = ToolChoice::kNone;
  std::string name;
  bool parallel = true;  // several calls in one answer

  bool Knows(const std::string& function) const;
};

// Reads tools, tool_choice and parallel_tool_calls.
void ReadToolOptions(FieldReader* fields, ToolOptions* options);

// Checks the tool_calls of an assistant's message, and gives their arguments, which are sent as
// text, the form that chat templates expect: an object. `name` is the message's, for errors.
std::optional<ApiError> ReadToolCalls(const std::string& name, Json* message);

// What the answer has to be if calls are asked for; kNone if they are not. `form` is the one
// that the model was taught.
ConstraintSpec ConstraintOf(const ToolOptions& options, CallForm form);

}  // namespace tessera
