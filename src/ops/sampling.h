// What an operation that samples is given and gives back: plain data, so that a step can be sent.
//
// In this order, as vLLM has it: allowed tokens, logit bias, forbidden tokens, penalties;
// temperature, min-p, top-k, top-p; one draw. The draw depends on (seed, position) and the row
// alone, not on the batch: UniformDraw() of ops/cpu/sampler.h.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "ops/tensor.h"
#include "tessera/result.h"

namespace tessera {

// In the place of a token's id: what row `row` of the latest step's sampling gave. The device knows
// it before the host does. Its own inverse: of such an id it gives the row.
constexpr int32_t SampledBefore(int32_t row) { return -1 - row; }

// A part of one of SamplingBatch's lists.
struct ListRange {
  int32_t begin = 0;
  int32_t count = 0;
};

// How the token of one row of logits is chosen. Values are in the ranges of the engine's
// SamplingParams.
struct SampleRow {
  // >= 0: nothing is chosen, the log probabilities of this token are wanted (prompts).
  int32_t given_token = -1;

  float temperature = 1.0f;  // below kGreedyTemperature: the largest logit, the first of equals
  float top_p = 1.0f;  // the likeliest tokens whose probabilities reach this sum, at least one
  int32_t top_k = 0;   // <= 0: off; equals of the k-th token stay as well
  float min_p = 0.0f;
  float repetition_penalty = 1.0f;
  float presence_penalty = 0.0f;
  float frequency_penalty = 0.0f;
  uint64_t seed = 0;
  uint64_t position = 0;  // of the new token in its sequence

  // Alternatives whose log probabilities are wanted; 0: the token's own only; < 0: nothing.
  int32_t logprobs = -1;

  ListRange history = {};    // of SamplingBatch::history; read with a penalty only
  ListRange bias = {};       // of SamplingBatch::bias
  ListRange forbidden = {};  // of SamplingBatch::forbidden: as end tokens before min_tokens
  // Of SamplingBatch::allowed: bit t % 64 of word t / 64 says that token t may be chosen; count 0:
  // every token may. Tokens beyond the last word may not.
  ListRange allowed = {};
  ListRange allowed_besides = {};  // of SamplingBatch::allowed_besides: allowed in addition
};

constexpr float kGreedyTemperature = 1e-5f;

// A token of a sequence's history, each once.
struct HistoryToken {
  int32_t token = 0;
  int32_t output_count = 0;  // how often the output has it; 0: it stands in the prompt only
};

// All of a step. In memory of the host; token ids outside of the vocabulary are ignored.
struct SamplingBatch {
  std::vector<SampleRow> rows;  // [rows of logits]
  std::vector<HistoryToken> history;
  std::vector<std::pair<int32_t, float>> bias;
  std::vector<int32_t> forbidden;
  std::vector<uint64_t> allowed;
  std::vector<int32_t> allowed_besides;
};

struct SampledLogprob {
  int32_t token = 0;
  float logprob = 0;  // natural log, of the model's own distribution: before bias, penalties ...
  int32_t rank = 0;   // 1 + number of tokens that are likelier
};

struct SampledToken {
  int32_t token = 0;
  SampledLogprob own;               // unset if SampleRow::logprobs < 0 and no token was given
  std::vector<SampledLogprob> top;  // the likeliest first, of equals the lower id
};

}  // namespace tessera
