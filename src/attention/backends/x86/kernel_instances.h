// Where each family's source file hands its instances over.
#pragma once

#include "attention/backends/x86/x86_kernels.h"

namespace tessera::x86 {

// Up to so many rows, reading takes the time, or as long as multiplying. AMX multiplies faster.
inline constexpr int32_t kFewRowsLimit = 16;
inline constexpr int32_t kAmxFewRowsLimit = 8;

Kernels Avx512Kernels(DType cache_dtype);

// Caches of float32 and float16 are kAvx512's. Of the others kAvx512Bf16 decodes by dot products,
// which Intel's processors take long for: kAmx decodes by float32.
Kernels Avx512Bf16Kernels(DType cache_dtype);
Kernels AmxKernels(DType cache_dtype);

// Decoding by float32 where there is VBMI as well.
RunItem VbmiFewRows(DType cache_dtype);

}  // namespace tessera::x86
