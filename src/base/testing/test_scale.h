// How much of a long test runs: all of it, or less under a sanitizer or an emulator.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>

namespace tessera::testing {

// `full` times TESSERA_TEST_SCALE, which is 1 unless the environment says otherwise; at least one.
inline int64_t Scaled(int64_t full) {
  const char* scale = std::getenv("TESSERA_TEST_SCALE");
  if (scale == nullptr) return full;
  return std::max(int64_t{1}, static_cast<int64_t>(static_cast<double>(full) * std::atof(scale)));
}

}  // namespace tessera::testing
