// What an engine looks like between two steps, for people who watch it.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/attention_switch.h"
#include "engine/block_pool.h"
#include "engine/engine.h"
#include "engine/sequence.h"

namespace tessera {

// One step that was made.
struct StepRecord {
  int64_t number = 0;        // counted from 1
  double start = 0;          // seconds since the engine was made
  double seconds = 0;        // it took
  int32_t decode_rows = 0;   // of requests with one new token
  int32_t prefill_rows = 0;  // of prompts, and of what is computed again
  int32_t num_requests = 0;  // in the step
  int64_t num_switches = 0;  // of attention backends, before it
};

// The last steps. Not thread-safe.
class StepHistory {
 public:
  static constexpr size_t kSize = 200;

  void Add(const StepRecord& record) { records_[num_added_++ % kSize] = record; }
  std::vector<StepRecord> Latest() const;  // the oldest first

 private:
  std::array<StepRecord, kSize> records_;
  size_t num_added_ = 0;
};

// Blocks in a row that are in the same hands.
struct BlockRun {
  static constexpr int64_t kFree = 0;
  static constexpr int64_t kCached = -1;  // free, but what it contains can be found again

  int32_t count = 0;
  // The only holder's id, from 1 on; -n: n >= 2 requests share the blocks; or kFree, kCached.
  int64_t owner = kFree;

  bool operator==(const BlockRun&) const = default;
};

// All blocks of the pool in order of their numbers, held by `sequences` alone.
std::vector<BlockRun> BlockOwners(const BlockPool& pool,
                                  std::span<const Sequence* const> sequences);

// A request that holds blocks.
struct RequestView {
  uint64_t id = 0;
  int32_t prompt_tokens = 0;
  int32_t output_tokens = 0;
  int32_t computed_tokens = 0;  // of both: in the cache
  int32_t blocks = 0;
};

struct EngineView {
  double seconds = 0;  // since the engine was made
  int32_t block_size = 0;
  EngineStats stats;
  std::vector<BlockRun> blocks;
  std::vector<RequestView> requests;                             // in order of arrival
  std::vector<StepRecord> steps;                                 // the last ones, the oldest first
  std::vector<std::shared_ptr<const AttentionInUse>> attention;  // of each kind of layer
};

}  // namespace tessera
