// An engine's view as the page reads it.
#pragma once

#include "engine/engine_view.h"
#include "server/metrics.h"
#include "server/protocol/json.h"

namespace tessera {

// {"seconds", "block_size", "stats": {...}, "latency": {...}, "blocks": [count, owner, count,
// owner, ...], "requests": [...], "steps": [[number, start, seconds, decode rows, prefill rows,
// requests, switches], ...], "attention": [...]}; owners as BlockRun::owner. docs/web.md describes
// the fields.
Json EngineJson(const EngineView& view, const ServerMetrics& metrics);

}  // namespace tessera
