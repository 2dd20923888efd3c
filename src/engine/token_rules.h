// What a request's parameters say of single tokens and texts: which may be chosen, which end it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "engine/sampling_params.h"
#include "engine/stop_strings.h"
#include "grammar/token_grammar.h"

namespace tessera {

// The lists of SamplingParams as the engine uses them. They may be as long as the vocabulary, so
// the answers of a request share one of these.
struct TokenRules {
  std::vector<int32_t> stop_tokens;          // that end the output; ascending, none twice
  std::vector<int32_t> model_ends;           // those of them that are the model's own; likewise
  std::shared_ptr<const TokenMask> allowed;  // null: every token is
  std::vector<std::pair<int32_t, float>> logit_bias;
  std::vector<std::vector<int32_t>> bad_words;
  std::shared_ptr<const StopAutomaton> stops;  // null: there are no stop strings
};

// Of parameters that Validate() accepts, for a model with these end tokens.
std::shared_ptr<const TokenRules> MakeTokenRules(const SamplingParams& params,
                                                 const std::vector<int32_t>& eos_token_ids);

// The tokens that are in both; null stands for all.
std::shared_ptr<const TokenMask> Intersection(std::shared_ptr<const TokenMask> a,
                                              std::shared_ptr<const TokenMask> b);

// `forbidden`, and the tokens that would complete one of `bad_words` after `output`; both
// ascending, none twice.
std::vector<int32_t> ForbiddenAfter(std::span<const int32_t> output,
                                    const std::vector<std::vector<int32_t>>& bad_words,
                                    std::span<const int32_t> forbidden);

// Whether the mask has a token that is not forbidden. `forbidden` holds none twice.
bool HasToken(const TokenMask& mask, std::span<const int32_t> forbidden);

}  // namespace tessera
