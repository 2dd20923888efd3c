// The engine's requests of one HTTP request: their updates, on the way from the stepping thread to
// the one that writes the answer.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "engine/engine.h"
#include "server/metrics.h"
#include "server/waiting_places.h"
#include "tessera/result.h"

namespace tessera {

// What one engine request has made since the last look. `update.finish` is set with the last.
struct GenerationUpdate {
  size_t index = 0;  // of the engine request
  RequestUpdate update;
};

// How often Take() is to be called.
struct WakeOptions {
  // With every token, as far as `gap` allows; otherwise when all requests have ended or one has
  // failed.
  bool stream = false;
  // The least time between two calls of `wake`, the first tokens and the ends of answers aside.
  // What comes in between is given with the next token. Thread-safe; null: none.
  std::function<std::chrono::steady_clock::duration()> gap;
};

class Generation {
 public:
  // Submits the requests, at least one, or none if one is refused. `wake` is called from the
  // stepping thread when Take() has something to give. `places`, one for each request, are given
  // back as their answers begin. `engine` and `metrics` outlive this.
  static Result<std::unique_ptr<Generation>> Start(Engine* engine, ServerMetrics* metrics,
                                                   std::vector<Request> requests,
                                                   WakeOptions options, PlacesTaken places,
                                                   std::function<void()> wake);

  // Cancels what has not ended; `wake` is not called from now on.
  ~Generation();

  // What is new, at most one update for each request, in order of index. Without `stream` nothing
  // before the end.
  std::vector<GenerationUpdate> Take();

 private:
  struct Shared;
  Generation(Engine* engine, std::shared_ptr<Shared> shared);

  Engine* const engine_;
  const std::shared_ptr<Shared> shared_;  // with the callbacks
  std::vector<uint64_t> ids_;
};

}  // namespace tessera
