// The logits of one prompt, for tests of models: one sequence in a cache of its own, in one or more
// steps, on a CPU device.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "model/model.h"
#include "ops/ops.h"
#include "tessera/backend.h"
#include "tessera/device.h"

namespace tessera {

class PromptLogits {
 public:
  // All outlive it. Room for `max_len` tokens in blocks of 4.
  PromptLogits(Model* model, Backend* backend, Device* device, Ops* ops, int32_t max_len);

  // One step over the tokens that come next. Returns the logits of the last `wanted` of them (-1:
  // of all), [wanted, vocab_size].
  Result<std::vector<float>> Step(std::span<const int32_t> tokens, int32_t wanted = -1);

 private:
  Result<const void*> Upload(const void* data, size_t bytes);

  Model* const model_;
  Device* const device_;
  Ops* const ops_;
  Backend* const backend_;
  const int32_t max_len_;
  int32_t length_ = 0;
  std::unique_ptr<AttentionPlan> plan_;
  std::vector<LayerAttention> layers_;
  std::vector<Buffer> memory_;
};

}  // namespace tessera
