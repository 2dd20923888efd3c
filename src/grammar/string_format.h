// The formats of strings that JSON schemas name.
#pragma once

#include <string_view>

namespace tessera::grammar {

// A regular expression whose texts all have the format, though not every text that has it: null for
// formats that are not known here.
const char* PatternOfFormat(std::string_view format);

}  // namespace tessera::grammar
