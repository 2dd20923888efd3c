// docs/backends.md's table of what each backend computes.
#pragma once

#include <string>

namespace tessera {

// Markdown: features by backends, asked from the backends of this build, whatever the machine at
// hand can run; after it the reasons for each "no".
std::string BackendMatrix();

}  // namespace tessera
