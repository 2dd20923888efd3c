// Reductions over a wave and over a block, in an order that depends on nothing but their sizes.
#pragma once

#include <cstdint>

#include "device/gpu/simt.h"

namespace tessera::ops_gpu {

template <int kWords>
struct ValueWords {
  uint32_t words[kWords];
};

// A value of any type of whole words, from the lane whose number differs in the bits of `mask`.
template <int kWave, class T>
SIMT_DEVICE T ShuffleXor(const T& value, int mask) {
  static_assert(sizeof(T) % 4 == 0);
  auto w = __builtin_bit_cast(ValueWords<sizeof(T) / 4>, value);
  SIMT_UNROLL
  for (unsigned i = 0; i < sizeof(T) / 4; ++i) {
    w.words[i] = simt::Bits(simt::ShuffleXor<kWave>(simt::FromBits(w.words[i]), mask));
  }
  return __builtin_bit_cast(T, w);
}

// combine(a, b) must not care for the order of its two: so every lane gets the same.
template <int kWave, class T, class Combine>
SIMT_DEVICE T WaveReduce(T value, const Combine& combine) {
  SIMT_UNROLL
  for (int mask = 1; mask < kWave; mask *= 2) {
    value = combine(value, ShuffleXor<kWave>(value, mask));
  }
  return value;
}

// All threads of the block call it and get the result. `shared` has a T for each wave and may be
// used again at once.
template <int kWave, int kThreads, class T, class Combine>
SIMT_DEVICE T BlockReduce(T value, T* shared, const Combine& combine) {
  value = WaveReduce<kWave>(value, combine);
  if (simt::Thread() % kWave == 0) shared[simt::Thread() / kWave] = value;
  simt::Sync();
  T result = shared[0];
  SIMT_ROLLED  // large values of many waves would all be in registers at a time
      for (int wave = 1; wave < kThreads / kWave; ++wave) result = combine(result, shared[wave]);
  simt::Sync();
  return result;
}

struct Sum {
  template <class T>
  SIMT_METHOD T operator()(const T& a, const T& b) const {
    return a + b;
  }
};

// Integer sums alone: their order does not matter. Returns the sum before.
SIMT_DEVICE uint32_t AddShared(uint32_t* shared, uint32_t value) {
#if defined(TESSERA_SIMT_CUDA) && defined(__CUDA_ARCH__)
  return atomicAdd(shared, value);
#elif defined(TESSERA_SIMT_HIP)
  return __hip_atomic_fetch_add(shared, value, __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_WORKGROUP);
#else
  const uint32_t before = *shared;
  *shared = before + value;
  return before;
#endif
}

}  // namespace tessera::ops_gpu
