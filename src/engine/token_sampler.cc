#include "engine/token_sampler.h"

#include <cmath>
#include <limits>

namespace tessera {

TokenSampler::TokenSampler(const SamplingParams& params, uint64_t) : params_(params) {}

std::optional<int32_t> TokenSampler::Sample(std::span<float> logits, const Sequence&,
                                            std::span<const int32_t> forbidden) {
  for (const auto& [token, bias] : params_.logit_bias) logits[static_cast<size_t>(token)] += bias;
  for (const int32_t token : forbidden) {
    logits[static_cast<size_t>(token)] = -std::numeric_limits<float>::infinity();
  }
  float best = -std::numeric_limits<float>::infinity();
  std::optional<int32_t> token;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] > best) {
      best = logits[i];
      token = static_cast<int32_t>(i);
    }
  }
  return token;
}

}  // namespace tessera
