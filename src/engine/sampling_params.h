// How a request's tokens are chosen, and when it ends. Names and meanings are OpenAI's and vLLM's.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tessera/result.h"

namespace tessera {

constexpr int32_t kMaxSpeculativeTokens = 64;

struct SamplingParams {
  float temperature = 1.0f;  // 0: greedy
  float top_p = 1.0f;        // (0, 1]
  int32_t top_k = 0;         // 0 or -1: off
  float min_p = 0.0f;        // [0, 1]: drop tokens less likely than min_p times the likeliest

  float repetition_penalty = 1.0f;  // [0.001, 1000]; over prompt and output
  float presence_penalty = 0.0f;    // [-2, 2]; over output
  float frequency_penalty = 0.0f;   // [-2, 2]; over output
  std::vector<std::pair<int32_t, float>> logit_bias;
  std::vector<int32_t> allowed_token_ids;  // no others are chosen; empty: any
  // Sequences of tokens that do not occur in the output; none is empty.
  std::vector<std::vector<int32_t>> bad_words;

  std::optional<uint64_t> seed;  // none: drawn by the engine

  int32_t max_tokens = 256;
  int32_t min_tokens = 0;
  bool ignore_eos = false;
  std::vector<std::string>
      stop;  // the output ends before the first of these; matched across tokens
  std::vector<int32_t> stop_token_ids;      // besides the model's own end tokens
  bool include_stop_str_in_output = false;  // what ended the output is a part of its text
  bool skip_special_tokens = true;          // special tokens have no text

  std::optional<int32_t>
      logprobs;  // number of alternatives for each generated token; 0: the token's own only
  std::optional<int32_t> prompt_logprobs;  // the same for the prompt

  // Tokens that are guessed from repetitions in prompt and output, and checked in one step: the
  // answer is the same, and sooner there if guesses are right. 0: off; none: as the engine's
  // options say.
  std::optional<int32_t> speculative_tokens;
};

// Empties the lists: bias, tokens, words and strings.
void ClearLists(SamplingParams* params);

// The first value out of range, with its range. `vocab_size` bounds token ids.
Status Validate(const SamplingParams& params, int64_t vocab_size);

}  // namespace tessera
