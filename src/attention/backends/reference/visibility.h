// Which keys a row sees, asked pair by pair of positions: the oracle's own rule, which shares
// nothing with that of the kernels (kernel/key_range.h), nor with the tests' expectation. A test
// of the repository follows the includes.
#pragma once

#include <algorithm>
#include <cstdint>

#include "tessera/attention_batch.h"
#include "tessera/attention_spec.h"

namespace tessera::reference {

struct Visibility {
  const AttentionSpec& spec;
  const AttentionBatch& batch;  // device arrays
  int32_t seq;
  int32_t context_len;
  int32_t seq_len;

  // Whether the request's new token `token` sees `key`, 0 <= key < seq_len.
  bool Sees(int32_t token, int32_t key) const {
    const int64_t row = int64_t{context_len} + token;  // bottom-right alignment
    if (InOneSpan(row, key)) return true;
    if (IsCausal() && key > row) return false;
    if (spec.window_left >= 0 && row - key > spec.window_left) return false;
    if (spec.window_right >= 0 && key - row > spec.window_right) return false;
    return spec.chunk_size == 0 || row / spec.chunk_size == key / spec.chunk_size;
  }

  // Keys before this one are seen neither by `token` nor by those after it; others may be.
  int32_t FirstCandidate(int32_t token) const {
    const bool spans = spec.prefix_ranges && batch.max_prefix_ranges > 0;
    if (spec.window_left < 0 || spans) return 0;
    return static_cast<int32_t>(
        std::max(int64_t{0}, int64_t{context_len} + token - spec.window_left));
  }

 private:
  bool IsCausal() const {
    if (spec.causality == Causality::kPerRequest) return batch.device.causal[seq] != 0;
    return spec.causality == Causality::kCausal;
  }

  bool InOneSpan(int64_t row, int32_t key) const {
    if (!spec.prefix_ranges) return false;
    for (int32_t i = 0; i < batch.max_prefix_ranges; ++i) {
      const int32_t* const span =
          batch.device.prefix_ranges + (int64_t{seq} * batch.max_prefix_ranges + i) * 2;
      const bool row_inside = span[0] <= row && row < span[1];
      const bool key_inside = span[0] <= key && key < span[1];
      if (row_inside && key_inside) return true;
    }
    return false;
  }
};

}  // namespace tessera::reference
