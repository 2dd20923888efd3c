// One request, run to its end by the calling thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "cli/interrupt.h"
#include "engine/engine.h"
#include "tessera/result.h"

namespace tessera {

struct Completion {
  std::string text;
  std::vector<int32_t> tokens;
  std::vector<TokenLogprob> logprobs;
  FinishReason finish = FinishReason::kNone;
  int32_t prompt_tokens = 0;
  int32_t output_tokens = 0;
  double first_token_seconds = 0;  // from the request to its first token
  double seconds = 0;              // to its last
};

// Submits the request and waits for its end. `on_text` gets new text on the calling thread and says
// whether to continue. Ctrl-C, if `interrupts` watches for it, ends the request with kCancelled.
Result<Completion> RunRequest(Engine* engine, Request request, InterruptWatch* interrupts,
                              const std::function<bool(const std::string&)>& on_text);

// The messages through the model's chat template, as token ids. `messages_json` is the JSON of a
// list of {"role", "content"}.
Result<std::vector<int32_t>> EncodeChat(const Tokenizer& tokenizer,
                                        const std::string& messages_json);

// The engine's tokenizer, or why there is none.
Result<const Tokenizer*> RequireTokenizer(const Engine& engine);

}  // namespace tessera
