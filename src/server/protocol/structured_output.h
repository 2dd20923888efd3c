// The fields that bind an answer to a form: OpenAI's response_format, vLLM's guided_* and
// structured_outputs.
#pragma once

#include "grammar/constraint_spec.h"
#include "server/protocol/json.h"

namespace tessera {

// Reads at most one of them; more than one is an error.
void ReadStructuredOutput(FieldReader* fields, ConstraintSpec* spec);

}  // namespace tessera
