#include "server/protocol/chat_messages.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>

#include "server/protocol/tool_options.h"

namespace tessera {
namespace {

constexpr std::string_view kRoles[] = {"system",    "developer", "user",
                                       "assistant", "tool",      "function"};

// Of the private use area, where no template looks for anything.
constexpr std::string_view kMark = "\xef\xa3\xbf\xee\x80\x80\xef\xa3\xbf";  // U+F8FF E000 F8FF

std::string IndexedName(size_t index) { return "messages[" + std::to_string(index) + "]"; }

// A message's content: a string, or a list of {"type": "text", "text"}.
std::optional<ApiError> ReadContent(const Json& content, const std::string& name,
                                    std::string* text) {
  if (content.is_null()) return std::nullopt;
  if (content.is_string()) {
    *text = content.get<std::string>();
    return std::nullopt;
  }
  if (!content.is_array()) {
    return ApiError::Invalid("messages", name +
                                             ".content must be a string or a list of parts, "
                                             "but is " +
                                             JsonTypeName(content) + ".");
  }
  for (const Json& part : content) {
    const Json type = part.is_object() ? part.value("type", Json()) : Json();
    if (type != "text" || !part.contains("text") || !part["text"].is_string()) {
      return ApiError::Invalid("messages", name +
                                               ".content has a part that is no {\"type\": "
                                               "\"text\", \"text\": \"...\"}; this server "
                                               "reads text only.");
    }
    if (&part != &content.front()) *text += '\n';
    *text += part["text"].get<std::string>();
  }
  return std::nullopt;
}

std::optional<ApiError> CheckRole(const std::string& name, const std::string& role) {
  if (std::find(std::begin(kRoles), std::end(kRoles), role) != std::end(kRoles)) {
    return std::nullopt;
  }
  std::string known;
  for (const std::string_view one : kRoles) known.append(known.empty() ? "" : ", ").append(one);
  constexpr size_t kMaxShown = 40;
  return ApiError::Invalid("messages", name + ".role is \"" + role.substr(0, kMaxShown) +
                                           "\", but must be one of " + known + ".");
}

}  // namespace

std::optional<ApiError> ReadMessages(const Json& messages, Json* result) {
  if (!messages.is_array() || messages.empty()) {
    const std::string what = messages.is_null()    ? "is missing"
                             : messages.is_array() ? "is empty"
                                                   : std::string("is ") + JsonTypeName(messages);
    return ApiError::Invalid(
        "messages", "messages must be a list of {\"role\", \"content\"}, but " + what + ".");
  }
  *result = messages;
  for (size_t i = 0; i < result->size(); ++i) {
    Json& message = (*result)[i];
    if (!message.is_object() || !message.contains("role") || !message["role"].is_string()) {
      return ApiError::Invalid("messages", IndexedName(i) +
                                               " must be an object with a role, as {\"role\": "
                                               "\"user\", \"content\": \"...\"}.");
    }
    if (auto error = CheckRole(IndexedName(i), message["role"].get<std::string>())) return error;
    if (message.contains("name") && !message["name"].is_string() && !message["name"].is_null()) {
      return ApiError::Invalid("messages", IndexedName(i) + ".name must be a string, but is " +
                                               JsonTypeName(message["name"]) + ".");
    }
    std::string text;
    const Json content = message.value("content", Json());
    if (auto error = ReadContent(content, IndexedName(i), &text)) return error;
    message["content"] = std::move(text);
    if (auto error = ReadToolCalls(IndexedName(i), &message)) return error;
  }
  return std::nullopt;
}

std::optional<ApiError> MarkFinalMessage(const Json& messages, Json* marked) {
  *marked = messages;
  std::string text = messages.back()["content"].get<std::string>();
  if (text.find_first_not_of(" \t\r\n") == std::string::npos) {
    return ApiError::Invalid("continue_final_message",
                             "continue_final_message needs a last message with text; give it some, "
                             "or leave continue_final_message out.");
  }
  marked->back()["content"] = text.append(kMark);
  return std::nullopt;
}

std::optional<ApiError> CutAtMark(std::string* prompt) {
  const size_t end = prompt->rfind(kMark);
  if (end == std::string::npos) {
    return ApiError::Invalid("continue_final_message",
                             "The last message cannot be continued: the model's chat template "
                             "does not show its text as it is.");
  }
  prompt->resize(end);
  return std::nullopt;
}

}  // namespace tessera
