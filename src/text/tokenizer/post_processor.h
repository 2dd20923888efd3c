// Post-processors: special tokens around a text, such as a leading BOS.
#pragma once

#include <cstdint>
#include <vector>

namespace tessera::tokenization {

// What all supported post-processors come down to for a single text.
struct PostProcessor {
  std::vector<int32_t> before;
  std::vector<int32_t> after;
};

}  // namespace tessera::tokenization
