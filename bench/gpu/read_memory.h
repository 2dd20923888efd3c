// The kernel that measures how fast a GPU reads its memory.
#pragma once

#include <cstdint>

namespace tessera::bench {

struct ReadArgs {
  const void* data;
  int64_t pieces;    // of 16 bytes
  int64_t blocks;    // of the launch
  uint32_t* unused;  // written if the bits come out as one number: so that reads stay
};

constexpr int kReadThreads = 512;

}  // namespace tessera::bench
