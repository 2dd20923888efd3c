// Chooses the next token from one row of logits.
// ops/sampling.h says in which order what counts.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ops/sampling.h"
#include "tessera/result.h"

namespace tessera {

// The log-probabilities of a row, for `token` and the `count` likeliest ones: what prompt_logprobs
// wants. Errors as Sampler::Sample.
Result<SampledToken> Logprobs(std::span<const float> logits, int32_t token, int32_t count);

// Uniform in [0, 1), of 53 bits: a hash of its arguments.
double UniformDraw(uint64_t seed, uint64_t position);

// Keeps its working memory from call to call: one for each thread.
class Sampler {
 public:
  // kInternal if no token can be chosen: an infinite logit, or nothing but NaN and -infinity.
  // A single NaN counts as -infinity.
  Result<SampledToken> Sample(std::span<const float> logits, const SampleRow& row,
                              const SamplingBatch& batch);

 private:
  struct Candidate {
    float weight;
    int32_t token;
  };

  std::span<const float> Adjust(std::span<const float> logits, const SampleRow& row,
                                const SamplingBatch& batch);
  void Restrict(std::span<const float> logits, const SampleRow& row, const SamplingBatch& batch);
  void Penalize(const SampleRow& row, const SamplingBatch& batch);
  int32_t Draw(std::span<const float> logits, float largest, const SampleRow& row);
  int32_t DrawFromAll(double total, double uniform) const;
  int32_t DrawTruncated(const SampleRow& row, double total, double uniform);
  void Gather(float least);

  std::vector<float> adjusted_;
  std::vector<float> weights_;  // exp((logit - largest) / temperature)
  std::vector<double> block_sums_;
  std::vector<Candidate> candidates_;
};

}  // namespace tessera
