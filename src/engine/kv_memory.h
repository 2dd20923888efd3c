// The KV cache's memory: how much of it, and where each layer's part lies.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tessera/attention_spec.h"
#include "tessera/device.h"
#include "tessera/kv_cache.h"
#include "tessera/result.h"

namespace tessera {

struct KvBudget {
  int32_t block_size = 16;
  int64_t kv_cache_bytes = 0;   // 0: planned
  int64_t available_bytes = 0;  // memory that the process may still take; 0: unknown
  int64_t max_model_len = 0;
  int32_t max_running = 256;  // requests that run at a time
};

struct KvPlan {
  int64_t block_bytes = 0;  // of one block, over all layers
  int32_t num_blocks = 0;
  int64_t max_model_len = 0;       // lowered if the blocks hold no more
  int64_t asked_model_len = 0;     // before that
  std::vector<std::string> notes;  // for the user: the size, and what was lowered and why
};

// Fails if no block fits, naming the bytes that one takes, and if kv_cache_bytes is more than
// there is. Without kv_cache_bytes the cache holds max_running requests of the greatest length, or
// fills four fifths of the available memory where that is less.
Result<KvPlan> PlanKvMemory(const std::vector<AttentionSpec>& layers, const KvBudget& budget);

// One allocation of a device for all layers, each with num_blocks blocks of the standard layout. On
// a CPU its pages stay untouched until they are written: a generous plan costs only what is used.
class KvMemory {
 public:
  static Result<KvMemory> Allocate(const std::vector<AttentionSpec>& layers, const KvPlan& plan,
                                   int32_t block_size, Device* device);

  // [num_layers], views that live as long as this.
  const std::vector<KvCache>& layers() const { return layers_; }
  const Buffer& buffer() const { return memory_; }

 private:
  KvMemory() = default;

  Buffer memory_;
  std::vector<KvCache> layers_;
};

}  // namespace tessera
