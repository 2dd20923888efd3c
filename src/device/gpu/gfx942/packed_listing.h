// A listing as the build packs it into the program: a seventh of its text.
#pragma once

#include <string>
#include <string_view>

#include "tessera/result.h"

namespace tessera::gfx942 {

// `packed`: the text's length in 8 bytes, the lowest first, and then the text as zlib's stream.
// Fails if it is anything else.
Result<std::string> UnpackListing(std::string_view packed);

}  // namespace tessera::gfx942
