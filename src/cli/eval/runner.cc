#include "cli/eval/runner.h"

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "text/tokenizer/tokenizer.h"

namespace tessera {
namespace {

// Shared with the callbacks, which may outlive a call that fails half-way.
struct Collected {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::string> answers;
  int64_t finished = 0;
  int64_t prompt_tokens = 0;
  int64_t output_tokens = 0;
  std::string error;
  ErrorCode error_code = ErrorCode::kInternal;  // the first
};

}  // namespace

Result<EvalRun> RunEval(Engine* engine, const std::vector<EvalItem>& items,
                        const std::function<void(int64_t)>& progress) {
  const Tokenizer* tokenizer = engine->tokenizer();
  if (tokenizer == nullptr) {
    return NotFound("the model directory has no tokenizer.json, which text needs; add it");
  }
  const auto collected = std::make_shared<Collected>();
  collected->answers.resize(items.size());
  const auto start = std::chrono::steady_clock::now();
  for (size_t i = 0; i < items.size(); ++i) {
    Request request;
    request.prompt = tokenizer->Encode(items[i].prompt);
    request.sampling.temperature = 0.0f;
    request.sampling.max_tokens = kGsm8kMaxTokens;
    request.sampling.stop = Gsm8kStops();
    const auto submitted =
        engine->Submit(std::move(request), [collected, i](const RequestUpdate& update) {
          const std::lock_guard lock(collected->mutex);
          collected->answers[i] += update.text;
          if (update.finish == FinishReason::kNone) return;
          ++collected->finished;
          collected->prompt_tokens += update.prompt_tokens;
          collected->output_tokens += update.output_tokens;
          if (update.finish == FinishReason::kError && collected->error.empty()) {
            collected->error = update.error;
            collected->error_code = update.error_code;
          }
          collected->changed.notify_one();
        });
    if (!submitted.ok()) {
      return Error{submitted.error().code,
                   "prompt " + std::to_string(i + 1) + ": " + submitted.error().message};
    }
  }

  const auto total = static_cast<int64_t>(items.size());
  for (int64_t seen = 0; seen < total;) {
    {
      std::unique_lock lock(collected->mutex);
      collected->changed.wait_for(lock, std::chrono::milliseconds(200),
                                  [&] { return collected->finished > seen; });
      if (!collected->error.empty()) return Error{collected->error_code, collected->error};
      seen = collected->finished;
    }
    progress(seen);
  }
  EvalRun run;
  run.backend = engine->attention().backend->Name();
  run.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const std::lock_guard lock(collected->mutex);
  run.answers = std::move(collected->answers);
  run.prompt_tokens = collected->prompt_tokens;
  run.output_tokens = collected->output_tokens;
  return run;
}

}  // namespace tessera
