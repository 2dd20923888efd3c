// Log probabilities of the chosen or given token and of the likeliest ones, from the logits as the
// model gave them. One block a row; the alternatives come out in order.
#pragma once

#include <cstdint>

#include "ops/gpu/kernels/sample_choose.h"

namespace tessera::ops_gpu {

// Bits that are ordered as the logits are; NaN is 0, below all of them.
SIMT_DEVICE uint32_t OrderedBits(float logit) {
  if (logit != logit) return 0;
  const uint32_t bits = simt::Bits(logit + 0.0f);  // -0 equals 0
  return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}
SIMT_DEVICE float FromOrderedBits(uint32_t key) {
  return simt::FromBits((key & 0x80000000u) != 0 ? key & 0x7fffffffu : ~key);
}

// A key that at least `count` tokens of the row reach, as high as the chunks' largest logits tell.
template <int kWave>
SIMT_DEVICE uint32_t LowestKey(const SampleArgs& args, const ChunkStats* stats, int count,
                               ChooseMemory<kWave>* memory) {
  if (count > args.chunks) return 1;
  if (simt::Thread() == 0) memory->count = 1;
  simt::Sync();
  for (int chunk = simt::Thread(); chunk < args.chunks; chunk += kChooseThreads) {
    int before = 0;
    for (int c = 0; c < args.chunks; ++c) {
      const float other = stats[c].largest, own = stats[chunk].largest;
      if (other > own || (other == own && c < chunk)) ++before;
    }
    if (before == count - 1) memory->count = OrderedBits(stats[chunk].largest);
  }
  simt::Sync();
  const uint32_t key = memory->count;
  simt::Sync();
  return key;
}

template <int kWave>
SIMT_DEVICE void StoreTop(const SampleArgs& args, int row, int wanted, float largest, float log_sum,
                          ChooseMemory<kWave>* memory) {
  const OriginalRow logits = {args.logits + row * args.stride, args.vocabulary};
  const ChunkStats* const stats = args.original_stats + int64_t{row} * args.chunks;
  uint32_t least = LowestKey<kWave>(args, stats, wanted, memory);
  uint64_t found = 0;
  ForEachToken(logits, [&](int32_t, float logit) { found += OrderedBits(logit) >= least ? 1 : 0; });
  found = BlockSum<kWave>(found, &memory->search);
  int32_t last_equal = args.vocabulary;
  if (found > kMaxCandidates) {
    const auto one = [&](int32_t, float logit, uint32_t* key) -> uint64_t {
      *key = OrderedBits(logit);
      return 1;
    };
    least = FindThreshold<kWave>(logits, least, OrderedBits(largest), static_cast<uint64_t>(wanted),
                                 &memory->search, one);
    uint64_t above = 0;
    ForEachToken(logits,
                 [&](int32_t, float logit) { above += OrderedBits(logit) > least ? 1 : 0; });
    above = BlockSum<kWave>(above, &memory->search);
    last_equal =
        FindToken<kWave>(logits, static_cast<uint64_t>(wanted) - above - 1, &memory->search,
                         [&](float logit) { return OrderedBits(logit) == least; });
  }
  const uint32_t count =
      GatherCandidates<kWave>(logits, memory, [&](int32_t token, float logit, uint32_t* key) {
        *key = OrderedBits(logit);
        return *key > least || (*key == least && token <= last_equal);
      });
  TopToken* const top = args.top + int64_t{row} * args.top_stride;
  for (uint32_t i = static_cast<uint32_t>(simt::Thread()); i < count; i += kChooseThreads) {
    const Place place = PlaceOf<kWave, false>(i, count, *memory);
    if (place.before >= static_cast<uint32_t>(wanted)) continue;
    top[place.before] = {memory->tokens[i], FromOrderedBits(memory->keys[i]) - largest - log_sum,
                         static_cast<int32_t>(place.greater) + 1};
  }
  // Fewer if the others are NaN.
  for (int i = static_cast<int>(count) + simt::Thread(); i < wanted; i += kChooseThreads) {
    top[i] = {-1, 0.0f, 0};
  }
}

template <int kWave>
SIMT_DEVICE void SampleLogprobsBlock(const SampleArgs& args) {
  auto* const memory = simt::SharedMemory<ChooseMemory<kWave>>();
  const int row = simt::Block();
  const SampleRowArgs& r = RowArgs(args, row);
  SampleResult result = args.results[row];
  if (r.logprobs < 0 || result.error != SampleError::kNone) return;
  const ChunkStats* const stats = args.original_stats + int64_t{row} * args.chunks;
  const float largest = LargestOfRow<kWave>(args, stats, &memory->search).value;
  result.error = ErrorOf(largest);
  if (result.error == SampleError::kNone) {
    uint64_t sum = 0;
    for (int chunk = simt::Thread(); chunk < args.chunks; chunk += kChooseThreads) {
      if (stats[chunk].largest > kMinusInfinity) {
        sum += Scaled(stats[chunk].sum, simt::Exp2((stats[chunk].largest - largest) * kLog2e));
      }
    }
    sum = BlockSum<kWave>(sum, &memory->search);
    const auto mass = static_cast<float>(static_cast<double>(sum) * 0x1p-40);
    const float log_sum = simt::Log2(mass) * (1.0f / kLog2e);
    const OriginalRow logits = {args.logits + row * args.stride, args.vocabulary};
    const float own = logits.At(result.token);
    uint64_t greater = 0;
    ForEachToken(logits, [&](int32_t, float logit) { greater += logit > own ? 1 : 0; });
    greater = BlockSum<kWave>(greater, &memory->search);
    const bool nan = own != own;
    result.logprob = nan ? kMinusInfinity : own - largest - log_sum;
    result.rank = nan ? args.vocabulary : static_cast<int32_t>(greater) + 1;
    const int wanted = r.logprobs < args.vocabulary ? r.logprobs : args.vocabulary;
    if (wanted > 0) StoreTop<kWave>(args, row, wanted, largest, log_sum, memory);
  }
  if (simt::Thread() == 0) args.results[row] = result;
}

}  // namespace tessera::ops_gpu
