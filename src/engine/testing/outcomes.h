// What comes back from an engine, request by request.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"

namespace tessera::testing {

// All the updates of one request, put together.
struct Outcome {
  std::string text;
  std::vector<int32_t> tokens;
  std::vector<TokenLogprob> logprobs;
  std::vector<TokenLogprob> prompt_logprobs;

  // Of the last update.
  FinishReason finish = FinishReason::kNone;
  std::string error;
  ErrorCode error_code = ErrorCode::kInternal;
  int32_t prompt_tokens = 0;
  int32_t output_tokens = 0;
  int32_t cached_tokens = 0;
  std::optional<std::chrono::steady_clock::time_point> started;

  int finishes = 0;  // updates that said so: one, if all is well
};

// Of several requests, each with a number that the test chooses.
class Outcomes {
 public:
  UpdateCallback Callback(size_t index);

  // Once the engine is idle or gone.
  Outcome& operator[](size_t index);

  void WaitForTokens(size_t index, size_t count);

 private:
  void Take(size_t index, const RequestUpdate& update);

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Outcome> outcomes_;
};

// The likeliest tokens, until there are `max_tokens` of them.
Request GreedyRequest(std::vector<int32_t> prompt, int32_t max_tokens);

// Submits all of them at once and waits for their ends.
std::vector<Outcome> RunAll(Engine* engine, const std::vector<Request>& requests);

}  // namespace tessera::testing
