// Where each family's source file hands its instances over.
#pragma once

#include "attention/backends/x86/x86_kernels.h"

namespace tessera::x86 {

// Beyond so many rows, multiplying is what takes the time, not reading.
inline constexpr int32_t kFewRowsLimit = 8;

Kernels Avx512Kernels(DType cache_dtype);

// bfloat16 caches; decoding is kAvx512's, with memory for both.
Kernels Avx512Bf16Kernels();
Kernels AmxKernels();

}  // namespace tessera::x86
