#include "base/cpu_affinity.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstddef>
#include <memory>

#include "base/control_group.h"

namespace tessera {
namespace {

struct FreeCpuSet {
  void operator()(cpu_set_t* set) const { CPU_FREE(set); }
};
using CpuSet = std::unique_ptr<cpu_set_t, FreeCpuSet>;

}  // namespace

std::vector<int> AllowedCores() {
  // The kernel refuses a mask that is smaller than its own, whose size nothing tells.
  constexpr int kMaxCores = 1 << 20;
  for (int cores = 1024; cores <= kMaxCores; cores *= 2) {
    CpuSet set(CPU_ALLOC(static_cast<size_t>(cores)));
    if (set == nullptr) break;
    const size_t bytes = CPU_ALLOC_SIZE(static_cast<size_t>(cores));
    CPU_ZERO_S(bytes, set.get());
    if (sched_getaffinity(0, bytes, set.get()) != 0) {
      if (errno == EINVAL) continue;
      break;
    }
    std::vector<int> allowed;
    for (int core = 0; core < cores; ++core) {
      if (CPU_ISSET_S(static_cast<size_t>(core), bytes, set.get())) allowed.push_back(core);
    }
    if (!allowed.empty()) return allowed;
    break;
  }
  return {0};
}

int UsableCoreCount() {
  const int cores = static_cast<int>(AllowedCores().size());
  const double quota = ReadControlGroupCpuQuota().value_or(cores);
  return std::max(1, static_cast<int>(std::ceil(std::min<double>(cores, quota))));
}

bool PinThisThread(int core) {
  const size_t index = static_cast<size_t>(core);
  CpuSet set(CPU_ALLOC(index + 1));
  if (core < 0 || set == nullptr) return false;
  const size_t bytes = CPU_ALLOC_SIZE(index + 1);
  CPU_ZERO_S(bytes, set.get());
  CPU_SET_S(index, bytes, set.get());
  return pthread_setaffinity_np(pthread_self(), bytes, set.get()) == 0;
}

}  // namespace tessera
