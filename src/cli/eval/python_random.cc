#include "cli/eval/python_random.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <unordered_set>

#include "tessera/result.h"

namespace tessera {
namespace {

constexpr int kMiddle = 397;  // MT19937's m
constexpr uint32_t kUpperBit = 0x80000000u;
constexpr uint32_t kMatrix = 0x9908b0dfu;

}  // namespace

// MT19937's initialisation by an array (Matsumoto and Nishimura, 2002); CPython splits an integer
// seed into 32-bit words, the lowest first.
PythonRandom::PythonRandom(uint64_t seed) {
  std::vector<uint32_t> key{static_cast<uint32_t>(seed)};
  if ((seed >> 32) != 0) key.push_back(static_cast<uint32_t>(seed >> 32));

  SeedWith(19650218u);
  const int key_size = static_cast<int>(key.size());
  int i = 1;
  int j = 0;
  const auto mixed = [&](uint32_t factor) {
    return state_[i] ^ ((state_[i - 1] ^ (state_[i - 1] >> 30)) * factor);
  };
  const auto advance = [&] {
    if (++i == kStateSize) {
      state_[0] = state_[kStateSize - 1];
      i = 1;
    }
  };
  for (int k = std::max(kStateSize, key_size); k > 0; --k) {
    state_[i] = mixed(1664525u) + key[j] + static_cast<uint32_t>(j);
    advance();
    j = (j + 1) % key_size;
  }
  for (int k = kStateSize - 1; k > 0; --k) {
    state_[i] = mixed(1566083941u) - static_cast<uint32_t>(i);
    advance();
  }
  state_[0] = kUpperBit;
}

void PythonRandom::SeedWith(uint32_t seed) {
  state_[0] = seed;
  for (uint32_t i = 1; i < kStateSize; ++i) {
    state_[i] = 1812433253u * (state_[i - 1] ^ (state_[i - 1] >> 30)) + i;
  }
}

void PythonRandom::Refill() {
  for (int i = 0; i < kStateSize; ++i) {
    const uint32_t y = (state_[i] & kUpperBit) | (state_[(i + 1) % kStateSize] & ~kUpperBit);
    state_[i] = state_[(i + kMiddle) % kStateSize] ^ (y >> 1) ^ ((y & 1u) != 0 ? kMatrix : 0u);
  }
  next_ = 0;
}

uint32_t PythonRandom::NextUint32() {
  if (next_ == kStateSize) Refill();
  uint32_t y = state_[next_++];
  y ^= y >> 11;
  y ^= (y << 7) & 0x9d2c5680u;
  y ^= (y << 15) & 0xefc60000u;
  return y ^ (y >> 18);
}

uint32_t PythonRandom::Below(uint32_t limit) {
  TESSERA_CHECK(limit > 0);
  const int bits = std::bit_width(limit);
  uint32_t value;
  do {
    value = NextUint32() >> (32 - bits);
  } while (value >= limit);
  return value;
}

std::vector<uint32_t> PythonRandom::Sample(uint32_t population, uint32_t count) {
  TESSERA_CHECK(count <= population);
  std::vector<uint32_t> result;
  result.reserve(count);

  // CPython draws from a shrinking list if that takes less memory than a set of what is drawn;
  // the two ways use the generator differently.
  double set_size = 21;
  if (count > 5) set_size += std::pow(4, std::ceil(std::log(count * 3.0) / std::log(4.0)));
  if (population <= set_size) {
    std::vector<uint32_t> pool(population);
    for (uint32_t i = 0; i < population; ++i) pool[i] = i;
    for (uint32_t i = 0; i < count; ++i) {
      const uint32_t j = Below(population - i);
      result.push_back(pool[j]);
      pool[j] = pool[population - i - 1];
    }
    return result;
  }
  std::unordered_set<uint32_t> drawn;
  while (result.size() < count) {
    const uint32_t j = Below(population);
    if (drawn.insert(j).second) result.push_back(j);
  }
  return result;
}

}  // namespace tessera
