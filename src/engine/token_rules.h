// Which tokens a request's parameters let it choose: allowed_token_ids and bad_words.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/sampling_params.h"
#include "grammar/token_grammar.h"

namespace tessera {

// The tokens of params.allowed_token_ids; null where every token is allowed.
std::shared_ptr<const TokenMask> AllowedTokens(const SamplingParams& params);

// The tokens that are in both; null stands for all.
std::shared_ptr<const TokenMask> Intersection(std::shared_ptr<const TokenMask> a,
                                              std::shared_ptr<const TokenMask> b);

// `forbidden`, and the tokens that would complete one of `bad_words` behind `output`. Ascending,
// none twice.
std::vector<int32_t> ForbiddenBehind(std::span<const int32_t> output,
                                     const std::vector<std::vector<int32_t>>& bad_words,
                                     std::span<const int32_t> forbidden);

// Whether the mask has a token that is not forbidden. `forbidden` holds none twice.
bool HasToken(const TokenMask& mask, std::span<const int32_t> forbidden);

}  // namespace tessera
