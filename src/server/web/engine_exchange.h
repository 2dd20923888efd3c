// The answer to one who watches the engine: a single picture, or a stream of them.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>

#include "server/http/http_message.h"
#include "server/web/engine_watch.h"

namespace tessera {

class EngineExchange : public Exchange {
 public:
  // `watch` outlives the exchange. Without `stream` the answer is the next picture.
  EngineExchange(EngineWatch* watch, bool stream, std::function<void()> wake);
  ~EngineExchange() override;

  Output Poll() override;

 private:
  EngineWatch* const watch_;
  const bool stream_;
  const uint64_t watcher_;
  bool has_head_ = false;
  int64_t seen_ = 0;    // serial of the last picture
  size_t content_ = 0;  // of the last one that was sent
  std::chrono::steady_clock::time_point sent_;
};

}  // namespace tessera
