// Small kernels by which devices are tested.
#pragma once

#include <cstdint>

namespace tessera::testing {

struct AddArgs {  // values[i] += addend, i < count
  int32_t* values;
  int64_t count;
  int32_t addend;
};

struct ReverseArgs {  // each block's kReverseThreads values, by way of shared memory
  int32_t* values;
};

constexpr int32_t kReverseThreads = 128;

}  // namespace tessera::testing
