#pragma once

#include <cstdint>

namespace tessera {

constexpr int32_t kReadThreads = 256;
constexpr int32_t kReadLoads = 8;  // of 16 bytes, that a thread has under way together

struct ReadArgs {
  const void* data = nullptr;
  int64_t pieces = 0;  // of 16 bytes
  int64_t step = 0;    // pieces that all blocks read at a time
  uint32_t* out = nullptr;
};

}  // namespace tessera
