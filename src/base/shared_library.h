// Libraries that are loaded while the program runs.
#pragma once

#include <string>

#include "tessera/result.h"

namespace tessera {

// Loads the shared library at `path` for as long as the program runs, and returns the address of
// `symbol` in it. Its symbols are not used to satisfy those of other libraries.
Result<void*> LoadSymbol(const std::string& path, const char* symbol);

// Whether the system's search path has a library of this name that can be loaded.
bool CanLoadLibrary(const std::string& name);

}  // namespace tessera
