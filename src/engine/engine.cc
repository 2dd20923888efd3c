#include "engine/engine.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <new>
#include <string>
#include <thread>
#include <utility>

#include "engine/engine_core.h"

namespace tessera {

class Engine::Impl {
 public:
  Impl(std::unique_ptr<EngineCore> core, const EngineOptions& options)
      : options_(options),
        request_timeout_(std::chrono::duration_cast<Clock::duration>(
            std::chrono::duration<double>(options.request_timeout))),
        first_core_(std::move(core)),
        core_(first_core_.get()),
        published_(first_core_->stats()),
        thread_([this] { Loop(); }) {}

  ~Impl() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_one();
    thread_.join();
  }

  Result<uint64_t> Submit(Request request, UpdateCallback callback) {
    TESSERA_RETURN_IF_ERROR(core().Check(request));
    if (request.rules == nullptr) {
      TESSERA_ASSIGN_OR_RETURN(request.rules, core().MakeRules(request.sampling));
      ClearLists(&request.sampling);
    }
    if (request_timeout_ > Clock::duration::zero()) {
      const Clock::time_point latest = request.arrival.value_or(Clock::now()) + request_timeout_;
      request.deadline = std::min(request.deadline.value_or(latest), latest);
    }
    uint64_t id = 0;
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) return Internal("The engine is shutting down and takes no more requests.");
      id = ++last_id_;
      incoming_.push_back({id, std::move(request), std::move(callback)});
    }
    wake_.notify_one();
    return id;
  }

  void Cancel(uint64_t id) {
    {
      const std::lock_guard lock(mutex_);
      cancels_.push_back(id);
    }
    wake_.notify_one();
  }

  void WaitIdle() {
    std::unique_lock lock(mutex_);
    idle_.wait(lock, [this] { return incoming_.empty() && active_ == 0; });
  }

  EngineStats stats() const {
    const std::lock_guard lock(mutex_);
    EngineStats stats = published_;
    stats.waiting += static_cast<int32_t>(incoming_.size());
    return stats;
  }

  void Inspect(std::function<void(const EngineView&)> callback) {
    {
      const std::lock_guard lock(mutex_);
      inspections_.push_back(std::move(callback));
    }
    wake_.notify_one();
  }

  AttentionSwitch& attention() { return core_.load()->attention(); }
  const EngineCore& core() const { return *core_; }

 private:
  using Clock = std::chrono::steady_clock;

  void Loop() {
    bool stopping = false;
    while (!stopping) {
      std::vector<PendingRequest> incoming;
      std::vector<uint64_t> cancels;
      std::vector<std::function<void(const EngineView&)>> inspections;
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [this] {
          return stopping_ || active_ > 0 || !incoming_.empty() || !cancels_.empty() ||
                 !inspections_.empty();
        });
        stopping = stopping_;
        incoming.swap(incoming_);
        cancels.swap(cancels_);
        inspections.swap(inspections_);
        active_ += static_cast<int64_t>(incoming.size());
        // They wait until the next statistics say otherwise.
        published_.waiting += static_cast<int32_t>(incoming.size());
      }
      for (PendingRequest& request : incoming) core_.load()->Add(std::move(request));
      for (const uint64_t id : cancels) core_.load()->Cancel(id);
      if (stopping) {
        core_.load()->CancelAll();
      } else {
        Step();
      }
      Publish(core().num_requests());
      if (!stopping && !inspections.empty()) {
        EngineView view = core().View();
        view.stats = StatsNow();
        for (const auto& callback : inspections) callback(view);
      }
    }
  }

  void Step() {
    EngineCore& core = *core_;
    core.Step();
    if (!core.device_error().empty()) LeaveLostDevice(&core);
  }

  // Requests whose answer has not begun go to the fallback device, once; the others end.
  void LeaveLostDevice(EngineCore* lost) {
    Error error = Internal(lost->device_error());
    std::vector<PendingRequest> pending = lost->HandOver(error);
    if (lost->parts().load_fallback != nullptr && lost_device_.empty()) {
      lost_device_ = error.message;
      falling_back_ = true;
      Publish(static_cast<int64_t>(pending.size()));
      const Status status = LoadFallback();
      falling_back_ = false;
      if (!status.ok()) {
        fallback_error_ = "; its fallback device cannot take over: " + status.error().message;
      }
    }
    EngineCore& core = *core_;
    const bool took_over = &core != lost;
    error.message += fallback_error_;
    for (PendingRequest& request : pending) {
      if (took_over) {
        core.Add(std::move(request));
      } else {
        core.Refuse(std::move(request), error);
      }
    }
  }

  Status LoadFallback() {
    try {
      TESSERA_ASSIGN_OR_RETURN(EngineParts parts, core().parts().load_fallback());
      EngineOptions options = options_;
      // A size that was chosen for the lost device's memory must not keep another one from serving.
      if (parts.available_bytes > 0 && options.kv_cache_bytes > parts.available_bytes) {
        options.kv_cache_bytes = 0;
      }
      TESSERA_ASSIGN_OR_RETURN(second_core_, EngineCore::Create(options, std::move(parts)));
    } catch (const std::bad_alloc&) {
      return OutOfMemory("Memory ran out while the model was loaded.");
    }
    core_ = second_core_.get();
    return {};
  }

  EngineStats StatsNow() const {
    EngineStats stats = core().stats();
    stats.lost_device = lost_device_;
    stats.falling_back = falling_back_;
    stats.device_fallbacks = second_core_ != nullptr ? 1 : 0;
    if (falling_back_) stats.device_error.clear();
    if (!stats.device_error.empty()) stats.device_error += fallback_error_;
    return stats;
  }

  // `active`: requests that have not ended.
  void Publish(int64_t active) {
    {
      const std::lock_guard lock(mutex_);
      published_ = StatsNow();
      published_.waiting += static_cast<int32_t>(active - core().num_requests());
      active_ = active;
      if (active_ > 0 || !incoming_.empty()) return;
    }
    idle_.notify_all();
  }

  const EngineOptions options_;
  const Clock::duration request_timeout_;  // 0: none

  // Of the stepping thread, but for what is immutable in them. The first one stays when the second
  // takes over: references to its parts are in others' hands.
  const std::unique_ptr<EngineCore> first_core_;
  std::unique_ptr<EngineCore> second_core_;  // on the fallback device; null: not needed so far
  std::atomic<EngineCore*> core_;            // the one that steps

  // Of the stepping thread.
  std::string lost_device_;  // as EngineStats, and so the next
  bool falling_back_ = false;
  std::string fallback_error_;  // why the fallback device could not take over either

  mutable std::mutex mutex_;
  std::condition_variable wake_;  // something to do
  std::condition_variable idle_;  // nothing left to do
  std::vector<PendingRequest> incoming_;
  std::vector<uint64_t> cancels_;
  std::vector<std::function<void(const EngineView&)>> inspections_;
  uint64_t last_id_ = 0;
  int64_t active_ = 0;  // requests that the stepping thread has taken and not ended
  bool stopping_ = false;
  EngineStats published_;

  std::thread thread_;  // last: it uses all the others
};

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::~Engine() = default;

Result<std::unique_ptr<Engine>> Engine::Create(const EngineOptions& options) {
  TESSERA_ASSIGN_OR_RETURN(EngineParts parts, LoadEngineParts(options));
  return Create(options, std::move(parts));
}

Result<std::unique_ptr<Engine>> Engine::Create(const EngineOptions& options, EngineParts parts) {
  TESSERA_ASSIGN_OR_RETURN(std::unique_ptr<EngineCore> core,
                           EngineCore::Create(options, std::move(parts)));
  return std::unique_ptr<Engine>(new Engine(std::make_unique<Impl>(std::move(core), options)));
}

Result<uint64_t> Engine::Submit(Request request, UpdateCallback callback) {
  return impl_->Submit(std::move(request), std::move(callback));
}

Status Engine::Check(const Request& request) const { return impl_->core().Check(request); }
Result<std::shared_ptr<const TokenRules>> Engine::MakeRules(const SamplingParams& params) const {
  return impl_->core().MakeRules(params);
}
void Engine::Cancel(uint64_t id) { impl_->Cancel(id); }
void Engine::WaitIdle() { impl_->WaitIdle(); }
EngineStats Engine::stats() const { return impl_->stats(); }
void Engine::Inspect(std::function<void(const EngineView&)> callback) {
  impl_->Inspect(std::move(callback));
}
Status Engine::UseAttentionBackend(size_t kind, const std::string& backend) {
  return impl_->attention().Use(kind, backend);
}
const Model& Engine::model() const { return *impl_->core().parts().model; }
const Tokenizer* Engine::tokenizer() const { return impl_->core().parts().tokenizer.get(); }
const std::vector<AttentionSpec>& Engine::layer_kinds() const {
  return impl_->core().parts().groups.specs;
}
const std::vector<Selection>& Engine::attention_by_kind() const {
  return impl_->core().parts().selections;
}
const DeviceInfo& Engine::device() const { return impl_->core().parts().device->info(); }
const Selection& Engine::attention() const { return impl_->core().parts().selections.at(0); }
int64_t Engine::max_model_len() const { return impl_->core().max_model_len(); }
const std::vector<std::string>& Engine::notes() const { return impl_->core().notes(); }

}  // namespace tessera
