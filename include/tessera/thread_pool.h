// A fixed team of pinned threads with cheap barriers, for work that is divided many times a
// second.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <type_traits>

namespace tessera {

// One caller at a time; the caller itself is worker 0. Waiting threads spin for some microseconds,
// then sleep on a futex, so that an idle engine costs no CPU time.
class ThreadPool {
 public:
  struct Options {
    // Workers, the caller included. 0: one for every core that this process may run on, or fewer
    // if a container's CPU quota grants less than these cores. If the system refuses more
    // threads, the pool has fewer than asked for: see num_threads().
    int num_threads = 0;
    // Pins worker i to the i-th core of the process's affinity mask (the caller, worker 0, is not
    // pinned).
    bool pin = true;
    // How long a waiting thread spins before it sleeps. 0 if there are more workers than cores.
    int spin_microseconds = 50;
  };

  ThreadPool() : ThreadPool(Options{}) {}
  explicit ThreadPool(const Options& options);
  virtual ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const { return num_threads_; }

  // Calls function(worker) once on every worker, 0 <= worker < num_threads(), and returns when all
  // have returned. Everything written before Run is visible to the workers, everything they wrote
  // is visible after it. `function` must not throw and must not call Run.
  template <typename Function>
  void Run(Function&& function) {
    using F = std::remove_reference_t<Function>;
    RunErased([](void* f, int worker) { (*static_cast<F*>(f))(worker); },
              const_cast<void*>(static_cast<const void*>(std::addressof(function))));
  }

  // Calls function(index, worker) for 0 <= index < count, in pieces that idle workers take as they
  // come. If a call throws, no more indices are taken, the calls under way end, and the first
  // exception reaches the caller: memory that runs out on a worker is the caller's to handle.
  template <typename Function>
  void ParallelFor(int64_t count, Function&& function) {
    if (count <= 0) return;
    if (count == 1 || num_threads_ == 1) {
      for (int64_t i = 0; i < count; ++i) function(i, 0);
      return;
    }
    std::atomic<int64_t> next{0};
    std::atomic<bool> failed{false};
    std::exception_ptr failure;  // of the worker that set `failed`
    Run([&](int worker) {
      try {
        for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < count;) {
          function(i, worker);
        }
      } catch (...) {
        if (!failed.exchange(true, std::memory_order_relaxed)) failure = std::current_exception();
        next.store(count, std::memory_order_relaxed);
      }
    });
    if (failure) std::rethrow_exception(failure);
  }

  // Inside Run: returns once all workers have called it. Orders memory as Run does.
  virtual void Barrier();

 private:
  struct State;
  // Virtual, as Barrier is, so that a plugin runs the code of the program that made the pool: the
  // C++ library finds sleeping threads through tables that each module may have for itself.
  virtual void RunErased(void (*call)(void*, int), void* function) noexcept;

  int num_threads_;
  std::unique_ptr<State> state_;
};

}  // namespace tessera
