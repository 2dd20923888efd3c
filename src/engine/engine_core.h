// The engine without its thread: requests are added, steps are made, callbacks are called.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/block_pool.h"
#include "engine/engine_parts.h"
#include "engine/engine_view.h"
#include "engine/kv_memory.h"
#include "engine/request_table.h"
#include "engine/scheduler.h"
#include "engine/step_pipeline.h"
#include "engine/worker.h"

namespace tessera {

// Used by one thread at a time, but for what is marked as immutable.
class EngineCore {
 public:
  // Plans and allocates the KV cache. Fails where options contradict each other or nothing fits.
  static Result<std::unique_ptr<EngineCore>> Create(const EngineOptions& options,
                                                    EngineParts parts);

  // Whether a request can run at all. Immutable, thread-safe.
  Status Check(const Request& request) const;

  // See Engine. Immutable, thread-safe.
  Result<std::shared_ptr<const TokenRules>> MakeRules(const SamplingParams& params) const;

  // Ids ascend. The deadline is final: the caller knows when the request arrived. It has its rules.
  // Ends it with an error if it does not pass Check(): it may have passed another engine's, which
  // held longer requests.
  void Add(PendingRequest pending);
  void Refuse(PendingRequest pending, const Error& error) {
    requests_->Refuse(std::move(pending), error);
  }
  // Takes all requests out: those whose answer has begun end with `error`, the others are returned,
  // in order of their ids.
  std::vector<PendingRequest> HandOver(const Error& error) { return requests_->HandOver(error); }
  void Cancel(uint64_t id) { requests_->Cancel(id); }  // unknown ids are ignored
  void CancelAll() { requests_->CancelAll(); }

  // Ends what is past its deadline; then one step, if there is anything to do. It may bring the
  // tokens of the step before, and leave its own under way. If the device is lost
  // in it, device_error() says so, and all requests stay as they are for HandOver().
  void Step();

  const std::string& device_error() const {
    return pipeline_->stats().device_error;
  }  // as EngineStats
  int64_t num_requests() const { return requests_->size(); }
  EngineStats stats() const;
  EngineView View() const;  // O(blocks + requests)
  // Whether blocks and requests belong together: for tests.
  Status CheckIntegrity() const { return scheduler_->CheckIntegrity(); }

  AttentionSwitch& attention() { return attention_; }  // thread-safe

  // Immutable, thread-safe.
  const EngineParts& parts() const { return parts_; }
  int64_t max_model_len() const { return plan_.max_model_len; }
  const std::vector<std::string>& notes() const { return notes_; }

 private:
  EngineCore(const EngineOptions& options, EngineParts parts, const KvPlan& plan, KvMemory memory);

  Status Start(const EngineOptions& options);
  Error TooLong(int64_t prompt_tokens) const;

  EngineParts parts_;
  AttentionSwitch attention_;
  const KvPlan plan_;
  const int32_t block_size_;
  std::vector<std::string> notes_;
  BlockPool pool_;
  KvMemory memory_;
  std::unique_ptr<Scheduler> scheduler_;
  std::unique_ptr<RequestTable> requests_;
  std::unique_ptr<Worker> worker_;
  std::unique_ptr<StepPipeline> pipeline_;
  int64_t timeouts_ = 0;
};

}  // namespace tessera
