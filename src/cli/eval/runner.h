// Runs an evaluation's prompts through an engine.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "cli/eval/score.h"
#include "engine/engine.h"
#include "tessera/result.h"

namespace tessera {

// All prompts at once, greedily; the run's name is that of the engine's attention backend.
// `progress` is called on this thread with the number of finished answers, some times a second.
Result<EvalRun> RunEval(Engine* engine, const std::vector<EvalItem>& items,
                        const std::function<void(int64_t)>& progress);

}  // namespace tessera
