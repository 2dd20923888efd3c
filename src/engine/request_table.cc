#include "engine/request_table.h"

#include <algorithm>
#include <new>

#include "base/until_memory.h"
#include "engine/ngram_proposer.h"
#include "engine/token_rules.h"

namespace tessera {
namespace {

constexpr const char* kNoMemory =
    "Memory ran out while the request was served; ask again later, or lower max_running.";

// The request that came in, of one whose answer has not begun. Takes what is large out of `state`.
Request RequestOf(RequestState* state) {
  Request request;
  request.prompt = std::move(state->sequence.tokens);
  // A token may be awaited of the step under way.
  request.prompt.resize(static_cast<size_t>(state->sequence.num_prompt_tokens));
  request.sampling = std::move(state->params);
  request.rules = state->output.checker().shared_rules();
  request.priority = static_cast<int32_t>(state->sequence.priority);
  request.client = std::move(state->sequence.client);
  request.deadline = state->deadline;
  if (state->constraint) request.grammar = state->constraint->grammar();
  return request;
}

}  // namespace

RequestTable::RequestTable(const RequestTableOptions& options, Scheduler* scheduler,
                           const Tokenizer* tokenizer)
    : options_(options), scheduler_(scheduler), tokenizer_(tokenizer) {}

template <typename Work>
void RequestTable::Guard(uint64_t id, UpdateCallback* callback, const Work& work) {
  try {
    work();
  } catch (const std::bad_alloc&) {
    if (finishing_.empty()) finishing_ = requests_.extract(id);
    if (!finishing_.empty()) {
      RequestState& state = *finishing_.mapped();
      if (state.sequence.account != nullptr) scheduler_->Remove(&state.sequence);
      if (state.deadline) deadlines_.erase({*state.deadline, id});
      if (state.callback) callback = &state.callback;
    }
    UntilMemory([&] {  // a request must hear of its end
      RequestUpdate end;
      end.id = id;
      if (!finishing_.empty()) {
        const RequestState& state = *finishing_.mapped();
        end.prompt_tokens = state.sequence.num_prompt_tokens;
        end.output_tokens = state.output.num_output();
        end.cached_tokens = state.cached_tokens;
        end.started = state.started;
      }
      end.finish = FinishReason::kError;
      end.error = kNoMemory;
      end.error_code = ErrorCode::kOutOfMemory;
      if (callback != nullptr && *callback) (*callback)(end);
    });
    finishing_ = {};
  }
}

void RequestTable::Add(uint64_t id, Request request, UpdateCallback callback) {
  Guard(id, &callback, [&] {
    StopChecker checker(request.sampling, std::move(request.rules), options_.max_model_len);
    OutputProcessor output(tokenizer_, request.sampling, std::move(checker));
    const uint64_t seed = request.sampling.seed.value_or(options_.seed + id);
    Sequence sequence;
    sequence.id = id;
    sequence.level = request.priority;
    sequence.client = std::move(request.client);
    sequence.num_prompt_tokens = static_cast<int32_t>(request.prompt.size());
    sequence.prompt_logits_from = request.sampling.prompt_logprobs ? 0 : sequence.num_prompt_tokens;
    sequence.tokens = std::move(request.prompt);
    auto state = std::make_unique<RequestState>(RequestState{std::move(sequence),
                                                             std::move(request.sampling),
                                                             {},
                                                             seed,
                                                             std::move(output),
                                                             {},
                                                             request.deadline,
                                                             {},
                                                             std::nullopt,
                                                             0,
                                                             false});
    if (request.grammar != nullptr) state->constraint.emplace(std::move(request.grammar));
    state->runs_ahead = RunsAhead(*state);
    if (state->params.prompt_logprobs) {
      state->prompt_logprobs.resize(static_cast<size_t>(state->sequence.num_prompt_tokens));
    }
    RequestState* const added = requests_.emplace(id, std::move(state)).first->second.get();
    if (request.deadline) deadlines_.emplace(*request.deadline, id);
    scheduler_->Add(&added->sequence);
    added->callback = std::move(callback);
  });
}

void RequestTable::Cancel(uint64_t id) {
  const auto found = requests_.find(id);
  if (found == requests_.end()) return;
  Guard(id, nullptr, [&] {
    RequestUpdate update;
    update.finish = FinishReason::kCancelled;
    found->second->output.Flush(&update);
    Finish(found->second.get(), std::move(update));
  });
}

void RequestTable::CancelAll() {
  std::vector<uint64_t> ids;
  for (const auto& [id, state] : requests_) ids.push_back(id);
  std::sort(ids.begin(), ids.end());
  for (const uint64_t id : ids) Cancel(id);
}

int64_t RequestTable::Expire(TimePoint now) {
  int64_t expired = 0;
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    const uint64_t id = deadlines_.begin()->second;
    ++expired;
    Guard(id, nullptr, [&] {
      RequestState* state = Find(id);
      const int32_t num_output = state->output.num_output();
      RequestUpdate update;
      update.finish = FinishReason::kTimeout;
      update.error = "The request's time was over ";
      update.error += num_output > 0
                          ? "after " + std::to_string(num_output) + " tokens of its answer; "
                          : "before its answer began; ";
      update.error +=
          "allow it more time, ask for fewer tokens, or ask again when there is less "
          "to do.";
      state->output.Flush(&update);
      Finish(state, std::move(update));
    });
  }
  return expired;
}

// Penalties and bad words look at the tokens before, a constraint follows them, guesses continue
// them.
bool RequestTable::RunsAhead(const RequestState& state) const {
  const SamplingParams& p = state.params;
  return !state.constraint && SpeculativeTokens(state) <= 0 && p.repetition_penalty == 1.0f &&
         p.presence_penalty == 0.0f && p.frequency_penalty == 0.0f &&
         state.output.checker().rules().bad_words.empty();
}

void RequestTable::Await(uint64_t id, int32_t row) {
  RequestState* const state = Find(id);
  if (state == nullptr) return;
  Guard(id, nullptr, [&] {
    Sequence& sequence = state->sequence;
    sequence.tokens.push_back(Sequence::kAwaitedToken);
    sequence.awaited_row = row;
    if (state->output.checker().IsLast(state->output.num_output() + 1, sequence.size())) {
      scheduler_->Remove(&sequence);
    }
  });
}

int64_t RequestTable::Emit(std::vector<SampledRows>* rows) {
  int64_t tokens = 0;
  for (SampledRows& row : *rows) {
    if (requests_.find(row.id) == requests_.end()) continue;
    Guard(row.id, nullptr, [&] { tokens += EmitRows(&row); });
  }
  return tokens;
}

int64_t RequestTable::EmitRows(SampledRows* rows) {
  RequestState* const state = rows->state;
  RequestUpdate update;
  update.id = rows->id;
  const bool first = state->output.num_output() == 0;
  if (first && (rows->complete || !rows->choices.empty())) {
    update.prompt_logprobs = std::move(state->prompt_logprobs);
  }
  int64_t tokens = 0;
  for (SampledRows::Choice& choice : rows->choices) {
    ++tokens;
    Sequence& sequence = state->sequence;
    if (std::exchange(sequence.awaited_row, -1) >= 0) {
      sequence.tokens.back() = choice.token;
    } else {
      sequence.tokens.push_back(choice.token);
    }
    state->output.Append(choice.token, state->sequence.size(), &update);
    if (choice.logprobs) update.logprobs.push_back(std::move(*choice.logprobs));
    if (state->constraint && update.finish == FinishReason::kNone) {
      const Status accepted = state->constraint->Accept(choice.token);
      if (!accepted.ok()) {
        FinishWithError(state, accepted.error());
        return tokens;
      }
      if (state->constraint->MustEnd()) {
        state->output.Flush(&update);
        update.finish = FinishReason::kStop;
      }
    }
    if (update.finish == FinishReason::kNone) continue;
    Finish(state, std::move(update));
    return tokens;
  }
  if (!rows->choices.empty() && !rows->complete) {
    Guess(state);
    if (state->callback) state->callback(update);
  }
  if (rows->error) {
    FinishWithError(state, *rows->error);
  } else if (rows->complete) {
    // The text that its constraint leaves no way to continue ends as at an end token.
    update.finish = FinishReason::kStop;
    state->output.Flush(&update);
    Finish(state, std::move(update));
  }
  return tokens;
}

// At most so many tokens that all of them, and the one after them, may still come.
void RequestTable::Guess(RequestState* state) const {
  const int64_t wanted = SpeculativeTokens(*state);
  const int64_t room = std::min<int64_t>(state->params.max_tokens - state->output.num_output(),
                                         options_.max_model_len - state->sequence.size());
  const int64_t count = std::min(wanted, room - 1);
  // The mask after a draft is not known before the draft is accepted.
  if (count > 0 && !state->constraint) {
    GuessByNgram(state->sequence.tokens, static_cast<int32_t>(count), &state->sequence.draft);
  } else {
    state->sequence.draft.clear();
  }
}

void RequestTable::Fail(const ScheduledStep& step, const Error& error) {
  for (const ScheduledChunk& chunk : step.chunks) {
    if (Find(chunk.id) == nullptr) continue;
    Guard(chunk.id, nullptr, [&] { FinishWithError(Find(chunk.id), error); });
  }
}

std::vector<PendingRequest> RequestTable::HandOver(const Error& error) {
  std::vector<PendingRequest> pending;
  while (!requests_.empty()) {
    const uint64_t id = requests_.begin()->first;
    Guard(id, nullptr, [&] {
      RequestState* const state = Find(id);
      if (state->output.num_output() > 0) return FinishWithError(state, error);
      PendingRequest& taken = pending.emplace_back();
      Forget(state);
      taken.id = id;
      taken.request = RequestOf(state);
      taken.callback = std::move(state->callback);
      finishing_ = {};
    });
  }
  std::sort(pending.begin(), pending.end(),
            [](const PendingRequest& a, const PendingRequest& b) { return a.id < b.id; });
  return pending;
}

void RequestTable::Refuse(PendingRequest pending, const Error& error) {
  Guard(pending.id, &pending.callback, [&] {
    RequestUpdate update;
    update.id = pending.id;
    update.finish = FinishReason::kError;
    update.error = error.message;
    update.error_code = error.code;
    update.prompt_tokens = static_cast<int32_t>(pending.request.prompt.size());
    if (pending.callback) pending.callback(update);
  });
}

void RequestTable::FinishWithError(RequestState* state, const Error& error) {
  RequestUpdate update;
  update.finish = FinishReason::kError;
  update.error = error.message;
  update.error_code = error.code;
  state->output.Flush(&update);
  Finish(state, std::move(update));
}

// Takes a request out of the table, and keeps it in finishing_.
void RequestTable::Forget(RequestState* state) {
  finishing_ = requests_.extract(state->sequence.id);
  // One that awaits its last token is not there any more.
  if (state->sequence.account != nullptr) scheduler_->Remove(&state->sequence);
  if (state->deadline) deadlines_.erase({*state->deadline, state->sequence.id});
}

// Ends a request: its blocks are free and it is forgotten when its callback hears of it.
void RequestTable::Finish(RequestState* state, RequestUpdate update) {
  Forget(state);
  update.id = state->sequence.id;
  update.prompt_tokens = state->sequence.num_prompt_tokens;
  update.output_tokens = state->output.num_output();
  update.cached_tokens = state->cached_tokens;
  update.started = state->started;
  if (state->callback) state->callback(update);
  finishing_ = {};
}

std::vector<const Sequence*> RequestTable::WithBlocks() const {
  std::vector<const Sequence*> sequences;
  for (const auto& [id, state] : requests_) {
    if (!state->sequence.blocks.empty()) sequences.push_back(&state->sequence);
  }
  std::sort(sequences.begin(), sequences.end(),
            [](const Sequence* a, const Sequence* b) { return a->id < b->id; });
  return sequences;
}

}  // namespace tessera
