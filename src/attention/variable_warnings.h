// Environment variables that look as if they chose an attention backend, and do not.
#pragma once

#include <string>
#include <vector>

#include "base/environment.h"

namespace tessera {

// One sentence for each variable of vLLM's that has no effect here, with what to use in its place,
// and for each one that is misspelled, with what is probably meant.
std::vector<std::string> AttentionVariableWarnings(const Environment& environment);

}  // namespace tessera
