#include "engine/offline.h"

#include <condition_variable>
#include <mutex>
#include <utility>

#include "text/tokenizer/tokenizer.h"

namespace tessera {
namespace {

// What the callbacks write; they may come after a failure, so that they share its ownership.
struct Answers {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<Completion> completions;
  size_t pending = 0;
  Status failure;  // the first one
};

void Append(Answers* answers, size_t index, const RequestUpdate& update) {
  const std::lock_guard lock(answers->mutex);
  Completion& completion = answers->completions[index];
  completion.text += update.text;
  completion.tokens.insert(completion.tokens.end(), update.tokens.begin(), update.tokens.end());
  completion.logprobs.insert(completion.logprobs.end(), update.logprobs.begin(),
                             update.logprobs.end());
  if (update.finish == FinishReason::kNone) return;
  completion.finish = update.finish;
  if (update.finish == FinishReason::kError && answers->failure.ok()) {
    answers->failure = Error(update.error_code, update.error);
  }
  --answers->pending;
  answers->changed.notify_all();
}

}  // namespace

Result<std::vector<Completion>> Generate(Engine* engine, const std::vector<std::string>& prompts,
                                         const SamplingParams& sampling) {
  if (engine->tokenizer() == nullptr) {
    return NotFound(
        "the model has no tokenizer.json, so that it cannot be asked with text; submit token ids "
        "instead");
  }
  const auto answers = std::make_shared<Answers>();
  answers->completions.resize(prompts.size());
  std::vector<uint64_t> ids;
  Status refusal;
  for (size_t i = 0; i < prompts.size() && refusal.ok(); ++i) {
    {
      const std::lock_guard lock(answers->mutex);
      ++answers->pending;
    }
    Request request;
    request.prompt = engine->tokenizer()->Encode(prompts[i]);
    request.sampling = sampling;
    const auto id = engine->Submit(std::move(request), [answers, i](const RequestUpdate& update) {
      Append(answers.get(), i, update);
    });
    if (id.ok()) {
      ids.push_back(*id);
    } else {
      const std::lock_guard lock(answers->mutex);
      --answers->pending;
      refusal = Error(id.error().code, "prompt " + std::to_string(i) + ": " + id.error().message);
    }
  }
  std::unique_lock lock(answers->mutex);
  answers->changed.wait(
      lock, [&] { return answers->pending == 0 || !refusal.ok() || !answers->failure.ok(); });
  Status status = refusal.ok() ? answers->failure : refusal;
  if (status.ok()) return std::move(answers->completions);
  lock.unlock();
  for (const uint64_t id : ids) engine->Cancel(id);
  return status.error();
}

}  // namespace tessera
