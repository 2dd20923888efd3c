#include "engine/token_sampler.h"

#include <vector>

#include "ops/sampler.h"

namespace tessera {
namespace {

TokenLogprob Gather(const SampledToken& sampled) {
  TokenLogprob result;
  result.token = sampled.own.token;
  result.logprob = sampled.own.logprob;
  result.rank = sampled.own.rank;
  result.top.reserve(sampled.top.size());
  for (const auto& entry : sampled.top) result.top.emplace_back(entry.token, entry.logprob);
  return result;
}

SamplerParams Convert(const SamplingParams& params, uint64_t seed) {
  SamplerParams result;
  result.temperature = params.temperature;
  result.top_p = params.top_p;
  result.top_k = params.top_k;
  result.min_p = params.min_p;
  result.repetition_penalty = params.repetition_penalty;
  result.presence_penalty = params.presence_penalty;
  result.frequency_penalty = params.frequency_penalty;
  result.seed = seed;
  result.logprobs = params.logprobs.value_or(-1);
  return result;
}

}  // namespace

Result<TokenLogprob> LogprobsOf(std::span<const float> logits, int32_t token, int32_t num_top) {
  TESSERA_ASSIGN_OR_RETURN(const SampledToken sampled, Logprobs(logits, token, num_top));
  return Gather(sampled);
}

struct TokenSampler::Impl {
  std::vector<Sampler> samplers;  // [workers]
};

TokenSampler::TokenSampler(int num_workers) : impl_(std::make_unique<Impl>()) {
  impl_->samplers.resize(static_cast<size_t>(num_workers));
}

TokenSampler::~TokenSampler() = default;

Result<TokenSampler::Choice> TokenSampler::Sample(int worker, std::span<const float> logits,
                                                  const SamplingParams& params, uint64_t seed,
                                                  const Sequence& sequence,
                                                  const TokenRestrictions& restrictions) {
  const std::span<const int32_t> tokens(sequence.tokens);
  const size_t prompt = static_cast<size_t>(sequence.num_prompt_tokens);
  SamplerContext context;
  context.prompt = tokens.first(prompt);
  context.output = tokens.subspan(prompt);
  context.logit_bias = restrictions.logit_bias;
  context.forbidden = restrictions.forbidden;
  context.allowed = restrictions.allowed;
  context.allowed_besides = restrictions.allowed_besides;
  context.position = tokens.size();
  Sampler& sampler = impl_->samplers.at(static_cast<size_t>(worker));
  TESSERA_ASSIGN_OR_RETURN(const SampledToken sampled,
                           sampler.Sample(logits, Convert(params, seed), context));
  Choice choice;
  choice.token = sampled.token;
  if (params.logprobs) choice.logprobs = Gather(sampled);
  return choice;
}

}  // namespace tessera
