// One attention step with random numbers, to be timed on any backend.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/memory.h"
#include "cli/bench/batch_spec.h"
#include "tessera/backend.h"

namespace tessera {

class AttentionProblem {
 public:
  // Pages of `block_size` tokens in random order. kOutOfMemory if the cache finds no room.
  static Result<std::unique_ptr<AttentionProblem>> Create(const AttentionSpec& spec,
                                                          const std::vector<RequestShape>& requests,
                                                          int32_t block_size);

  const AttentionSpec& spec() const { return spec_; }
  int32_t block_size() const { return cache_.block_size; }

  // What the step cannot do without: the bytes of every key and value that some row sees, once, and
  // two multiplications and additions for each component of each visible pair of row and key.
  double kv_bytes() const { return kv_bytes_; }
  double operations() const { return operations_; }

  // Seconds of one step, its planning included; `*plan` is made if it is null.
  double Time(Backend* backend, Stream* stream, std::unique_ptr<AttentionPlan>* plan);

 private:
  AttentionProblem() = default;

  AttentionSpec spec_;
  AttentionBatch batch_;
  KvCache cache_;
  AlignedBuffer memory_;
  float scale_ = 0.02f;  // of an int8 or fp8 cache
  std::vector<int32_t> starts_{0}, lens_, table_;
  std::vector<char> query_, output_;
  double kv_bytes_ = 0;
  double operations_ = 0;
};

}  // namespace tessera
