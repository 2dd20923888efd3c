// CPython's `random.Random`, as far as lm-evaluation-harness uses it: the few-shot examples that it
// draws are part of every prompt, so a score can only be compared if the draws are the same.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace tessera {

// Not thread-safe.
class PythonRandom {
 public:
  // random.Random(seed) of a non-negative integer.
  explicit PythonRandom(uint64_t seed);

  // random.getrandbits(32): MT19937's next output.
  uint32_t NextUint32();

  // random._randbelow(limit), 1 <= limit < 2^32.
  uint32_t Below(uint32_t limit);

  // The indices of random.sample(range(population), count), 0 <= count <= population < 2^32.
  std::vector<uint32_t> Sample(uint32_t population, uint32_t count);

 private:
  static constexpr int kStateSize = 624;

  void SeedWith(uint32_t seed);
  void Refill();

  std::array<uint32_t, kStateSize> state_;
  int next_ = kStateSize;
};

}  // namespace tessera
