// A request under way.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

#include "engine/output_processor.h"
#include "engine/request.h"
#include "engine/sampling_params.h"
#include "engine/sequence.h"
#include "grammar/token_grammar.h"

namespace tessera {

struct RequestState {
  using TimePoint = std::chrono::steady_clock::time_point;

  Sequence sequence;
  SamplingParams params;  // without its lists, which output.checker().rules() has
  UpdateCallback callback;
  uint64_t seed = 0;
  OutputProcessor output;
  std::vector<TokenLogprob> prompt_logprobs;
  std::optional<TimePoint> deadline;
  std::optional<TimePoint> started;  // time of its first scheduled step
  // Has taken the output's tokens so far; a preemption takes none of them back.
  std::optional<TokenConstraint> constraint;
  int32_t cached_tokens = 0;  // of the prompt, as it started
  // Whether a token can be chosen before the host knows the one before it: nothing about the choice
  // depends on which token that was.
  bool runs_ahead = false;
};

}  // namespace tessera
