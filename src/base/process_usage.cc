#include "base/process_usage.h"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstddef>
#include <ctime>
#include <fstream>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

// Of the sanitizers' runtime library (sanitizer/allocator_interface.h), if one is linked in.
extern "C" __attribute__((weak)) size_t __sanitizer_get_current_allocated_bytes();

namespace tessera {
namespace {

int64_t HeapBytes() {
  if (__sanitizer_get_current_allocated_bytes != nullptr) {
    return static_cast<int64_t>(__sanitizer_get_current_allocated_bytes());
  }
#if defined(__GLIBC__)
  const struct mallinfo2 info = mallinfo2();
  return static_cast<int64_t>(info.uordblks + info.hblkhd);
#else
  return 0;
#endif
}

int64_t OpenFiles() {
  DIR* directory = opendir("/proc/self/fd");
  if (directory == nullptr) return 0;
  int64_t count = 0;
  while (const dirent* entry = readdir(directory)) {
    if (entry->d_name[0] != '.') ++count;
  }
  closedir(directory);
  return count - 1;  // the directory itself was open
}

}  // namespace

ProcessUsage ReadProcessUsage() {
  ProcessUsage usage;
  int64_t virtual_pages = 0;
  int64_t resident_pages = 0;
  if (std::ifstream("/proc/self/statm") >> virtual_pages >> resident_pages) {
    const int64_t page = sysconf(_SC_PAGESIZE);
    usage.virtual_bytes = virtual_pages * page;
    usage.resident_bytes = resident_pages * page;
  }
  usage.heap_bytes = HeapBytes();
  usage.open_files = OpenFiles();
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
    usage.files_limit = static_cast<int64_t>(limit.rlim_cur);
  }
  timespec time{};
  if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time) == 0) {
    usage.cpu_seconds = static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
  }
  return usage;
}

}  // namespace tessera
