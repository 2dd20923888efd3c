// The embedded model, and the answers that were recorded with another implementation in float32
// (models/tiny-math/README.md).
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "engine/engine.h"

namespace tessera::testing {

// In float32, with a KV cache of 256 MiB, on the device that TESSERA_DEVICE names (none: the CPU).
EngineOptions TinyMathOptions();

struct RecordedAnswer {
  std::string prompt;
  std::string completion;
};

// The first `count` ones; fewer if the file does not hold as many.
std::vector<RecordedAnswer> RecordedAnswers(size_t count);

// Asks as the answers were recorded: greedy, until the next question.
Request RequestFor(const Engine& engine, const RecordedAnswer& answer);

}  // namespace tessera::testing
