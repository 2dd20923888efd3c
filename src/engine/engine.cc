#include "engine/engine.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "engine/engine_core.h"

namespace tessera {

class Engine::Impl {
 public:
  Impl(std::unique_ptr<EngineCore> core, double request_timeout)
      : core_(std::move(core)),
        request_timeout_(std::chrono::duration_cast<Clock::duration>(
            std::chrono::duration<double>(request_timeout))),
        published_(core_->stats()),
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
    TESSERA_RETURN_IF_ERROR(core_->Check(request));
    if (request.rules == nullptr) {
      TESSERA_ASSIGN_OR_RETURN(request.rules, core_->MakeRules(request.sampling));
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

  AttentionSwitch& attention() { return core_->attention(); }
  const EngineCore& core() const { return *core_; }

 private:
  using Clock = std::chrono::steady_clock;

  struct Submission {
    uint64_t id = 0;
    Request request;
    UpdateCallback callback;
  };

  void Loop() {
    bool stopping = false;
    while (!stopping) {
      std::vector<Submission> incoming;
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
      for (Submission& s : incoming) {
        core_->Add(s.id, std::move(s.request), std::move(s.callback));
      }
      for (const uint64_t id : cancels) core_->Cancel(id);
      if (stopping) {
        core_->CancelAll();
      } else {
        core_->Step();
      }
      Publish();
      if (!stopping && !inspections.empty()) {
        const EngineView view = core_->View();
        for (const auto& callback : inspections) callback(view);
      }
    }
  }

  void Publish() {
    {
      const std::lock_guard lock(mutex_);
      published_ = core_->stats();
      active_ = core_->num_requests();
      if (active_ > 0 || !incoming_.empty()) return;
    }
    idle_.notify_all();
  }

  const std::unique_ptr<EngineCore> core_;  // of the stepping thread, its immutable parts aside
  const Clock::duration request_timeout_;   // 0: none

  mutable std::mutex mutex_;
  std::condition_variable wake_;  // something to do
  std::condition_variable idle_;  // nothing left to do
  std::vector<Submission> incoming_;
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
  return std::unique_ptr<Engine>(
      new Engine(std::make_unique<Impl>(std::move(core), options.request_timeout)));
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
