#include "engine/testing/outcomes.h"

#include <gtest/gtest.h>

#include <utility>

namespace tessera::testing {

UpdateCallback Outcomes::Callback(size_t index) {
  return [this, index](const RequestUpdate& update) { Take(index, update); };
}

Outcome& Outcomes::operator[](size_t index) {
  if (index >= outcomes_.size()) outcomes_.resize(index + 1);
  return outcomes_[index];
}

void Outcomes::WaitForTokens(size_t index, size_t count) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return (*this)[index].tokens.size() >= count; });
}

void Outcomes::Take(size_t index, const RequestUpdate& update) {
  {
    const std::lock_guard lock(mutex_);
    Outcome& outcome = (*this)[index];
    outcome.text += update.text;
    outcome.tokens.insert(outcome.tokens.end(), update.tokens.begin(), update.tokens.end());
    outcome.logprobs.insert(outcome.logprobs.end(), update.logprobs.begin(), update.logprobs.end());
    if (!update.prompt_logprobs.empty()) outcome.prompt_logprobs = update.prompt_logprobs;
    if (update.finish != FinishReason::kNone) {
      outcome.finish = update.finish;
      outcome.error = update.error;
      outcome.error_code = update.error_code;
      outcome.prompt_tokens = update.prompt_tokens;
      outcome.output_tokens = update.output_tokens;
      outcome.cached_tokens = update.cached_tokens;
      outcome.started = update.started;
      ++outcome.finishes;
    }
  }
  changed_.notify_all();
}

Request GreedyRequest(std::vector<int32_t> prompt, int32_t max_tokens) {
  Request request;
  request.prompt = std::move(prompt);
  request.sampling.temperature = 0;
  request.sampling.max_tokens = max_tokens;
  return request;
}

std::vector<Outcome> RunAll(Engine* engine, const std::vector<Request>& requests) {
  Outcomes outcomes;
  for (size_t i = 0; i < requests.size(); ++i) {
    const auto id = engine->Submit(requests[i], outcomes.Callback(i));
    EXPECT_TRUE(id.ok()) << id.error().message;
  }
  engine->WaitIdle();
  std::vector<Outcome> all;
  for (size_t i = 0; i < requests.size(); ++i) {
    EXPECT_EQ(outcomes[i].finishes, 1) << "request " << i;
    all.push_back(std::move(outcomes[i]));
  }
  return all;
}

}  // namespace tessera::testing
