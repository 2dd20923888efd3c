// The messages of a chat.
#pragma once

#include <optional>

#include "server/protocol/json.h"

namespace tessera {

// Checks them, and flattens their contents to text: parts are joined by line breaks, as in vLLM.
std::optional<ApiError> ReadMessages(const Json& messages, Json* result);

// The messages, read, with a mark after the text of the last one: where the prompt of a chat ends
// whose last message is to be continued. Fails if that message has no text.
std::optional<ApiError> MarkFinalMessage(const Json& messages, Json* marked);

// Cuts the rendered messages at the mark. Fails where the template has left it out.
std::optional<ApiError> CutAtMark(std::string* prompt);

}  // namespace tessera
