#include "cli/request.h"

#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <utility>

#include "text/chat/chat_template.h"
#include "text/tokenizer/tokenizer.h"

namespace tessera {
namespace {

using Clock = std::chrono::steady_clock;

// How often a waiting command looks for Ctrl-C.
constexpr auto kPollInterval = std::chrono::milliseconds(50);

// Updates on their way from the stepping thread, which must not block, to the one that prints.
struct Mailbox {
  std::mutex mutex;
  std::condition_variable arrived;
  std::deque<RequestUpdate> updates;
};

double Seconds(Clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

}  // namespace

Result<Completion> RunRequest(Engine* engine, Request request, InterruptWatch* interrupts,
                              const std::function<bool(const std::string&)>& on_text) {
  const auto mailbox = std::make_shared<Mailbox>();
  const Clock::time_point start = Clock::now();
  TESSERA_ASSIGN_OR_RETURN(
      const uint64_t id, engine->Submit(std::move(request), [mailbox](const RequestUpdate& update) {
        {
          const std::lock_guard lock(mailbox->mutex);
          mailbox->updates.push_back(update);
        }
        mailbox->arrived.notify_one();
      }));

  Completion completion;
  Error error;
  while (completion.finish == FinishReason::kNone) {
    std::deque<RequestUpdate> updates;
    {
      std::unique_lock lock(mailbox->mutex);
      mailbox->arrived.wait_for(lock, kPollInterval, [&] { return !mailbox->updates.empty(); });
      updates.swap(mailbox->updates);
    }
    if (interrupts != nullptr && interrupts->Take()) engine->Cancel(id);
    for (RequestUpdate& update : updates) {
      if (completion.tokens.empty() && !update.tokens.empty()) {
        completion.first_token_seconds = Seconds(Clock::now() - start);
      }
      completion.text += update.text;
      completion.tokens.insert(completion.tokens.end(), update.tokens.begin(), update.tokens.end());
      for (TokenLogprob& logprob : update.logprobs) {
        completion.logprobs.push_back(std::move(logprob));
      }
      if (!update.text.empty() && !on_text(update.text)) engine->Cancel(id);
      if (update.finish != FinishReason::kNone) {
        completion.finish = update.finish;
        completion.prompt_tokens = update.prompt_tokens;
        completion.output_tokens = update.output_tokens;
        error = {update.error_code, update.error};
      }
    }
  }
  completion.seconds = Seconds(Clock::now() - start);
  if (completion.finish == FinishReason::kError) return error;
  return completion;
}

Result<std::vector<int32_t>> EncodeChat(const Tokenizer& tokenizer,
                                        const std::string& messages_json) {
  if (tokenizer.chat_template().empty()) {
    return Unsupported(
        "this model has no chat template; use `tessera generate` with a plain prompt");
  }
  nlohmann::ordered_json context;
  context["messages"] = nlohmann::ordered_json::parse(messages_json);
  context["add_generation_prompt"] = true;
  context["bos_token"] = tokenizer.bos_token();
  context["eos_token"] = tokenizer.eos_token();
  const auto chat = ChatTemplate::Parse(tokenizer.chat_template());
  if (!chat.ok()) {
    return Corrupt("the model's chat template cannot be read: " + chat.error().message +
                   " Correct it, or use `tessera generate` with a plain prompt.");
  }
  TESSERA_ASSIGN_OR_RETURN(const std::string prompt, (*chat)->Render(context));
  // The template writes the special tokens itself.
  return tokenizer.Encode(prompt, /*add_special_tokens=*/false);
}

Result<const Tokenizer*> RequireTokenizer(const Engine& engine) {
  if (engine.tokenizer() != nullptr) return engine.tokenizer();
  return NotFound("the model directory has no tokenizer.json, which text needs; add it");
}

}  // namespace tessera
