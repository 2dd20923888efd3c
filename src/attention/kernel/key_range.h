// Which keys a row sees: always one interval, so that masks are two comparisons and whole tiles
// outside it are never read. Both of its ends ascend with the row's position, so that the rows of a
// tile see keys between the first row's begin and the last row's end.
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

struct MaskRule {
  int32_t causal = 1;        // 0: a row sees keys after its own position as well
  int32_t window_left = -1;  // keys to the left and right of a row's own position; -1: no limit
  int32_t window_right = -1;
  int32_t chunk_size = 0;                  // 0: off
  const uint8_t* causal_by_seq = nullptr;  // [num_seqs]; null: `causal` holds for all
  const int32_t* prefix_ranges = nullptr;  // [num_seqs, max_prefix_ranges, 2]
  int32_t max_prefix_ranges = 0;
};

// The row of token `token` of request `seq` with `context_len` cached and `seq_len` tokens in all.
// Its own position is context_len + token (bottom-right alignment).
TESSERA_HOST_DEVICE constexpr KeyRange VisibleKeys(const MaskRule& rule, int32_t seq, int32_t token,
                                                   int32_t context_len, int32_t seq_len) {
  const int32_t position = context_len + token;
  KeyRange range{0, seq_len};
  const int32_t causal = rule.causal_by_seq != nullptr ? rule.causal_by_seq[seq] : rule.causal;
  if (causal != 0 && position + 1 < range.end) range.end = position + 1;
  if (rule.window_right >= 0 && int64_t{position} + rule.window_right + 1 < range.end) {
    range.end = position + rule.window_right + 1;
  }
  if (rule.window_left >= 0 && position - rule.window_left > range.begin) {
    range.begin = position - rule.window_left;
  }
  if (rule.chunk_size > 0) {
    const int64_t chunk = int64_t{position / rule.chunk_size} * rule.chunk_size;
    if (chunk > range.begin) range.begin = static_cast<int32_t>(chunk);
    if (chunk + rule.chunk_size < range.end) {
      range.end = static_cast<int32_t>(chunk + rule.chunk_size);
    }
  }
  // A span that holds the row's own position touches the interval above, which holds it as well.
  for (int32_t i = 0; i < rule.max_prefix_ranges; ++i) {
    const int32_t* span = rule.prefix_ranges + (int64_t{seq} * rule.max_prefix_ranges + i) * 2;
    if (position < span[0] || position >= span[1]) continue;
    if (span[0] < range.begin) range.begin = span[0] > 0 ? span[0] : 0;
    const int32_t span_end = span[1] < seq_len ? span[1] : seq_len;
    if (span_end > range.end) range.end = span_end;
  }
  return range;
}

}  // namespace tessera::kernel
