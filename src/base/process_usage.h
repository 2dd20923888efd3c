// What this process uses of its machine.
#pragma once

#include <cstdint>

namespace tessera {

// Zero: unknown here.
struct ProcessUsage {
  int64_t resident_bytes = 0;  // in memory, the allocator's reserves and mapped files included
  int64_t virtual_bytes = 0;
  int64_t heap_bytes = 0;   // handed out by malloc and not given back (glibc, or a sanitizer's)
  int64_t open_files = 0;   // descriptors, connections included
  int64_t files_limit = 0;  // how many there may be
  double cpu_seconds = 0;   // of all its threads, in user mode and in the kernel
};

// Reads /proc and the allocator, which holds each of its locks for a moment: too slow to be asked
// with every request. Thread-safe.
ProcessUsage ReadProcessUsage();

}  // namespace tessera
