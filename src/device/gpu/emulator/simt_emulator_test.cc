#include "device/gpu/emulator/simt_emulator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace tessera {
namespace {

namespace emulator = simt::emulator;

TEST(Emulator, EveryThreadOfEveryBlockRunsOnce) {
  for (unsigned seed : {0u, 1u, 2u}) {
    std::vector<int> count(3 * 128, 0);
    emulator::Launch({.blocks = 3, .threads = 128, .wave = 32, .seed = seed}, [&] {
      ++count[static_cast<size_t>(emulator::Block() * 128 + emulator::Thread())];
    });
    EXPECT_THAT(count, ::testing::Each(1));
  }
}

TEST(Emulator, ShuffleExchangesWithinTheWave) {
  std::vector<float> got(128);
  emulator::Launch({.blocks = 1, .threads = 128, .wave = 64, .seed = 3}, [&] {
    const int t = emulator::Thread();
    got[static_cast<size_t>(t)] = emulator::ShuffleXor(static_cast<float>(t), 32, 64);
  });
  for (int t = 0; t < 128; ++t) EXPECT_EQ(got[static_cast<size_t>(t)], static_cast<float>(t ^ 32));
}

TEST(Emulator, BarrierOrdersMemoryOfTheBlock) {
  std::vector<int> shared(64, 0);
  emulator::Launch({.blocks = 2, .threads = 64, .wave = 32, .seed = 5}, [&] {
    const size_t t = static_cast<size_t>(emulator::Thread());
    shared[t] = static_cast<int>(t) + 1;
    emulator::Barrier();
    EXPECT_EQ(shared[63 - t], 64 - static_cast<int>(t));
    emulator::Barrier();
    shared[t] = 0;
  });
}

TEST(Emulator, DivergentBarrierIsAnError) {
  EXPECT_THROW(emulator::Launch({.blocks = 1, .threads = 64, .wave = 32},
                                [] {
                                  if (emulator::Thread() == 0) return;
                                  emulator::Barrier();
                                }),
               emulator::EmulationError);
  EXPECT_THROW(emulator::Launch({.blocks = 1, .threads = 32, .wave = 32},
                                [] {
                                  if (emulator::Thread() % 2 == 0)
                                    emulator::ShuffleXor(1.0f, 1, 32);
                                }),
               emulator::EmulationError);
}

TEST(Emulator, EarlyKernelWhoseThreadDoesNotWaitIsAnError) {
  const auto run = [](int waiting) {
    emulator::Launch({.blocks = 1, .threads = 32, .wave = 32}, [&] {
      emulator::BeginEarlyKernel();
      if (emulator::Thread() < waiting) emulator::WaitForEarlier();
    });
  };
  EXPECT_NO_THROW(run(32));
  EXPECT_THROW(run(31), emulator::EmulationError);
}

TEST(Emulator, PrefetchOfAPartOfAPieceIsAnError) {
  alignas(16) const char data[32] = {};
  const auto run = [](const char* from, int64_t bytes) {
    emulator::Launch({.blocks = 1, .threads = 32, .wave = 32},
                     [&] { emulator::Prefetch(from, bytes); });
  };
  EXPECT_NO_THROW(run(data, 32));
  EXPECT_THROW(run(data, 24), emulator::EmulationError);
  EXPECT_THROW(run(data + 8, 16), emulator::EmulationError);
}

}  // namespace
}  // namespace tessera
