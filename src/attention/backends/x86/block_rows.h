// Sizes that many_rows.inl and the families agree on, and what they are made of.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "attention/backends/x86/avx512_math.h"
#include "attention/backends/x86/cache_elements.h"
#include "attention/backends/x86/convert_rows.h"
#include "attention/backends/x86/item_rows.h"
#include "tessera/dtype.h"

namespace tessera::x86 {

// Rows of a block; every [.., rows] array has that many columns.
inline constexpr int32_t kBlockRows = 64;

inline constexpr int32_t RoundUp(int32_t value, int32_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

}  // namespace tessera::x86
