// Prints what an empty Run and a Barrier cost, for several sizes of the team.
#include <chrono>
#include <cstdio>

#include "base/cpu_affinity.h"
#include "tessera/thread_pool.h"

namespace tessera {
namespace {

template <typename Function>
double NanosecondsPerRound(int rounds, Function function) {
  const auto start = std::chrono::steady_clock::now();
  function(rounds);
  const std::chrono::duration<double, std::nano> elapsed = std::chrono::steady_clock::now() - start;
  return elapsed.count() / rounds;
}

void Measure(int threads) {
  constexpr int kWarmUp = 1000;
  constexpr int kRounds = 20000;
  ThreadPool pool(ThreadPool::Options{.num_threads = threads});
  const auto run = [&](int rounds) {
    for (int i = 0; i < rounds; ++i) pool.Run([](int) {});
  };
  const auto barrier = [&](int rounds) {
    pool.Run([&](int) {
      for (int i = 0; i < rounds; ++i) pool.Barrier();
    });
  };
  run(kWarmUp);
  const double run_ns = NanosecondsPerRound(kRounds, run);
  const double barrier_ns = NanosecondsPerRound(kRounds, barrier);
  std::printf("%3d threads: Run %8.0f ns, Barrier %8.0f ns\n", pool.num_threads(), run_ns,
              barrier_ns);
}

}  // namespace
}  // namespace tessera

int main() {
  const int cores = tessera::UsableCoreCount();
  std::printf("%d usable cores; with more threads than these nobody spins\n", cores);
  for (int threads = 1; threads < cores; threads *= 2) tessera::Measure(threads);
  tessera::Measure(cores);
  tessera::Measure(2 * cores);
  return 0;
}
