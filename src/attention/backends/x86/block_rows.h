// Sizes that many_rows.inl and the families agree on, and what they are made of.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "attention/backends/x86/avx512_math.h"
#include "attention/backends/x86/cache_elements.h"
#include "attention/backends/x86/convert_rows.h"
#include "attention/kernel/cpu/cpu_rows.h"
#include "tessera/dtype.h"

namespace tessera::x86 {

namespace math = kernel::avx512;
using kernel::CpuRows;

// Rows of a block; every [.., rows] array has that many columns.
inline constexpr int32_t kBlockRows = 64;

inline constexpr int32_t RoundUp(int32_t value, int32_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// What scores are multiplied by: the softmax's scale times the KV head's of K. Its sign goes into
// the query, so that scores can be compared before they are scaled by its size: never 0.
struct ScoreScale {
  ScoreScale(const kernel::KernelArgs& args, const kernel::WorkItem& item) {
    const float scale = args.scale * HeadScale(args, item, args.key_scales);
    sign = scale < 0 ? -1.0f : scale > 0 ? 1.0f : scale;
    size = scale < 0 ? -scale : scale > 0 ? scale : 1.0f;
  }
  float sign;
  float size;
};

inline bool HasBias(const kernel::KernelArgs& args) {
  return args.alibi_slopes != nullptr || args.query_query_bias != nullptr;
}

}  // namespace tessera::x86
