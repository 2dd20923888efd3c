// Prompts in, answers out: the engine for programs that have all their prompts at hand.
#pragma once

#include <string>
#include <vector>

#include "engine/engine.h"

namespace tessera {

struct Completion {
  std::string text;
  std::vector<int32_t> tokens;
  std::vector<TokenLogprob> logprobs;  // of `tokens`, if `sampling` asks for them
  FinishReason finish = FinishReason::kNone;
};

// Answers all prompts, as many at a time as fit, and blocks until the last is done; answer i
// belongs to prompt i. Fails as a whole if a prompt cannot run (its number stands in the
// message) or a step fails; requests under way are cancelled then. Thread-safe; may run beside
// Submit().
Result<std::vector<Completion>> Generate(Engine* engine, const std::vector<std::string>& prompts,
                                         const SamplingParams& sampling);

}  // namespace tessera
