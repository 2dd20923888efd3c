// Which keys a row sees: always one interval, so that masks are two comparisons and whole tiles
// outside it are never read.
#pragma once

#include <cstdint>

namespace tessera::kernel {

// A function for hosts and GPUs alike.
#if defined(__HIP__)
#define TESSERA_HOST_DEVICE inline __attribute__((host, device, always_inline))
#elif defined(__CUDACC__)
#define TESSERA_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define TESSERA_HOST_DEVICE inline
#endif

struct KeyRange {
  int32_t begin;
  int32_t end;  // exclusive; begin >= end: none
};

// The row of token `token` of a request with `context_len` cached and `seq_len` tokens in all. Its
// own position is context_len + token (bottom-right alignment).
TESSERA_HOST_DEVICE constexpr KeyRange VisibleKeys(int32_t token, int32_t context_len,
                                                   int32_t seq_len, int32_t causal,
                                                   int32_t window_left, int32_t window_right) {
  const int32_t position = context_len + token;
  KeyRange range{0, seq_len};
  if (causal && position + 1 < range.end) range.end = position + 1;
  if (window_right >= 0 && int64_t{position} + window_right + 1 < range.end) {
    range.end = position + window_right + 1;
  }
  if (window_left >= 0 && position - window_left > range.begin)
    range.begin = position - window_left;
  return range;
}

}  // namespace tessera::kernel
