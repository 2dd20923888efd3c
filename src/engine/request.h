// What goes into the engine, and what comes out of it.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/finish_reason.h"
#include "engine/sampling_params.h"
#include "engine/token_rules.h"
#include "grammar/token_grammar.h"
#include "tessera/result.h"

namespace tessera {

struct Request {
  std::vector<int32_t> prompt;
  SamplingParams sampling;

  // What the lists of `sampling` say, for requests that have the same: made by Engine::MakeRules.
  // They are not looked at then, and better left empty. Null: made for this one.
  std::shared_ptr<const TokenRules> rules;

  int32_t priority = 0;  // lower goes first, as vLLM has it
  std::string client;    // requests of equal priority share the engine by client, not by number
  // From when its time counts: for who submits it later than it came. None: from Submit() on.
  std::optional<std::chrono::steady_clock::time_point> arrival;
  // Past it the request ends with kTimeout, wherever it is. At most EngineOptions::request_timeout
  // after its arrival.
  std::optional<std::chrono::steady_clock::time_point> deadline;

  // What the output's text has to be; null: anything. It ends if the grammar can continue no more.
  std::shared_ptr<TokenGrammar> grammar;
};

// A token's own log probability, and those of the likeliest tokens in its place.
struct TokenLogprob {
  int32_t token = -1;
  // Natural log, of the model's own distribution (before temperature, penalties and bias).
  float logprob = 0;
  int32_t rank = 0;                            // 1: the likeliest
  std::vector<std::pair<int32_t, float>> top;  // the likeliest tokens, best first
};

// What a step made for one request. `text` is always whole characters.
struct RequestUpdate {
  uint64_t id = 0;
  std::string text;                    // new text, stop strings and end tokens excluded
  std::vector<int32_t> tokens;         // new tokens, an end token included
  std::vector<TokenLogprob> logprobs;  // of `tokens`, if asked for
  // Of the whole prompt, if asked for, with the update that brings the first token; entry 0
  // has token -1, as nothing predicts the first token.
  std::vector<TokenLogprob> prompt_logprobs;
  FinishReason finish = FinishReason::kNone;
  // With kStop: the stop string that ended it, or else the token of stop_token_ids. Neither at the
  // model's own end, or if the grammar can continue no more.
  std::string stop_string;
  std::optional<int32_t> stop_token;
  std::string error;                            // with kError and kTimeout
  ErrorCode error_code = ErrorCode::kInternal;  // with kError
  int32_t prompt_tokens = 0;                    // with the last update
  int32_t output_tokens = 0;                    // likewise
  int32_t cached_tokens = 0;  // likewise: of the prompt, found in the prefix cache
  // Likewise: when it left the queue for the first time, if it did.
  std::optional<std::chrono::steady_clock::time_point> started;
};

// Called on the stepping thread; must not block, nor call WaitIdle or destroy the engine. May call
// everything else.
using UpdateCallback = std::function<void(const RequestUpdate&)>;

// A request that waits for an engine.
struct PendingRequest {
  uint64_t id = 0;
  Request request;
  UpdateCallback callback;
};

}  // namespace tessera
