// How many slips of the fingers lie between two words.
#pragma once

#include <string_view>

namespace tessera {

// The fewest characters to insert, drop or change that turn `a` into `b`.
int EditDistance(std::string_view a, std::string_view b);

}  // namespace tessera
