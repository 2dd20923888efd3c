// The whole portability shim for lanes > 1. One kernel source, three compilers:
//   nvcc                -> TESSERA_SIMT_CUDA
//   clang++ -x hip      -> TESSERA_SIMT_HIP (no ROCm header, no device library: -nogpuinc -nogpulib
//   is enough) any C++ compiler    -> TESSERA_SIMT_HOST, the lock-step emulator
// SIMT_UNROLL stands before loops over fragments, whose arrays only then stay in registers.
// A thread block has `WAVE * waves` threads; Lane() and Wave() follow from Thread().
#pragma once

#include <cstdint>

#if defined(__HIP__)
#define TESSERA_SIMT_HIP 1
#define SIMT_GLOBAL __attribute__((global))
#define SIMT_DEVICE static inline __attribute__((device, always_inline))
#define SIMT_METHOD inline __attribute__((device, always_inline))
#define SIMT_CONSTEXPR static inline constexpr __attribute__((host, device, always_inline))
#define SIMT_SHARED __attribute__((shared))
#define SIMT_UNROLL _Pragma("unroll")
#elif defined(__CUDACC__)
#define TESSERA_SIMT_CUDA 1
#define SIMT_GLOBAL __global__
#define SIMT_DEVICE static __device__ __forceinline__
#define SIMT_METHOD __device__ __forceinline__
#define SIMT_CONSTEXPR static constexpr __host__ __device__ __forceinline__
#define SIMT_SHARED __shared__
#define SIMT_UNROLL _Pragma("unroll")
#else
#define TESSERA_SIMT_HOST 1
#define SIMT_GLOBAL
#define SIMT_DEVICE static inline
#define SIMT_METHOD inline
#define SIMT_CONSTEXPR static inline constexpr
#define SIMT_UNROLL
#define SIMT_SHARED static thread_local  // one block at a time on an OS thread
#include <bit>
#include <cmath>

#include "attention/kernel/simt_emulator.h"
#endif

namespace tessera::simt {

#if defined(TESSERA_SIMT_HIP)

SIMT_DEVICE int Thread() { return static_cast<int>(__builtin_amdgcn_workitem_id_x()); }
SIMT_DEVICE int Block() { return static_cast<int>(__builtin_amdgcn_workgroup_id_x()); }
SIMT_DEVICE void Sync() {
  __builtin_amdgcn_fence(__ATOMIC_RELEASE, "workgroup");
  __builtin_amdgcn_s_barrier();
  __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "workgroup");
}
SIMT_DEVICE float Exp2(float x) { return __builtin_amdgcn_exp2f(x); }
SIMT_DEVICE float Log2(float x) { return __builtin_amdgcn_logf(x); }
SIMT_DEVICE float Sqrt(float x) { return __builtin_amdgcn_sqrtf(x); }
template <int kWave>
SIMT_DEVICE float ShuffleXor(float v, int mask) {
  int lane = __builtin_amdgcn_mbcnt_lo(~0u, 0);
  if constexpr (kWave == 64) lane = __builtin_amdgcn_mbcnt_hi(~0u, lane);
  return __builtin_bit_cast(
      float, __builtin_amdgcn_ds_bpermute((lane ^ mask) * 4, __builtin_bit_cast(int, v)));
}
SIMT_DEVICE uint32_t Bits(float f) { return __builtin_bit_cast(uint32_t, f); }
SIMT_DEVICE float FromBits(uint32_t u) { return __builtin_bit_cast(float, u); }

#elif defined(TESSERA_SIMT_CUDA)

SIMT_DEVICE int Thread() { return static_cast<int>(threadIdx.x); }
SIMT_DEVICE int Block() { return static_cast<int>(blockIdx.x); }
SIMT_DEVICE void Sync() { __syncthreads(); }
SIMT_DEVICE float Exp2(float x) { return exp2f(x); }
SIMT_DEVICE float Log2(float x) { return log2f(x); }
SIMT_DEVICE float Sqrt(float x) { return sqrtf(x); }
template <int kWave>
SIMT_DEVICE float ShuffleXor(float v, int mask) {
  return __shfl_xor_sync(~0u, v, mask);
}
SIMT_DEVICE uint32_t Bits(float f) { return __float_as_uint(f); }
SIMT_DEVICE float FromBits(uint32_t u) { return __uint_as_float(u); }

#else

SIMT_DEVICE int Thread() { return emulator::Thread(); }
SIMT_DEVICE int Block() { return emulator::Block(); }
SIMT_DEVICE void Sync() { emulator::Barrier(); }
SIMT_DEVICE float Exp2(float x) { return std::exp2(x); }
SIMT_DEVICE float Log2(float x) { return std::log2(x); }
SIMT_DEVICE float Sqrt(float x) { return std::sqrt(x); }
template <int kWave>
SIMT_DEVICE float ShuffleXor(float v, int mask) {
  return emulator::ShuffleXor(v, mask, kWave);
}
SIMT_DEVICE uint32_t Bits(float f) { return std::bit_cast<uint32_t>(f); }
SIMT_DEVICE float FromBits(uint32_t u) { return std::bit_cast<float>(u); }

#endif

// Round to nearest even; NaN stays NaN.
SIMT_DEVICE uint32_t BFloat16Bits(float f) {
  const uint32_t u = Bits(f);
  if ((u & 0x7fffffffu) > 0x7f800000u) return (u >> 16) | 0x40u;
  return (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
}
SIMT_DEVICE uint32_t PackBFloat16(float low, float high) {
  return BFloat16Bits(low) | (BFloat16Bits(high) << 16);
}
// Two neighbouring 16-bit elements as one word, for addresses of any alignment.
SIMT_DEVICE uint32_t LoadPair(const uint16_t* p) {
  return p[0] | (static_cast<uint32_t>(p[1]) << 16);
}

}  // namespace tessera::simt
