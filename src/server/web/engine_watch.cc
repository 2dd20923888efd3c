#include "server/web/engine_watch.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "server/web/engine_json.h"

namespace tessera {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kInterval = std::chrono::milliseconds(100);
// Of tens of thousands of blocks in the hands of many: a megabyte a second for each watcher.
constexpr auto kIntervalPerByte = std::chrono::microseconds(1);

std::shared_ptr<const EngineWatch::Picture> Draw(int64_t serial, const EngineView& view,
                                                 const ServerMetrics& metrics) {
  auto picture = std::make_shared<EngineWatch::Picture>();
  Json json = EngineJson(view, metrics);
  const Json seconds = std::exchange(json["seconds"], nullptr);
  picture->serial = serial;
  picture->content = std::hash<std::string>()(Dump(json));
  json["seconds"] = seconds;
  picture->json = Dump(json);
  return picture;
}

}  // namespace

EngineWatch::EngineWatch(Engine* engine, const ServerMetrics* metrics)
    : engine_(engine), metrics_(metrics), thread_([this] { Loop(); }) {}

EngineWatch::~EngineWatch() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

uint64_t EngineWatch::Add(std::function<void()> wake) {
  uint64_t watcher = 0;
  {
    const std::lock_guard lock(mutex_);
    watcher = ++last_watcher_;
    watchers_.emplace(watcher, std::move(wake));
  }
  changed_.notify_one();
  return watcher;
}

void EngineWatch::Remove(uint64_t watcher) {
  {
    const std::lock_guard lock(mutex_);
    watchers_.erase(watcher);
  }
  changed_.notify_one();
}

int64_t EngineWatch::Now() const {
  const std::lock_guard lock(mutex_);
  return asked_;
}

std::shared_ptr<const EngineWatch::Picture> EngineWatch::After(int64_t serial) const {
  const std::lock_guard lock(mutex_);
  return newest_ != nullptr && newest_->serial > serial ? newest_ : nullptr;
}

void EngineWatch::Loop() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopping_ || !watchers_.empty(); });
    if (stopping_) return;
    const Clock::time_point start = Clock::now();
    const int64_t serial = ++asked_;
    view_.reset();
    // Under the lock: the engine is there as long as there are watchers.
    engine_->Inspect([this, serial](const EngineView& view) {
      {
        const std::lock_guard callback_lock(mutex_);
        if (serial == asked_) view_ = view;
      }
      changed_.notify_one();
    });
    changed_.wait(lock, [this] { return stopping_ || watchers_.empty() || view_.has_value(); });
    if (!view_) continue;
    const EngineView view = std::move(*view_);
    lock.unlock();
    std::shared_ptr<const Picture> picture = Draw(serial, view, *metrics_);
    lock.lock();
    const auto pause = std::max<Clock::duration>(
        kInterval, kIntervalPerByte * static_cast<int64_t>(picture->json.size()));
    newest_ = std::move(picture);
    for (const auto& [watcher, wake] : watchers_) wake();
    changed_.wait_until(lock, start + pause, [this] { return stopping_; });
  }
}

}  // namespace tessera
