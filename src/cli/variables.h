// The environment variables of the program, and those that only look like them.
#pragma once

#include <string>
#include <string_view>

namespace tessera {

// "" if the program or its tests know the variable; else that nothing reads it, and what is
// probably meant.
std::string VariableWarning(std::string_view name);

}  // namespace tessera
