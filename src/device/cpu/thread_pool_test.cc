#include "tessera/thread_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "base/cpu_affinity.h"
#include "base/testing/test_scale.h"

namespace tessera {
namespace {

struct Team {
  int threads;
  int spin_microseconds;
};

// With and without spinning, also with more threads than cores.
class ThreadPoolTest : public ::testing::TestWithParam<Team> {
 protected:
  ThreadPool::Options Options() const {
    ThreadPool::Options options;
    options.num_threads = GetParam().threads;
    options.spin_microseconds = GetParam().spin_microseconds;
    return options;
  }
};

TEST_P(ThreadPoolTest, RunsOnceOnEveryWorkerManyTimes) {
  ThreadPool pool(Options());
  ASSERT_EQ(pool.num_threads(), GetParam().threads);
  // Not atomic: the pool itself must order these accesses.
  std::vector<int64_t> calls(static_cast<size_t>(pool.num_threads()));
  const int64_t rounds = testing::Scaled(3000);
  int64_t published = 0;
  for (int64_t round = 1; round <= rounds; ++round) {
    published = round;
    pool.Run([&](int worker) { calls[static_cast<size_t>(worker)] += published; });
    // Every worker has added 1 + 2 + ... + round.
    const int64_t expected = round * (round + 1) / 2;
    for (int64_t sum : calls) ASSERT_EQ(sum, expected);
  }
}

TEST_P(ThreadPoolTest, BarriersSeparatePhases) {
  ThreadPool pool(Options());
  const int threads = pool.num_threads();
  const int64_t phases = testing::Scaled(3000);
  std::vector<int64_t> values(static_cast<size_t>(threads), 0);
  std::atomic<int> errors{0};
  pool.Run([&](int worker) {
    const size_t own = static_cast<size_t>(worker);
    const size_t neighbour = static_cast<size_t>((worker + 1) % threads);
    for (int64_t phase = 1; phase <= phases; ++phase) {
      values[own] = phase;
      pool.Barrier();
      if (values[neighbour] != phase) ++errors;
      pool.Barrier();
    }
  });
  EXPECT_EQ(errors.load(), 0);
}

TEST_P(ThreadPoolTest, LateArrivalsAreWaitedFor) {
  ThreadPool pool(Options());
  // Long enough that the others have stopped spinning and sleep.
  constexpr auto kLate = std::chrono::milliseconds(5);
  for (int late = 0; late < pool.num_threads(); ++late) {
    std::atomic<int> arrived{0};
    std::atomic<int> errors{0};
    pool.Run([&](int worker) {
      if (worker == late) std::this_thread::sleep_for(kLate);
      ++arrived;
      pool.Barrier();
      if (arrived.load() != pool.num_threads()) ++errors;
    });
    EXPECT_EQ(errors.load(), 0);
    std::this_thread::sleep_for(kLate);
  }
}

TEST_P(ThreadPoolTest, ParallelForTouchesEveryIndexOnce) {
  ThreadPool pool(Options());
  for (int64_t count : {-1, 0, 1, 2, 7, 1000}) {
    std::vector<int> touched(static_cast<size_t>(std::max<int64_t>(count, 0)), 0);
    std::atomic<int> bad_workers{0};
    pool.ParallelFor(count, [&](int64_t index, int worker) {
      ++touched[static_cast<size_t>(index)];
      if (worker < 0 || worker >= pool.num_threads()) ++bad_workers;
    });
    for (int times : touched) ASSERT_EQ(times, 1);
    EXPECT_EQ(bad_workers.load(), 0);
  }
}

TEST_P(ThreadPoolTest, ParallelForHandsAnExceptionToItsCaller) {
  ThreadPool pool(Options());
  for (const int64_t count : {1, 2, 50}) {
    for (const int64_t thrower : {int64_t{0}, count / 2, count - 1}) {
      std::atomic<int> under_way{0};
      std::string caught;
      try {
        pool.ParallelFor(count, [&](int64_t index, int) {
          ++under_way;
          const bool throws = index == thrower;
          --under_way;
          if (throws) throw std::runtime_error("index " + std::to_string(index));
        });
      } catch (const std::runtime_error& error) {
        caught = error.what();
      }
      EXPECT_EQ(caught, "index " + std::to_string(thrower));
      EXPECT_EQ(under_way.load(), 0);
      // The pool serves on.
      std::atomic<int64_t> sum{0};
      pool.ParallelFor(100, [&](int64_t index, int) { sum += index; });
      EXPECT_EQ(sum.load(), 4950);
    }
  }
}

TEST_P(ThreadPoolTest, OfManyExceptionsOneArrives) {
  ThreadPool pool(Options());
  for (int64_t round = testing::Scaled(200); round > 0; --round) {
    EXPECT_THROW(pool.ParallelFor(64, [](int64_t, int) { throw std::bad_alloc(); }),
                 std::bad_alloc);
  }
}

TEST_P(ThreadPoolTest, ComesAndGoesIdleOrBusy) {
  for (int round = 0; round < 50; ++round) {
    ThreadPool pool(Options());
    std::atomic<int> calls{0};
    if (round % 2 == 1) {
      pool.Run([&](int) { ++calls; });
      EXPECT_EQ(calls.load(), pool.num_threads());
    }
  }
}

TEST_P(ThreadPoolTest, PoolsDoNotDisturbEachOther) {
  std::vector<std::unique_ptr<ThreadPool>> pools;
  pools.reserve(3);
  for (int i = 0; i < 3; ++i) pools.push_back(std::make_unique<ThreadPool>(Options()));
  std::vector<std::thread> callers;
  callers.reserve(pools.size());
  std::atomic<int64_t> calls{0};
  const int64_t rounds = testing::Scaled(200);
  for (auto& pool : pools) {
    callers.emplace_back([&calls, &pool, rounds] {
      for (int round = 0; round < rounds; ++round) {
        pool->Run([&](int) {
          calls.fetch_add(1, std::memory_order_relaxed);
          pool->Barrier();
        });
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(calls.load(), 3 * rounds * GetParam().threads);
}

INSTANTIATE_TEST_SUITE_P(Teams, ThreadPoolTest,
                         ::testing::Values(Team{1, 50}, Team{2, 50}, Team{2, 0}, Team{3, 50},
                                           Team{3, 0}, Team{8, 50}, Team{8, 0}),
                         [](const ::testing::TestParamInfo<Team>& param) {
                           return std::to_string(param.param.threads) + "ThreadsSpin" +
                                  std::to_string(param.param.spin_microseconds);
                         });

TEST(ThreadPool, DefaultUsesTheCoresOfTheProcess) {
  ThreadPool pool;
  EXPECT_EQ(pool.num_threads(), UsableCoreCount());
  EXPECT_LE(UsableCoreCount(), static_cast<int>(AllowedCores().size()));
}

TEST(ThreadPool, PinsWorkersInsideTheMask) {
  const std::vector<int> cores = AllowedCores();
  ThreadPool pool(ThreadPool::Options{.num_threads = static_cast<int>(cores.size())});
  std::vector<std::vector<int>> allowed(cores.size());
  pool.Run([&](int worker) { allowed[static_cast<size_t>(worker)] = AllowedCores(); });
  EXPECT_EQ(allowed[0], cores);
  for (size_t worker = 1; worker < cores.size(); ++worker) {
    EXPECT_EQ(allowed[worker], std::vector<int>{cores[worker]});
  }
}

TEST(ThreadPool, LeavesWorkersFreeWithoutPinning) {
  ThreadPool pool(ThreadPool::Options{.num_threads = 3, .pin = false});
  const std::vector<int> cores = AllowedCores();
  std::atomic<int> restricted{0};
  pool.Run([&](int) {
    if (AllowedCores() != cores) ++restricted;
  });
  EXPECT_EQ(restricted.load(), 0);
}

TEST(ThreadPool, TakesConstAndMutableFunctions) {
  ThreadPool pool(ThreadPool::Options{.num_threads = 2});
  std::atomic<int> calls{0};
  const auto constant = [&](int) { ++calls; };
  auto changing = [&, own = 0](int worker) mutable {
    if (worker == 0) own = 1;
    calls += worker == 0 ? own : 1;
  };
  pool.Run(constant);
  pool.Run(changing);
  EXPECT_EQ(calls.load(), 4);
}

TEST(CpuAffinity, RefusesCoresThatAreNotThere) {
  EXPECT_FALSE(PinThisThread(-1));
  EXPECT_FALSE(PinThisThread(1 << 19));
  EXPECT_FALSE(AllowedCores().empty());
}

TEST(ThreadPoolDeathTest, NestedRunIsCaught) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  for (int threads : {1, 2}) {
    EXPECT_DEATH(
        {
          ThreadPool pool(ThreadPool::Options{.num_threads = threads});
          pool.Run([&](int) { pool.Run([](int) {}); });
        },
        "Run inside Run");
  }
}

}  // namespace
}  // namespace tessera
