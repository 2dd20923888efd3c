#include "tessera/thread_pool.h"

#include <algorithm>
#include <chrono>
#include <system_error>
#include <thread>
#include <vector>

#include "base/cpu_affinity.h"
#include "device/cpu/cpu_relax.h"
#include "tessera/result.h"

namespace tessera {
namespace {

// Two lines of 64 bytes: x86 prefetches lines in pairs, so neighbours would share traffic.
constexpr size_t kCacheLinePair = 128;

using Clock = std::chrono::steady_clock;

// Returns once `value` is no longer `old`: spins first, then sleeps. The atomic's own wait skips
// the system call on the waker's side if nobody sleeps.
void WaitWhileEqual(const std::atomic<uint32_t>& value, uint32_t old, Clock::duration spin) {
  // Reading the clock costs more than a look at the value.
  constexpr int kLooksPerClockRead = 32;
  if (spin > Clock::duration::zero()) {
    const Clock::time_point deadline = Clock::now() + spin;
    do {
      for (int i = 0; i < kLooksPerClockRead; ++i) {
        if (value.load(std::memory_order_acquire) != old) return;
        CpuRelax();
      }
    } while (Clock::now() < deadline);
  }
  while (value.load(std::memory_order_acquire) == old) {
    value.wait(old, std::memory_order_acquire);
  }
}

}  // namespace

// A Run is published by a new epoch, and ends when the count of unfinished workers reaches zero:
// only the caller waits for that, the workers go straight on to wait for the next epoch.
struct ThreadPool::State {
  // Changed by the caller alone, while all workers wait; published by `epoch`.
  void (*call)(void*, int) = nullptr;
  void* function = nullptr;
  bool stop = false;

  Clock::duration spin{};
  std::vector<std::thread> threads;

  // Set while Run is under way: catches nested and concurrent calls, which would hang.
  alignas(kCacheLinePair) std::atomic<bool> running{false};
  alignas(kCacheLinePair) std::atomic<uint32_t> epoch{0};
  // Workers of this epoch, without the caller, that have not returned yet.
  alignas(kCacheLinePair) std::atomic<uint32_t> unfinished{0};
  alignas(kCacheLinePair) std::atomic<uint32_t> barrier_arrived{0};
  alignas(kCacheLinePair) std::atomic<uint32_t> barrier_phase{0};

  void Work(int worker) {
    for (uint32_t seen = 0;; ++seen) {
      WaitWhileEqual(epoch, seen, spin);
      if (stop) return;
      call(function, worker);
      if (unfinished.fetch_sub(1, std::memory_order_acq_rel) == 1) unfinished.notify_one();
    }
  }

  void Publish() {
    epoch.fetch_add(1, std::memory_order_acq_rel);
    epoch.notify_all();
  }
};

ThreadPool::ThreadPool(const Options& options)
    : num_threads_(1), state_(std::make_unique<State>()) {
  TESSERA_CHECK(options.num_threads >= 0, "a pool cannot have a negative number of threads");
  const std::vector<int> cores = AllowedCores();
  const int num_cores = static_cast<int>(cores.size());
  const int wanted = options.num_threads > 0 ? options.num_threads : UsableCoreCount();
  // If workers share a core, one that spins keeps the one it waits for from running.
  const int spin = wanted > num_cores ? 0 : std::max(options.spin_microseconds, 0);
  state_->spin = std::chrono::microseconds(spin);

  for (int worker = 1; worker < wanted; ++worker) {
    const int core = options.pin ? cores[static_cast<size_t>(worker % num_cores)] : -1;
    try {
      state_->threads.emplace_back([state = state_.get(), worker, core] {
        // A refused pin costs speed, not correctness.
        if (core >= 0) PinThisThread(core);
        state->Work(worker);
      });
    } catch (const std::system_error&) {
      break;  // The system's limit of threads: the pool serves with those that it has.
    }
  }
  num_threads_ = 1 + static_cast<int>(state_->threads.size());
}

ThreadPool::~ThreadPool() {
  TESSERA_CHECK(!state_->running.load(), "a pool was destroyed while it ran");
  state_->stop = true;
  state_->Publish();
  for (std::thread& thread : state_->threads) thread.join();
}

void ThreadPool::RunErased(void (*call)(void*, int), void* function) noexcept {
  State& state = *state_;
  TESSERA_CHECK(!state.running.exchange(true, std::memory_order_acquire),
                "Run inside Run, or from two threads at once");
  if (num_threads_ > 1) {
    state.call = call;
    state.function = function;
    state.unfinished.store(static_cast<uint32_t>(num_threads_ - 1), std::memory_order_relaxed);
    state.Publish();
    call(function, 0);
    // Only the last worker wakes the caller.
    for (uint32_t left; (left = state.unfinished.load(std::memory_order_acquire)) != 0;) {
      WaitWhileEqual(state.unfinished, left, state.spin);
    }
  } else {
    call(function, 0);
  }
  state.running.store(false, std::memory_order_release);
}

void ThreadPool::Barrier() {
  State& state = *state_;
  const uint32_t total = static_cast<uint32_t>(num_threads_);
  if (total == 1) return;
  // Read before arriving: afterwards the last worker may already have moved it on.
  const uint32_t phase = state.barrier_phase.load(std::memory_order_acquire);
  if (state.barrier_arrived.fetch_add(1, std::memory_order_acq_rel) + 1 == total) {
    state.barrier_arrived.store(0, std::memory_order_relaxed);
    state.barrier_phase.store(phase + 1, std::memory_order_release);
    state.barrier_phase.notify_all();
  } else {
    WaitWhileEqual(state.barrier_phase, phase, state.spin);
  }
}

}  // namespace tessera
