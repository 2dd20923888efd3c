// Lock-step emulation of GPU thread blocks on one OS thread: one fiber for each GPU thread.
// Barriers and wave collectives (shuffles, matrix instructions) are rendezvous points; the order in
// which threads run between two of them is permuted by a seed, so that a missing barrier shows as a
// wrong result. Divergence that would hang or be undefined on a GPU ends in an EmulationError.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <stdexcept>

namespace tessera::simt::emulator {

// A kernel broke the rules of its machine (a barrier or collective that not all threads reach).
struct EmulationError : std::logic_error {
  using std::logic_error::logic_error;
};

struct LaunchCounters {
  int64_t switches = 0;
  int64_t collectives = 0;
  int64_t barriers = 0;
};

struct LaunchShape {
  int blocks = 1;
  int threads = 32;  // of a block; a multiple of wave
  int wave = 32;
  unsigned seed = 0;  // 0: threads run in order
};

// Of a block's shared memory: as sm_90 has.
constexpr int64_t kSharedBytes = int64_t{227} << 10;

// Runs `body` once for each thread of each block, block after block. Not reentrant on a thread;
// several OS threads may launch at once.
LaunchCounters Launch(const LaunchShape& shape, const std::function<void()>& body);

// Inside a launch:
int Thread();
int Block();
void Barrier();
float ShuffleXor(float value, int mask, int wave);
bool Any(bool condition, int wave);

// The thread runs a kernel that waits itself for the ones before (SIMT_EARLY_KERNEL): one that ends
// without WaitForEarlier() breaks the rules.
void BeginEarlyKernel();
void WaitForEarlier();

// Reads the bytes, so that fences and sanitizers see a prefetch past the end; they must be whole
// pieces of 16 bytes.
void Prefetch(const void* data, int64_t bytes);

// The block's shared memory, which keeps what earlier blocks left in it.
void* SharedMemory(size_t bytes);

// All lanes of a wave meet; the last one to arrive runs operation(in, out, wave) on everybody's
// pointers.
using CollectiveOperation = void (*)(const void* context, const void* const* in, void* const* out,
                                     int wave);
void Collective(const void* in, void* out, int wave, CollectiveOperation operation,
                const void* context);

}  // namespace tessera::simt::emulator
