// Shows the engine to any number of watchers, ten times a second at most. While nobody watches it
// costs nothing.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "engine/engine.h"
#include "engine/engine_view.h"
#include "server/metrics.h"

namespace tessera {

// Thread-safe. While there are watchers a thread of its own asks the engine, and writes what it
// shows as JSON: neither work is done twice, nor by the stepping thread.
class EngineWatch {
 public:
  struct Picture {
    int64_t serial = 0;  // ascends
    size_t content = 0;  // the same if nothing has changed but the time
    std::string json;    // as EngineJson(), on one line
  };

  // `metrics` outlives this; `engine` outlives the watchers, and ends before this.
  EngineWatch(Engine* engine, const ServerMetrics* metrics);
  ~EngineWatch();
  EngineWatch(const EngineWatch&) = delete;
  EngineWatch& operator=(const EngineWatch&) = delete;

  // `wake` is called for each picture, from another thread; it must not wait, nor call this.
  // Returns the watcher's number.
  uint64_t Add(std::function<void()> wake);
  // Its `wake` is not called from now on.
  void Remove(uint64_t watcher);

  // Pictures with a later serial show the engine as it is now or later.
  int64_t Now() const;
  // The newest picture, if its serial is later than `serial`; else null.
  std::shared_ptr<const Picture> After(int64_t serial) const;

 private:
  void Loop();

  Engine* const engine_;
  const ServerMetrics* const metrics_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<uint64_t, std::function<void()>> watchers_;
  uint64_t last_watcher_ = 0;
  int64_t asked_ = 0;               // serial of the view that was asked for last
  std::optional<EngineView> view_;  // which has come
  std::shared_ptr<const Picture> newest_;
  bool stopping_ = false;

  std::thread thread_;  // last: it uses all the others
};

}  // namespace tessera
