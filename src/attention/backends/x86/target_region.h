// Regions of a file that are compiled for more instruction sets than the build's own, templates
// included:
//   TESSERA_TARGET_BEGIN("avx512f,fma")  ...  TESSERA_TARGET_END
// Headers of the system are included outside of them. What a region defines may run only where the
// CPU was asked before (x86_kernels.h).
#pragma once

#define TESSERA_PRAGMA(...) _Pragma(#__VA_ARGS__)

#if defined(__clang__)
#define TESSERA_TARGET_BEGIN(features) \
  TESSERA_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define TESSERA_TARGET_END TESSERA_PRAGMA(clang attribute pop)
#define TESSERA_UNROLL TESSERA_PRAGMA(unroll)
#else
#define TESSERA_TARGET_BEGIN(features) \
  TESSERA_PRAGMA(GCC push_options)     \
  TESSERA_PRAGMA(GCC target(features))
#define TESSERA_TARGET_END TESSERA_PRAGMA(GCC pop_options)
#define TESSERA_UNROLL TESSERA_PRAGMA(GCC unroll 16)
#endif
// TESSERA_UNROLL stands before loops over arrays of registers: unless they are unrolled, the arrays
// lie in memory.

// Every CPU with AVX-512 since Skylake-SP; the families add to it.
#define TESSERA_TARGET_BEGIN_AVX512 \
  TESSERA_TARGET_BEGIN("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")
#define TESSERA_TARGET_BEGIN_AVX512_BF16 \
  TESSERA_TARGET_BEGIN("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512bf16")
#define TESSERA_TARGET_BEGIN_AMX \
  TESSERA_TARGET_BEGIN(          \
      "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512bf16,amx-tile,amx-bf16")
