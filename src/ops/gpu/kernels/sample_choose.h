// One block chooses a row's token from what SampleStatsBlock() left.
//
// A draw without truncation goes by the tokens' order: first to a chunk, then into it. With
// truncation it goes by falling weight, of equals by the token: the few tokens that weigh much are
// gathered, and each is compared with each, which needs neither a sort nor a scan. If they are too
// many, searches over the whole row find the same token.
#pragma once

#include <cstdint>

#include "ops/gpu/kernels/sample.h"
#include "ops/gpu/kernels/sample_search.h"

namespace tessera::ops_gpu {

template <int kWave>
struct ChooseMemory {
  SearchMemory<kWave> search;
  uint64_t sums[kChooseThreads];
  uint64_t groups[kChooseThreads / 16];
  uint32_t keys[kMaxCandidates];
  int32_t tokens[kMaxCandidates];
  uint32_t count;
  int32_t chosen;
  int32_t chunk;
  uint64_t left;
};

SIMT_DEVICE uint64_t Scaled(uint64_t sum, float factor) {
  return static_cast<uint64_t>(static_cast<double>(sum) * static_cast<double>(factor));
}

// uniform * total, but less than total.
SIMT_DEVICE uint64_t DrawnPoint(double uniform, uint64_t total) {
  const auto point = static_cast<uint64_t>(uniform * static_cast<double>(total));
  return point < total ? point : total - 1;
}

// The weights of a row, as bits that are ordered as they are.
struct WeightRow {
  LogitRow logits;
  float largest, scale;
  SIMT_METHOD uint32_t Bits(float logit) const {
    return simt::Bits(simt::Exp2((logit - largest) * scale));
  }
};
SIMT_DEVICE uint64_t FixedPointOfBits(uint32_t bits) { return FixedPoint(simt::FromBits(bits)); }

// The token at `uniform` of all weights, in the tokens' order.
template <int kWave>
SIMT_DEVICE int32_t DrawFromAll(const SampleArgs& args, int row, const WeightRow& weights,
                                double uniform, ChooseMemory<kWave>* memory) {
  const ChunkStats* const stats = args.stats + int64_t{row} * args.chunks;
  const auto factor = [&](int chunk) {
    const float largest = stats[chunk].largest;
    return largest == kMinusInfinity ? 0.0f
                                     : simt::Exp2((largest - weights.largest) * weights.scale);
  };
  for (int chunk = simt::Thread(); chunk < args.chunks; chunk += kChooseThreads) {
    memory->sums[chunk] = Scaled(stats[chunk].sum, factor(chunk));
  }
  simt::Sync();
  if (simt::Thread() == 0) {
    uint64_t total = 0;
    int chunk = 0, last = 0;
    for (int c = 0; c < args.chunks; ++c) {
      total += memory->sums[c];
      if (memory->sums[c] != 0) last = c;
    }
    uint64_t left = DrawnPoint(uniform, total);
    while (chunk < last && left >= memory->sums[chunk]) left -= memory->sums[chunk++];
    // In the chunk's own unit.
    const double own = static_cast<double>(left) / static_cast<double>(factor(chunk));
    const uint64_t limit = stats[chunk].sum - 1;
    memory->chunk = chunk;
    memory->left = own < static_cast<double>(limit) ? static_cast<uint64_t>(own) : limit;
  }
  simt::Sync();
  const int chunk = memory->chunk;
  constexpr int kRun = kChunk / kChooseThreads;
  const WeightRow own = {weights.logits, stats[chunk].largest, weights.scale};
  const int32_t begin = chunk * kChunk + simt::Thread() * kRun;
  uint64_t sum = 0;
  for (int i = 0; i < kRun; ++i) {
    if (begin + i < args.vocabulary) sum += FixedPointOfBits(own.Bits(own.logits.At(begin + i)));
  }
  memory->sums[simt::Thread()] = sum;
  simt::Sync();
  if (simt::Thread() % 16 == 0) {
    sum = 0;
    for (int i = 0; i < 16; ++i) sum += memory->sums[simt::Thread() + i];
    memory->groups[simt::Thread() / 16] = sum;
  }
  simt::Sync();
  if (simt::Thread() == 0) {
    uint64_t left = memory->left;
    int group = 0;
    while (group + 1 < kChooseThreads / 16 && left >= memory->groups[group]) {
      left -= memory->groups[group++];
    }
    int run = group * 16;
    while (run + 1 < group * 16 + 16 && left >= memory->sums[run]) left -= memory->sums[run++];
    int32_t token = chunk * kChunk + run * kRun;
    for (const int32_t end = token + kRun - 1; token < end; ++token) {
      const uint64_t weight = FixedPointOfBits(own.Bits(own.logits.At(token)));
      if (left < weight) break;
      left -= weight;
    }
    memory->chosen = token;
  }
  simt::Sync();
  return memory->chosen;
}

// What truncation keeps, and of how much.
struct Truncation {
  uint32_t least = 1;  // bits of the least weight that counts
  uint64_t count = 0;  // of tokens of at least that weight
  uint64_t mass = 0;   // that top-p is a part of; 0: those of at least that weight
  uint64_t top_k = 0;  // 0: off
  float top_p = 1.0f;
};

// A least weight that is low enough for everything that is kept, and high enough for few tokens.
template <int kWave>
SIMT_DEVICE Truncation PrepareTruncation(const SampleRowArgs& r, const WeightRow& weights,
                                         ChooseMemory<kWave>* memory) {
  constexpr int kLevels = 4;  // 2^-6, 2^-12, 2^-18, 2^-24
  const auto level = [](int i) { return (127u - 6u * (static_cast<uint32_t>(i) + 1)) << 23; };
  const int32_t vocabulary = weights.logits.size;
  Truncation t;
  t.top_k = r.top_k > 0 && r.top_k < vocabulary ? static_cast<uint64_t>(r.top_k) : 0;
  t.top_p = r.top_p;
  const uint32_t min_p = r.min_p > 0.0f ? simt::Bits(r.min_p) : 1u;
  TriedSums counts = {}, masses = {};  // by level, of all, of min_p
  ForEachToken(weights.logits, [&](int32_t, float logit) {
    const uint32_t bits = weights.Bits(logit);
    const uint64_t mass = FixedPointOfBits(bits);
    SIMT_UNROLL
    for (int i = 0; i < kLevels; ++i) {
      if (bits >= level(i)) {
        ++counts.v[i];
        masses.v[i] += mass;
      }
    }
    masses.v[kLevels] += mass;
    if (bits >= min_p) ++counts.v[kLevels];
  });
  counts = BlockReduce<kWave, kChooseThreads>(counts, memory->search.tried, AddTriedSums());
  masses = BlockReduce<kWave, kChooseThreads>(masses, memory->search.tried, AddTriedSums());
  t.least = min_p;
  t.count = counts.v[kLevels];
  if (r.min_p <= 0.0f && t.top_k == 0) t.mass = masses.v[kLevels];
  const double wanted = static_cast<double>(t.top_p) * static_cast<double>(t.mass);
  SIMT_UNROLL
  for (int i = kLevels - 1; i >= 0; --i) {
    if (level(i) < min_p) continue;
    const bool enough = t.top_k > 0 ? counts.v[i] >= t.top_k
                                    : r.min_p <= 0.0f && static_cast<double>(masses.v[i]) >= wanted;
    if (enough) {
      t.least = level(i);
      t.count = counts.v[i];
    }
  }
  return t;
}

// Puts the tokens of at least `least` into the candidates: their number is known to fit.
template <int kWave, class Row, class KeyOf>
SIMT_DEVICE uint32_t GatherCandidates(const Row& row, ChooseMemory<kWave>* memory,
                                      const KeyOf& key_of) {
  if (simt::Thread() == 0) memory->count = 0;
  simt::Sync();
  ForEachToken(row, [&](int32_t token, float logit) {
    uint32_t key = 0;
    if (!key_of(token, logit, &key)) return;
    const uint32_t at = AddShared(&memory->count, 1);
    if (at >= kMaxCandidates) return;
    memory->keys[at] = key;
    memory->tokens[at] = token;
  });
  simt::Sync();
  return memory->count < kMaxCandidates ? memory->count : kMaxCandidates;
}

// A candidate's place among the others: by falling key, then by the token. kWeights: the keys are
// bits of weights, which the mass is made of; of other keys there is none.
struct Place {
  uint32_t greater;  // candidates of larger keys
  uint32_t before;   // those, and equals of lower tokens
  uint64_t mass;     // of all that are before it
};
template <int kWave, bool kWeights>
SIMT_DEVICE Place PlaceOf(uint32_t i, uint32_t count, const ChooseMemory<kWave>& memory) {
  Place place = {0, 0, 0};
  const uint32_t key = memory.keys[i];
  const int32_t token = memory.tokens[i];
  for (uint32_t j = 0; j < count; ++j) {
    const uint32_t other = memory.keys[j];
    if (other > key) ++place.greater;
    if (other > key || (other == key && memory.tokens[j] < token)) {
      ++place.before;
      if constexpr (kWeights) place.mass += FixedPointOfBits(other);
    }
  }
  return place;
}

template <int kWave>
SIMT_DEVICE int32_t DrawFromCandidates(const Truncation& t, const WeightRow& weights,
                                       double uniform, ChooseMemory<kWave>* memory) {
  const uint32_t count =
      GatherCandidates<kWave>(weights.logits, memory, [&](int32_t, float logit, uint32_t* key) {
        *key = weights.Bits(logit);
        return *key >= t.least;
      });
  constexpr int kEach = kMaxCandidates / kChooseThreads;
  Place places[kEach] = {};
  bool kept[kEach] = {};
  uint64_t mass = 0;
  SIMT_UNROLL
  for (int e = 0; e < kEach; ++e) {
    const uint32_t i = static_cast<uint32_t>(simt::Thread() + e * kChooseThreads);
    if (i >= count) continue;
    places[e] = PlaceOf<kWave, true>(i, count, *memory);
    kept[e] = t.top_k == 0 || places[e].greater < t.top_k;
    if (kept[e]) mass += FixedPointOfBits(memory->keys[i]);
  }
  mass = BlockSum<kWave>(mass, &memory->search);
  if (t.top_p < 1.0f) {
    const double wanted =
        static_cast<double>(t.top_p) * static_cast<double>(t.mass != 0 ? t.mass : mass);
    uint64_t left = 0;
    SIMT_UNROLL
    for (int e = 0; e < kEach; ++e) {
      const uint32_t i = static_cast<uint32_t>(simt::Thread() + e * kChooseThreads);
      if (places[e].before > 0 && !(static_cast<double>(places[e].mass) < wanted)) kept[e] = false;
      if (i < count && kept[e]) left += FixedPointOfBits(memory->keys[i]);
    }
    mass = BlockSum<kWave>(left, &memory->search);
  }
  const uint64_t point = DrawnPoint(uniform, mass);
  SIMT_UNROLL
  for (int e = 0; e < kEach; ++e) {
    const uint32_t i = static_cast<uint32_t>(simt::Thread() + e * kChooseThreads);
    if (i >= count || !kept[e] || point < places[e].mass) continue;
    if (point - places[e].mass < FixedPointOfBits(memory->keys[i])) {
      memory->chosen = memory->tokens[i];
    }
  }
  simt::Sync();
  return memory->chosen;
}

// The same with passes over the row.
template <int kWave>
SIMT_DEVICE int32_t DrawBySearch(const Truncation& t, const WeightRow& weights, double uniform,
                                 ChooseMemory<kWave>* memory) {
  constexpr uint32_t kOne = 0x3f800000u;
  SearchMemory<kWave>* const search = &memory->search;
  const LogitRow& logits = weights.logits;
  const auto mass_of = [&](int32_t, float logit, uint32_t* key) -> uint64_t {
    *key = weights.Bits(logit);
    return FixedPointOfBits(*key);
  };
  const auto one = [&](int32_t, float logit, uint32_t* key) -> uint64_t {
    *key = weights.Bits(logit);
    return 1;
  };
  const auto total = [&](uint32_t least, const auto& amount_of) {
    uint64_t sum = 0;
    ForEachToken(logits, [&](int32_t token, float logit) {
      uint32_t key = 0;
      const uint64_t amount = amount_of(token, logit, &key);
      if (key >= least) sum += amount;
    });
    return BlockSum<kWave>(sum, search);
  };

  uint32_t least = t.least;
  if (t.top_k > 0 && t.count > t.top_k) {
    least = FindThreshold<kWave>(logits, least, kOne, t.top_k, search, one);
  }
  uint64_t kept = total(least, mass_of);
  if (t.top_p < 1.0f) {
    const double part =
        static_cast<double>(t.top_p) * static_cast<double>(t.mass != 0 ? t.mass : kept);
    auto wanted = static_cast<uint64_t>(part);
    if (static_cast<double>(wanted) < part) ++wanted;
    if (wanted == 0) wanted = 1;
    if (wanted < kept) {
      least = FindThreshold<kWave>(logits, least, kOne, wanted, search, mass_of);
      // Of those that weigh exactly this much only the first ones are kept.
      const uint64_t above = total(least + 1, mass_of), weight = FixedPointOfBits(least);
      const uint64_t all = total(least, one) - total(least + 1, one);
      uint64_t equals = weight == 0 ? all : (wanted - above + weight - 1) / weight;
      if (equals > all) equals = all;
      kept = above + equals * weight;
    }
  }
  const uint64_t point = DrawnPoint(uniform, kept);
  const uint32_t bits = FindThreshold<kWave>(logits, least, kOne, point + 1, search, mass_of);
  const uint64_t above = total(bits + 1, mass_of), weight = FixedPointOfBits(bits);
  const uint64_t index = weight == 0 ? 0 : (point - above) / weight;
  return FindToken<kWave>(logits, index, search,
                          [&](float logit) { return weights.Bits(logit) == bits; });
}

// The largest logit of a row from those of its chunks.
template <int kWave>
SIMT_DEVICE Largest LargestOfRow(const SampleArgs& args, const ChunkStats* stats,
                                 SearchMemory<kWave>* memory) {
  Largest largest = {kMinusInfinity, args.vocabulary};
  for (int chunk = simt::Thread(); chunk < args.chunks; chunk += kChooseThreads) {
    largest = TakeLargest()(largest, Largest{stats[chunk].largest, stats[chunk].index});
  }
  return BlockReduce<kWave, kChooseThreads>(largest, memory->largest, TakeLargest());
}

SIMT_DEVICE SampleError ErrorOf(float largest) {
  if (largest == -kMinusInfinity) return SampleError::kInfinite;
  return largest == kMinusInfinity ? SampleError::kNothing : SampleError::kNone;
}

// A block a row.
template <int kWave>
SIMT_DEVICE void SampleChooseBlock(const SampleArgs& args) {
  auto* const memory = simt::SharedMemory<ChooseMemory<kWave>>();
  const int row = simt::Block();
  const SampleRowArgs& r = RowArgs(args, row);
  SampleResult result = {r.given_token, SampleError::kNone, 0.0f, 0};
  if (r.kind != SampleKind::kGiven) {
    const Largest largest =
        LargestOfRow<kWave>(args, args.stats + int64_t{row} * args.chunks, &memory->search);
    result.error = ErrorOf(largest.value);
    result.token = largest.index;
    if (result.error != SampleError::kNone) {
      result.token = 0;  // of the vocabulary, for the step that reads it before the host knows
    } else if (r.kind != SampleKind::kGreedy) {
      const WeightRow weights = {EditedRow(args, row), largest.value, r.scale};
      if (r.kind == SampleKind::kDraw) {
        result.token = DrawFromAll<kWave>(args, row, weights, r.uniform, memory);
      } else {
        const Truncation t = PrepareTruncation<kWave>(r, weights, memory);
        result.token = t.count <= kMaxCandidates
                           ? DrawFromCandidates<kWave>(t, weights, r.uniform, memory)
                           : DrawBySearch<kWave>(t, weights, r.uniform, memory);
      }
    }
  }
  if (simt::Thread() == 0) {
    args.results[row] = result;
    if (args.token_ids != nullptr) args.token_ids[row] = result.token;
  }
}

}  // namespace tessera::ops_gpu
