// Chooses a request's tokens: adapts SamplingParams and a request's history to ops/sampler.h.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "engine/sampling_params.h"
#include "engine/sequence.h"

namespace tessera {

// Of one request: its random numbers depend on its seed alone, not on what runs beside it. Samplers
// of different requests may be used from different threads.
class TokenSampler {
 public:
  TokenSampler(const SamplingParams& params, uint64_t default_seed);

  // The sequence's next token from its logits, which are changed; none of `forbidden`. Nothing
  // where the logits hold no number that could be chosen.
  std::optional<int32_t> Sample(std::span<float> logits, const Sequence& sequence,
                                std::span<const int32_t> forbidden);

 private:
  SamplingParams params_;
};

}  // namespace tessera
