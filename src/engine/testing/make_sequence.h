// Sequences as the scheduler gets them.
#pragma once

#include <cstdint>
#include <memory>

#include "engine/sequence.h"

namespace tessera::testing {

// Of `prompt` tokens; `prompt_logits`: the logits of all of them are wanted.
inline std::unique_ptr<Sequence> MakeSequence(uint64_t id, int32_t prompt, bool prompt_logits) {
  auto sequence = std::make_unique<Sequence>();
  sequence->id = id;
  sequence->tokens.assign(static_cast<size_t>(prompt), 1);
  sequence->num_prompt_tokens = prompt;
  sequence->prompt_logits_from = prompt_logits ? 0 : prompt;
  return sequence;
}

}  // namespace tessera::testing
