// Chooses the next token from one row of logits.
//
// In this order, as vLLM has it: allowed tokens, logit bias, forbidden tokens, penalties;
// temperature, min-p, top-k, top-p; one draw. The draw depends on (seed, position) and the row
// alone, not on the batch.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "tessera/result.h"

namespace tessera {

// Ranges as in the engine's SamplingParams, which has checked them.
struct SamplerParams {
  float temperature = 1.0f;  // below 1e-5: greedy, the first of equals
  float top_p = 1.0f;  // the likeliest tokens whose probabilities reach this sum, at least one
  int32_t top_k = 0;   // <= 0: off; equals of the k-th token stay as well
  float min_p = 0.0f;

  float repetition_penalty = 1.0f;
  float presence_penalty = 0.0f;
  float frequency_penalty = 0.0f;

  uint64_t seed = 0;
  int32_t logprobs = -1;  // alternatives to report; 0: the token's own only; < 0: nothing
};

// One row's circumstances. Token ids outside of the row are ignored.
struct SamplerContext {
  std::span<const int32_t> prompt = {};  // read with a repetition penalty only
  std::span<const int32_t> output = {};  // read with any penalty
  std::span<const std::pair<int32_t, float>> logit_bias = {};
  std::span<const int32_t> forbidden = {};  // as end tokens before min_tokens
  // Bit t % 64 of word t / 64: token t may be chosen; without any words every token may. Tokens
  // beyond the last word may not.
  std::span<const uint64_t> allowed = {};
  std::span<const int32_t> allowed_besides = {};  // as end tokens where a text may end
  uint64_t position = 0;                          // of the new token in its sequence
};

struct SampledLogprob {
  int32_t token = 0;
  float logprob = 0;
  int32_t rank = 0;  // 1 + number of tokens that are likelier
};

struct SampledToken {
  int32_t token = 0;
  // Of the model's own distribution, before bias, penalties and temperature. Unset where
  // SamplerParams::logprobs < 0.
  SampledLogprob own;
  std::vector<SampledLogprob> top;  // the likeliest first, of equals the lower id
};

// The log-probabilities of a row, for `token` and the `count` likeliest ones: what prompt_logprobs
// wants. Errors as Sampler::Sample.
Result<SampledToken> Logprobs(std::span<const float> logits, int32_t token, int32_t count);

// Uniform in [0, 1), of 53 bits: a hash of its arguments.
double UniformDraw(uint64_t seed, uint64_t position);

// Keeps its working memory from call to call: one for each thread.
class Sampler {
 public:
  // kInternal where no token can be chosen: an infinite logit, or nothing but NaN and -infinity.
  // A single NaN counts as -infinity.
  Result<SampledToken> Sample(std::span<const float> logits, const SamplerParams& params,
                              const SamplerContext& context);

 private:
  struct Candidate {
    float weight;
    int32_t token;
  };

  std::span<const float> Adjust(std::span<const float> logits, const SamplerParams& params,
                                const SamplerContext& context);
  void Restrict(std::span<const float> logits, const SamplerContext& context);
  void Penalize(const SamplerParams& params, const SamplerContext& context);
  int32_t Draw(std::span<const float> logits, float largest, const SamplerParams& params,
               uint64_t position);
  int32_t DrawFromAll(double total, double uniform) const;
  int32_t DrawTruncated(const SamplerParams& params, double total, double uniform);
  void Gather(float least);

  std::vector<float> adjusted_;
  std::vector<int32_t> counts_;  // of output tokens; all zero between calls
  std::vector<float> weights_;   // exp((logit - largest) / temperature)
  std::vector<double> block_sums_;
  std::vector<Candidate> candidates_;
};

}  // namespace tessera
