// The filters of {{ value|filter }}: those on single values, and those on sequences.
#pragma once

#include <string_view>

#include "text/chat/interpreter.h"

namespace tessera::chat {

using FilterFunction = Value (*)(Interpreter*, const Value& value, const Arguments& arguments);

// Null when there is no filter of that name.
FilterFunction FindFilter(std::string_view name);
FilterFunction FindSequenceFilter(std::string_view name);

}  // namespace tessera::chat
