// Where the tests find the files of the source tree.
#pragma once

#include <cstdlib>
#include <string>

namespace tessera::testing {

// A file or directory by its path from the root of the source tree, which is TESSERA_SOURCE_DIR
// (cmake/TesseraTargets.cmake), or the current directory if a test is started by hand.
inline std::string SourcePath(const std::string& path) {
  const char* root = std::getenv("TESSERA_SOURCE_DIR");
  return std::string(root != nullptr ? root : ".") + "/" + path;
}

inline std::string TinyMathDirectory() { return SourcePath("models/tiny-math"); }

}  // namespace tessera::testing
