// A backend that looks at what its caller hands in before it works: for builds that are meant to
// find mistakes.
#pragma once

#include <memory>

#include "tessera/backend.h"

namespace tessera {

// Returns a backend whose functions fail with a sentence if the spec or the batch is wrong: block
// ids and slots out of range, lengths that do not fit, missing arrays. Reads the batch's host
// arrays alone, as far as they are there. Costs a pass over the block table.
std::unique_ptr<Backend> MakeChecked(std::unique_ptr<Backend> backend);

}  // namespace tessera
