// Chooses the requests' tokens: brings SamplingParams and a request's history to ops/sampler.h.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "engine/request.h"
#include "engine/sequence.h"
#include "tessera/result.h"

namespace tessera {

// Log probabilities of `token` and of the num_top likeliest ones. Fails where the logits hold no
// usable number.
Result<TokenLogprob> LogprobsOf(std::span<const float> logits, int32_t token, int32_t num_top);

// What the token may be, or is more or less likely to be. The spans outlive the call.
struct TokenRestrictions {
  std::span<const std::pair<int32_t, float>> logit_bias;  // is added to the logits
  std::span<const int32_t> forbidden;
  // One bit for each token, as TokenMask; without any: every token. Tokens beyond its end are not
  // allowed.
  std::span<const uint64_t> allowed;
  std::span<const int32_t> allowed_besides;  // further than `allowed`, unless they are forbidden
};

// Has working memory for a number of workers, which may choose tokens at the same time.
class TokenSampler {
 public:
  struct Choice {
    int32_t token = -1;
    std::optional<TokenLogprob> logprobs;  // where the request asks for them
  };

  explicit TokenSampler(int num_workers);
  ~TokenSampler();

  // The sequence's next token. It depends on the arguments alone, `worker` aside. Fails where the
  // logits hold no usable number, or no token is left.
  Result<Choice> Sample(int worker, std::span<const float> logits, const SamplingParams& params,
                        uint64_t seed, const Sequence& sequence,
                        const TokenRestrictions& restrictions);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tessera
