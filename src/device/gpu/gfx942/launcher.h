// Runs kernels: workgroups on the host's threads, the waves of each one after another from barrier
// to barrier.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "device/gpu/gfx942/module.h"
#include "tessera/result.h"
#include "tessera/thread_pool.h"

namespace tessera::gfx942 {

constexpr int64_t kMaxLdsBytes = 65536;
constexpr int kMaxThreads = 1024;  // of a workgroup

struct KernelLaunch {
  const Kernel* kernel = nullptr;
  int64_t blocks = 1;
  int32_t threads = 64;   // of a workgroup
  int64_t lds_bytes = 0;  // beside what the kernel itself has
  std::span<const unsigned char> arguments = {};
  std::vector<AddressRange> memory = {};  // that the kernel may use
};

class Launcher {
 public:
  // The pool outlives the launcher.
  explicit Launcher(ThreadPool* pool);
  ~Launcher();

  // Returns when all has run. Fails with a sentence that names the kernel, the instruction and the
  // wave if one does what hardware would not catch, or not in so clear words.
  Status Run(const KernelLaunch& launch);
  // Of all launches so far.
  uint64_t instructions() const;

 private:
  struct Worker;

  ThreadPool* const pool_;
  std::vector<std::unique_ptr<Worker>> workers_;
};

}  // namespace tessera::gfx942
