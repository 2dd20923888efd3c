// Searches of one block over a row, for what does not fit in shared memory: the largest threshold
// at which enough elements, or weight, lies above it.
#pragma once

#include <cstdint>

#include "ops/gpu/kernels/sample.h"

namespace tessera::ops_gpu {

// Thresholds that one pass tries at a time.
constexpr int kTried = 7;
struct TriedSums {
  uint64_t v[kTried];
};
struct AddTriedSums {
  SIMT_METHOD TriedSums operator()(const TriedSums& a, const TriedSums& b) const {
    TriedSums sum;
    SIMT_UNROLL
    for (int i = 0; i < kTried; ++i) sum.v[i] = a.v[i] + b.v[i];
    return sum;
  }
};

template <int kWave>
struct SearchMemory {
  static constexpr int kWaves = kChooseThreads / kWave;
  union {
    TriedSums tried[kWaves];
    uint64_t sums[kWaves];
    Largest largest[kWaves];
    int32_t tokens[kWaves];
  };
};

struct TakeSmaller {
  SIMT_METHOD int32_t operator()(int32_t a, int32_t b) const { return a < b ? a : b; }
};

template <int kWave>
SIMT_DEVICE uint64_t BlockSum(uint64_t value, SearchMemory<kWave>* memory) {
  return BlockReduce<kWave, kChooseThreads>(value, memory->sums, Sum());
}

// f(token, logit) for every token of the row, over the block. Some logits are under way at a time.
template <class Row, class F>
SIMT_DEVICE void ForEachToken(const Row& row, const F& f) {
  constexpr int kAhead = 4;
  SIMT_ROLLED
  for (int32_t first = simt::Thread(); first < row.size; first += kAhead * kChooseThreads) {
    float logits[kAhead];
    SIMT_UNROLL
    for (int i = 0; i < kAhead; ++i) {
      const int32_t token = first + i * kChooseThreads;
      logits[i] = token < row.size ? row.At(token) : 0.0f;
    }
    SIMT_UNROLL
    for (int i = 0; i < kAhead; ++i) {
      const int32_t token = first + i * kChooseThreads;
      if (token < row.size) f(token, logits[i]);
    }
  }
}

// The largest t in [low, high] for which the amounts of all elements of keys >= t reach `wanted`;
// `low` if there is none. element(token, logit, &key) returns an amount.
template <int kWave, class Row, class Element>
SIMT_DEVICE uint32_t FindThreshold(const Row& row, uint32_t low, uint32_t high, uint64_t wanted,
                                   SearchMemory<kWave>* memory, const Element& element) {
  while (low < high) {
    const uint32_t step = (high - low) / (kTried + 1) + 1;
    TriedSums sums = {};
    ForEachToken(row, [&](int32_t token, float logit) {
      uint32_t key = 0;
      const uint64_t amount = element(token, logit, &key);
      SIMT_UNROLL
      for (int i = 0; i < kTried; ++i) {
        if (key >= low + (static_cast<uint32_t>(i) + 1) * step) sums.v[i] += amount;
      }
    });
    sums = BlockReduce<kWave, kChooseThreads>(sums, memory->tried, AddTriedSums());
    uint32_t from = low, to = high;
    SIMT_UNROLL
    for (int i = 0; i < kTried; ++i) {
      const uint32_t tried = low + (static_cast<uint32_t>(i) + 1) * step;
      if (tried > high) continue;
      if (sums.v[i] >= wanted) {
        from = tried;
      } else if (tried - 1 < to) {
        to = tried - 1;
      }
    }
    low = from;
    high = to;
  }
  return low;
}

// The token number `index`, counted from 0 in order, of those for which chosen(logit).
template <int kWave, class Row, class Chosen>
SIMT_DEVICE int32_t FindToken(const Row& row, uint64_t index, SearchMemory<kWave>* memory,
                              const Chosen& chosen) {
  if (index == 0) {
    int32_t first = row.size;
    ForEachToken(row, [&](int32_t token, float logit) {
      if (token < first && chosen(logit)) first = token;
    });
    return BlockReduce<kWave, kChooseThreads>(first, memory->tokens, TakeSmaller());
  }
  // Keys fall as tokens rise: the largest key that index + 1 tokens reach.
  const auto last = static_cast<uint32_t>(row.size - 1);
  return static_cast<int32_t>(
      last - FindThreshold<kWave>(row, 0, last, index + 1, memory,
                                  [&](int32_t token, float logit, uint32_t* key) -> uint64_t {
                                    *key = last - static_cast<uint32_t>(token);
                                    return chosen(logit) ? 1 : 0;
                                  }));
}

}  // namespace tessera::ops_gpu
