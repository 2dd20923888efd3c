// What a spinning thread does between two looks at a value.
#pragma once

namespace tessera {

// Tells the core that this is a spin loop: it saves power and leaves the execution units to the
// core's other hardware thread.
inline void CpuRelax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  // Unlike `yield`, which most cores treat as a no-op, `isb` holds the pipeline for some cycles.
  asm volatile("isb" ::: "memory");
#endif
}

}  // namespace tessera
