// How much one request may ask for.
#pragma once

#include <cstdint>

#include "server/protocol/generation_request.h"

namespace tessera {

struct AnswerLimits {
  int64_t max_model_len = 0;  // tokens of a prompt and an answer together
  int32_t max_logprobs = 20;  // beside a token's own

  // Of all prompts and answers of a request, each answer with a prompt of its own: they are in
  // memory until the last has ended.
  int64_t max_tokens = int64_t{1} << 24;
  // Log probabilities of these, a token's own included: so many take 0.3 to 0.6 GB while they are
  // written, the more the fewer answers they are of.
  int64_t max_logprobs_in_all = int64_t{1} << 20;
};

// Refuses what is beyond the limits. If the request leaves the length of its answers to the
// server, it becomes what the limits leave, at least 1: sampling.max_tokens. The prompts have their
// tokens.
std::optional<ApiError> LimitAnswers(const AnswerLimits& limits, GenerationRequest* request);

}  // namespace tessera
