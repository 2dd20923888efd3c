// The requests under way: how they enter, hear of their tokens, and end.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/request_state.h"
#include "engine/scheduler.h"
#include "engine/step_sampler.h"

namespace tessera {

class Tokenizer;

struct RequestTableOptions {
  int64_t max_model_len = 0;
  uint64_t seed = 0;               // of requests that bring none; ids are added
  int32_t speculative_tokens = 0;  // of requests that do not say
};

// A request whose memory runs out, or whose callback's does, ends alone with an error. Not
// thread-safe.
class RequestTable {
 public:
  using TimePoint = RequestState::TimePoint;

  // `scheduler` and `tokenizer` (null: none) outlive the table.
  RequestTable(const RequestTableOptions& options, Scheduler* scheduler,
               const Tokenizer* tokenizer);

  // As EngineCore::Add(), for a request that has passed EngineCore::Check().
  void Add(uint64_t id, Request request, UpdateCallback callback);
  void Cancel(uint64_t id);  // unknown ids are ignored
  void CancelAll();
  // Ends what is past its deadline; returns how many those are.
  int64_t Expire(TimePoint now);

  // Gives requests their tokens and ends those that are complete; returns the number of tokens.
  int64_t Emit(std::vector<SampledRows>* rows);
  // A request's next token is what row `row` of the step under way samples; Emit() will bring it. A
  // request whose last token that is leaves the scheduler: whatever gets its blocks runs later.
  void Await(uint64_t id, int32_t row);
  // Ends the requests of a lost step; those that wait stay.
  void Fail(const ScheduledStep& step, const Error& error);
  // As EngineCore's.
  std::vector<PendingRequest> HandOver(const Error& error);
  void Refuse(PendingRequest pending, const Error& error);

  // Null: it has ended.
  RequestState* Find(uint64_t id) const {
    const auto found = requests_.find(id);
    return found == requests_.end() ? nullptr : found->second.get();
  }
  int64_t size() const { return static_cast<int64_t>(requests_.size()); }
  // Those that hold blocks, in order of their ids.
  std::vector<const Sequence*> WithBlocks() const;

 private:
  using Requests = std::unordered_map<uint64_t, std::unique_ptr<RequestState>>;

  // Runs `work` for one request, which ends if memory runs out, as it has lost tokens then.
  // `callback` (may be null) is that of a request that is not in the table yet.
  template <typename Work>
  void Guard(uint64_t id, UpdateCallback* callback, const Work& work);

  int64_t EmitRows(SampledRows* rows);
  int64_t SpeculativeTokens(const RequestState& state) const {
    return state.params.speculative_tokens.value_or(options_.speculative_tokens);
  }
  bool RunsAhead(const RequestState& state) const;
  void Guess(RequestState* state) const;
  void FinishWithError(RequestState* state, const Error& error);
  void Finish(RequestState* state, RequestUpdate update);
  void Forget(RequestState* state);

  const RequestTableOptions options_;
  Scheduler* const scheduler_;
  const Tokenizer* const tokenizer_;
  Requests requests_;
  Requests::node_type finishing_;  // one that hears of its end
  std::set<std::pair<TimePoint, uint64_t>> deadlines_;
};

}  // namespace tessera
