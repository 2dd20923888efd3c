// The whole portability shim for lanes > 1. One kernel source, three compilers:
//   nvcc             -> TESSERA_SIMT_CUDA
//   clang++ -x hip   -> TESSERA_SIMT_HIP (no ROCm header, no device library: -nogpuinc -nogpulib)
//   any C++ compiler -> TESSERA_SIMT_HOST, the lock-step emulator
// Files that all three compile are called *.simt.cc; cmake/TesseraDeviceCode.cmake builds them.
// Each defines kernels, which take one struct by value, and lists them at its end:
//   SIMT_KERNEL(add, AddArgs, 256, 1) { ... args.x[simt::Block() * 256 + simt::Thread()] ... }
//   SIMT_KERNELS(SIMT_ENTRY(add), SIMT_ENTRY(subtract));
// A kernel may begin while the one before it in the stream still ends (NVIDIA's programmatic
// dependent launch), which hides most of the time between two launches; SIMT_KERNEL waits for that
// end first. SIMT_EARLY_KERNEL leaves the wait to the kernel: every thread must call
// simt::WaitForEarlier(), and before it may only read what no kernel of the step writes, such as
// weights and block tables. A kernel that such a one follows calls simt::LetNextBegin(), after its
// own wait: before it, blocks of the next kernel would crowd where multiprocessors are free early.
// In attention itself that is no gain.
// The numbers are a block's most threads, and how many blocks a multiprocessor of NVIDIA's is to
// hold at least (which limits the registers).
// SIMT_UNROLL stands before loops over fragments, whose arrays only then stay in registers,
// SIMT_ROLLED before those that would only make the code longer.
// A thread block has `WAVE * waves` threads; Lane() and Wave() follow from Thread().
// CopyAsync16() moves 16 bytes to shared memory, in the background if the machine can; they are
// there after WaitForCopies(), for the other threads after a later Sync().
#pragma once

#include <cstdint>

#if defined(__HIP__)
#define TESSERA_SIMT_HIP 1
#define SIMT_GLOBAL __attribute__((global))
#define SIMT_DEVICE static inline __attribute__((device, always_inline))
#define SIMT_METHOD inline __attribute__((device, always_inline))
#define SIMT_CONSTEXPR static inline constexpr __attribute__((host, device, always_inline))
#define SIMT_UNROLL _Pragma("unroll")
#define SIMT_ROLLED _Pragma("unroll 1")
#define SIMT_KERNEL(name, Args, threads, blocks)                                           \
  extern "C" __attribute__((global, amdgpu_flat_work_group_size(1, (threads)))) void name( \
      const Args args)
#define SIMT_EARLY_KERNEL SIMT_KERNEL
#define SIMT_KERNELS(...) static_assert(true)
#elif defined(__CUDACC__)
#define TESSERA_SIMT_CUDA 1
#define SIMT_GLOBAL __global__
#define SIMT_DEVICE static __device__ __forceinline__
#define SIMT_METHOD __device__ __forceinline__
#define SIMT_CONSTEXPR static constexpr __host__ __device__ __forceinline__
#define SIMT_UNROLL _Pragma("unroll")
#define SIMT_ROLLED _Pragma("unroll 1")
#define SIMT_CUDA_KERNEL(name, Args, threads, blocks, begin)            \
  static __device__ __forceinline__ void name##_body(const Args& args); \
  extern "C" __global__ void __launch_bounds__(threads, blocks)         \
      name(const __grid_constant__ Args args) {                         \
    begin;                                                              \
    name##_body(args);                                                  \
  }                                                                     \
  static __device__ __forceinline__ void name##_body(const Args& args)
#define SIMT_KERNEL(name, Args, threads, blocks) \
  SIMT_CUDA_KERNEL(name, Args, threads, blocks, ::tessera::simt::WaitForEarlier())
#define SIMT_EARLY_KERNEL(name, Args, threads, blocks) \
  SIMT_CUDA_KERNEL(name, Args, threads, blocks, static_cast<void>(0))
#define SIMT_KERNELS(...) static_assert(true)
#else
#define TESSERA_SIMT_HOST 1
#define SIMT_GLOBAL
#define SIMT_DEVICE static inline
#define SIMT_METHOD inline
#define SIMT_CONSTEXPR static inline constexpr
#define SIMT_UNROLL
#define SIMT_ROLLED
#define SIMT_KERNEL(name, Args, threads, blocks)                                         \
  static void name(const Args& args);                                                    \
  static void name##_thread(const void* args) { name(*static_cast<const Args*>(args)); } \
  static void name(const Args& args)
#define SIMT_EARLY_KERNEL(name, Args, threads, blocks) \
  static void name(const Args& args);                  \
  static void name##_thread(const void* args) {        \
    ::tessera::simt::emulator::BeginEarlyKernel();     \
    name(*static_cast<const Args*>(args));             \
  }                                                    \
  static void name(const Args& args)
#define SIMT_ENTRY(name) \
  ::tessera::HostKernel { #name, &name##_thread }
// TESSERA_SIMT_TABLE: the build's name for this file's table.
#define SIMT_KERNELS(...)                                                          \
  extern "C" const ::tessera::HostKernel* TESSERA_SIMT_TABLE(std::size_t* count) { \
    static constexpr ::tessera::HostKernel kTable[] = {__VA_ARGS__};               \
    *count = std::size(kTable);                                                    \
    return kTable;                                                                 \
  }                                                                                \
  static_assert(true)
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <iterator>

#include "device/gpu/emulator/simt_emulator.h"
#include "device/gpu/gpu_device.h"
#endif

namespace tessera::simt {

// Eight 16-bit elements, or 16 of 8 bits.
struct alignas(16) Piece {
  uint32_t words[4];
};

#if defined(TESSERA_SIMT_HIP)

// One block's shared memory: at most one T in a kernel.
template <class T>
SIMT_DEVICE T* SharedMemory() {
  static __attribute__((shared)) T memory;
  return &memory;
}

SIMT_DEVICE int Thread() { return static_cast<int>(__builtin_amdgcn_workitem_id_x()); }
SIMT_DEVICE int Block() { return static_cast<int>(__builtin_amdgcn_workgroup_id_x()); }
SIMT_DEVICE void Sync() {
  __builtin_amdgcn_fence(__ATOMIC_RELEASE, "workgroup");
  __builtin_amdgcn_s_barrier();
  __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "workgroup");
}
SIMT_DEVICE void WaitForEarlier() {}
SIMT_DEVICE void WaitForEarlier(int32_t /*loaded*/) {}
SIMT_DEVICE void LetNextBegin() {}
SIMT_DEVICE void PrefetchL2(const void* /*p*/, int64_t /*bytes*/) {}
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
// What the lane with the same place in the other 16 lanes has, in waves of 32.
SIMT_DEVICE uint32_t SwapHalves(uint32_t v) {
#if defined(__GFX9__)
  return __builtin_bit_cast(uint32_t, ShuffleXor<32>(__builtin_bit_cast(float, v), 16));
#else
  return __builtin_amdgcn_permlanex16(v, v, 0x76543210u, 0xfedcba98u, false, false);
#endif
}
template <int kWave>
SIMT_DEVICE bool Any(bool condition) {
  if constexpr (kWave == 64) return __builtin_amdgcn_ballot_w64(condition) != 0;
  return __builtin_amdgcn_ballot_w32(condition) != 0;
}
SIMT_DEVICE float Max(float a, float b) { return __builtin_fmaxf(a, b); }
SIMT_DEVICE uint32_t Bits(float f) { return __builtin_bit_cast(uint32_t, f); }
SIMT_DEVICE float FromBits(uint32_t u) { return __builtin_bit_cast(float, u); }

typedef uint32_t AliasedWord __attribute__((may_alias));
typedef Piece AliasedPiece __attribute__((may_alias));
SIMT_DEVICE uint32_t LoadWord(const void* p) { return *static_cast<const AliasedWord*>(p); }
SIMT_DEVICE void StoreWord(uint16_t* p, uint32_t word) {
  *reinterpret_cast<AliasedWord*>(p) = word;
}
SIMT_DEVICE Piece LoadPiece(const void* p) { return *static_cast<const AliasedPiece*>(p); }
SIMT_DEVICE void StorePiece(void* p, const Piece& piece) { *static_cast<AliasedPiece*>(p) = piece; }

#elif defined(TESSERA_SIMT_CUDA)

template <class T>
SIMT_DEVICE T* SharedMemory() {
  extern __shared__ uint4 block_memory[];  // its size is the launch's
  return reinterpret_cast<T*>(block_memory);
}
SIMT_DEVICE int Thread() { return static_cast<int>(threadIdx.x); }
SIMT_DEVICE int Block() { return static_cast<int>(blockIdx.x); }
SIMT_DEVICE void Sync() { __syncthreads(); }
// From the moment that all blocks of this kernel have called it the next one may begin.
SIMT_DEVICE void LetNextBegin() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}
// Starts to bring `bytes` (a multiple of 16, at such an address) to the cache that all share.
// Unlike loads, which the assembler may move, it stays before a wait that follows.
SIMT_DEVICE void PrefetchL2(const void* p, int64_t bytes) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(p),
               "r"(static_cast<uint32_t>(bytes))
               : "memory");
#endif
}
// Waits until what the kernels before have written can be read.
SIMT_DEVICE void WaitForEarlier() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
// The same, not before `loaded` is there, any number but -2^31: the assembler moves a wait before
// loads that it does not depend on.
SIMT_DEVICE void WaitForEarlier(int32_t loaded) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile(
      "{ .reg .pred waits; setp.ne.s32 waits, %0, 0x80000000; @waits griddepcontrol.wait; }" ::"r"(
          loaded)
      : "memory");
#endif
}
SIMT_DEVICE float Exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
SIMT_DEVICE float Log2(float x) { return log2f(x); }
SIMT_DEVICE float Sqrt(float x) { return sqrtf(x); }
template <int kWave>
SIMT_DEVICE float ShuffleXor(float v, int mask) {
  return __shfl_xor_sync(~0u, v, mask);
}
SIMT_DEVICE uint32_t SwapHalves(uint32_t v) { return __shfl_xor_sync(~0u, v, 16); }
template <int kWave>
SIMT_DEVICE bool Any(bool condition) {
  return __any_sync(~0u, condition) != 0;
}
SIMT_DEVICE float Max(float a, float b) { return fmaxf(a, b); }
SIMT_DEVICE uint32_t Bits(float f) { return __float_as_uint(f); }
SIMT_DEVICE float FromBits(uint32_t u) { return __uint_as_float(u); }

SIMT_DEVICE uint32_t LoadWord(const void* p) { return *static_cast<const uint32_t*>(p); }
SIMT_DEVICE void StoreWord(uint16_t* p, uint32_t word) { *reinterpret_cast<uint32_t*>(p) = word; }
SIMT_DEVICE Piece LoadPiece(const void* p) {
  const uint4 v = *static_cast<const uint4*>(p);
  return {{v.x, v.y, v.z, v.w}};
}
SIMT_DEVICE void StorePiece(void* p, const Piece& piece) {
  *static_cast<uint4*>(p) =
      make_uint4(piece.words[0], piece.words[1], piece.words[2], piece.words[3]);
}

#else

template <class T>
SIMT_DEVICE T* SharedMemory() {
  return static_cast<T*>(emulator::SharedMemory(sizeof(T)));
}
SIMT_DEVICE int Thread() { return emulator::Thread(); }
SIMT_DEVICE int Block() { return emulator::Block(); }
SIMT_DEVICE void Sync() { emulator::Barrier(); }
SIMT_DEVICE void WaitForEarlier() { emulator::WaitForEarlier(); }
SIMT_DEVICE void WaitForEarlier(int32_t /*loaded*/) { emulator::WaitForEarlier(); }
SIMT_DEVICE void LetNextBegin() {}
SIMT_DEVICE void PrefetchL2(const void* p, int64_t bytes) { emulator::Prefetch(p, bytes); }
SIMT_DEVICE float Exp2(float x) { return std::exp2(x); }
SIMT_DEVICE float Log2(float x) { return std::log2(x); }
SIMT_DEVICE float Sqrt(float x) { return std::sqrt(x); }
template <int kWave>
SIMT_DEVICE float ShuffleXor(float v, int mask) {
  return emulator::ShuffleXor(v, mask, kWave);
}
SIMT_DEVICE uint32_t SwapHalves(uint32_t v) {
  return std::bit_cast<uint32_t>(emulator::ShuffleXor(std::bit_cast<float>(v), 16, 32));
}
template <int kWave>
SIMT_DEVICE bool Any(bool condition) {
  return emulator::Any(condition, kWave);
}
SIMT_DEVICE float Max(float a, float b) { return b > a ? b : a; }
SIMT_DEVICE uint32_t Bits(float f) { return std::bit_cast<uint32_t>(f); }
SIMT_DEVICE float FromBits(uint32_t u) { return std::bit_cast<float>(u); }

SIMT_DEVICE uint32_t LoadWord(const void* p) {
  uint32_t word;
  std::memcpy(&word, p, sizeof(word));
  return word;
}
SIMT_DEVICE void StoreWord(uint16_t* p, uint32_t word) { std::memcpy(p, &word, sizeof(word)); }
SIMT_DEVICE Piece LoadPiece(const void* p) {
  Piece piece;
  std::memcpy(&piece, p, sizeof(piece));
  return piece;
}
SIMT_DEVICE void StorePiece(void* p, const Piece& piece) { std::memcpy(p, &piece, sizeof(piece)); }

#endif

// A number that all threads of the block have alike, as the compiler would not guess: one register
// holds it for all of a wave on AMD, and what it was made of is in no register on NVIDIA.
SIMT_DEVICE int32_t Uniform(int32_t number) {
#if defined(TESSERA_SIMT_HIP)
  return __builtin_amdgcn_readfirstlane(number);
#elif defined(TESSERA_SIMT_CUDA)
  asm volatile("" : "+r"(number));
  return number;
#else
  return number;
#endif
}

#if defined(TESSERA_SIMT_CUDA)
// 16 bytes from global to shared memory, or 16 zeros (then nothing is read).
SIMT_DEVICE void CopyAsync16(void* shared, const void* global, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(
                   static_cast<uint32_t>(__cvta_generic_to_shared(shared))),
               "l"(global), "r"(valid ? 16 : 0)
               : "memory");
}
// The same with 4 bytes.
SIMT_DEVICE void CopyAsync4(float* shared, const void* global, bool valid) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(
                   static_cast<uint32_t>(__cvta_generic_to_shared(shared))),
               "l"(global), "r"(valid ? 4 : 0)
               : "memory");
}
// Ends a group of copies.
SIMT_DEVICE void CommitCopies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits until at most kGroups groups of this thread are under way.
template <int kGroups>
SIMT_DEVICE void WaitForCopies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kGroups) : "memory");
}
#else
SIMT_DEVICE void CopyAsync16(void* shared, const void* global, bool valid) {
  StorePiece(shared, valid ? LoadPiece(global) : Piece{});
}
SIMT_DEVICE void CopyAsync4(float* shared, const void* global, bool valid) {
  *shared = valid ? FromBits(LoadWord(global)) : 0.0f;
}
SIMT_DEVICE void CommitCopies() {}
template <int kGroups>
SIMT_DEVICE void WaitForCopies() {}
#endif

// Round to nearest even; NaN stays NaN.
SIMT_DEVICE uint32_t BFloat16Bits(float f) {
  const uint32_t u = Bits(f);
  if ((u & 0x7fffffffu) > 0x7f800000u) return (u >> 16) | 0x40u;
  return (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
}
SIMT_DEVICE uint32_t PackBFloat16(float low, float high) {
#if defined(__CUDA_ARCH__)
  uint32_t word;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
  return word;
#else
  return BFloat16Bits(low) | (BFloat16Bits(high) << 16);
#endif
}
// Two neighbouring 16-bit elements as one word, for addresses of any alignment.
SIMT_DEVICE uint32_t LoadPair(const uint16_t* p) {
  return p[0] | (static_cast<uint32_t>(p[1]) << 16);
}
SIMT_DEVICE Piece LoadUnalignedPiece(const uint16_t* p) {
  return {{LoadPair(p), LoadPair(p + 2), LoadPair(p + 4), LoadPair(p + 6)}};
}
// Bytes 0, 2, 1 and 3 of a word.
SIMT_DEVICE uint32_t EvenBytesFirst(uint32_t bytes) {
#if defined(__CUDA_ARCH__)
  return __byte_perm(bytes, 0, 0x3120);
#else
  return (bytes & 0xff0000ffu) | (bytes >> 8 & 0xff00u) | (bytes << 8 & 0xff0000u);
#endif
}
// `count` of four bytes, or all of them; the others are 0.
SIMT_DEVICE uint32_t LoadBytes(const uint8_t* p, int count) {
  uint32_t word = 0;
  SIMT_UNROLL
  for (int i = 0; i < 4; ++i) {
    if (i < count) word |= static_cast<uint32_t>(p[i]) << (8 * i);
  }
  return word;
}

}  // namespace tessera::simt
