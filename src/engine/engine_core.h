// The engine without its thread: requests are added, steps are made, callbacks are called.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/block_pool.h"
#include "engine/engine_parts.h"
#include "engine/engine_view.h"
#include "engine/kv_memory.h"
#include "engine/output_processor.h"
#include "engine/runner.h"
#include "engine/scheduler.h"
#include "engine/token_sampler.h"

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

  // `request` passed Check; ids ascend. Its deadline is final: the caller knows when it arrived.
  // It has its rules.
  void Add(uint64_t id, Request request, UpdateCallback callback);
  void Cancel(uint64_t id);  // unknown ids are ignored
  void CancelAll();

  // Ends what is past its deadline; then one step, if there is anything to do.
  void Step();

  int64_t num_requests() const { return static_cast<int64_t>(requests_.size()); }
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
  using TimePoint = std::chrono::steady_clock::time_point;

  // A request under way.
  struct State {
    Sequence sequence;
    SamplingParams params;  // without its lists, which output.checker().rules() has
    UpdateCallback callback;
    uint64_t seed = 0;
    OutputProcessor output;
    std::vector<TokenLogprob> prompt_logprobs;
    std::optional<TimePoint> deadline;
    std::optional<TimePoint> started;  // when it was in a step for the first time
    // Has taken the output's tokens so far; a preemption takes none of them back.
    std::optional<TokenConstraint> constraint;
    int32_t cached_tokens = 0;  // of the prompt, as it started
  };

  // A row of logits of the step, and what becomes of it. Where it samples, the rows of the guesses
  // behind it belong to it: they are looked at in order, as far as the guesses are right.
  struct Row {
    uint64_t id = 0;
    State* state = nullptr;
    int64_t logits = 0;                         // number of the (first) row
    int32_t position = 0;                       // of the token whose successor the logits are about
    ScheduledChunk* chunk = nullptr;            // where it samples
    std::vector<TokenSampler::Choice> choices;  // likewise: the next tokens
    std::optional<Error> error;                 // why nothing became of it, or nothing more
    bool complete = false;                      // the constraint allows the end, and nothing else
  };

  EngineCore(const EngineOptions& options, EngineParts parts, const KvPlan& plan, KvMemory memory);

  void NoteStarts(TimePoint now);
  Error TooLong(int64_t prompt_tokens) const;
  Status SampleRows();  // or that memory ran out
  void CollectRows();
  void ProcessRow(Row* row, int worker);
  void SampleRow(Row* row, int worker);
  // `ahead`: how many tokens of this step come before it. None where the constraint allows the end
  // and nothing else.
  Result<std::optional<TokenSampler::Choice>> SampleToken(int worker, std::span<const float> logits,
                                                          const State& state, int32_t ahead);
  void Emit();
  void ExpireRequests();
  bool EmitTokens(State* state, std::vector<TokenSampler::Choice> choices);
  void Guess(State* state) const;
  void FailStep(const Error& error);
  void FinishComplete(State* state);
  void FinishWithError(State* state, const Error& error);
  void Finish(State* state, RequestUpdate update);

  EngineParts parts_;
  AttentionSwitch attention_;
  const KvPlan plan_;
  const int32_t block_size_;
  const uint64_t seed_;               // of requests that bring none
  const int32_t speculative_tokens_;  // likewise
  std::vector<std::string> notes_;
  BlockPool pool_;
  KvMemory memory_;
  std::unique_ptr<Scheduler> scheduler_;
  std::unique_ptr<Runner> runner_;
  TokenSampler sampler_;
  std::unordered_map<uint64_t, std::unique_ptr<State>> requests_;
  std::set<std::pair<TimePoint, uint64_t>> deadlines_;
  ScheduledStep step_;
  std::vector<Row> rows_;
  EngineStats stats_;
  const std::chrono::steady_clock::time_point created_ = std::chrono::steady_clock::now();
  StepHistory history_;
};

}  // namespace tessera
