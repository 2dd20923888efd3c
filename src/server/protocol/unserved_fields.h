// Fields of vLLM, OpenAI and others that would change the answer and that nothing here computes.
#pragma once

#include "server/protocol/json.h"

namespace tessera {

// Refuses those of every request, unless they have the value that changes nothing.
void RefuseUnserved(FieldReader* fields);
// Likewise those that only chats have.
void RefuseUnservedInChats(FieldReader* fields);

}  // namespace tessera
