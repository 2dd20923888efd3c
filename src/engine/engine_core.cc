#include "engine/engine_core.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <new>
#include <random>
#include <utility>

#include "engine/ngram_proposer.h"
#include "engine/token_rules.h"

namespace tessera {
namespace {

constexpr const char* kNoMemory =
    "Memory ran out while the request was served; ask again later, or lower max_running.";

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

Status CheckOptions(const EngineOptions& options) {
  constexpr int32_t kMaxBlockSize = 65536;
  struct Range {
    const char* name;
    int64_t value;
    int64_t low, high;
  };
  constexpr int64_t kMax32 = std::numeric_limits<int32_t>::max();
  const Range ranges[] = {
      {"block_size", options.block_size, 1, kMaxBlockSize},
      {"max_batch_tokens", options.max_batch_tokens, 1, 1 << 20},
      {"max_running", options.max_running, 1, 1 << 20},
      {"max_model_len", options.max_model_len, 0, kMax32},
      {"kv_cache_bytes", options.kv_cache_bytes, 0, std::numeric_limits<int64_t>::max()},
      {"speculative_tokens", options.speculative_tokens, 0, kMaxSpeculativeTokens},
  };
  if (!(options.request_timeout >= 0 && options.request_timeout <= kMaxTimeoutSeconds)) {
    return InvalidArgument("request_timeout is " + std::to_string(options.request_timeout) +
                           " seconds, but must be in 0 (any time) to " +
                           std::to_string(kMaxTimeoutSeconds) + ".");
  }
  for (const Range& r : ranges) {
    if (r.value >= r.low && r.value <= r.high) continue;
    return InvalidArgument(std::string(r.name) + " is " + std::to_string(r.value) +
                           ", but must be in " + std::to_string(r.low) + " to " +
                           std::to_string(r.high) + ".");
  }
  return {};
}

SchedulerOptions MakeSchedulerOptions(const EngineOptions& options, int64_t vocab_size) {
  constexpr int64_t kLogitBytes = 64 << 20;  // of a step, unless max_running rows take more
  SchedulerOptions result;
  result.block_size = options.block_size;
  result.max_batch_tokens = options.max_batch_tokens;
  result.max_running = std::min(options.max_running, options.max_batch_tokens);
  result.prefix_caching = options.prefix_caching;
  const int64_t rows = kLogitBytes / (vocab_size * static_cast<int64_t>(sizeof(float)));
  result.max_logit_rows = static_cast<int32_t>(std::clamp<int64_t>(
      rows, result.max_running, std::max(result.max_running, result.max_batch_tokens)));
  return result;
}

std::vector<Backend*> BackendsOf(const EngineParts& parts) {
  std::vector<Backend*> backends;
  for (const Selection& selection : parts.selections) backends.push_back(selection.backend.get());
  return backends;
}

// Why no token is left where `constraint` (null: none) allows some, and `has_forbidden` where ends
// must not come yet.
Error NothingLeft(const TokenMask* constraint, const TokenRules& rules, bool has_forbidden) {
  if (constraint != nullptr && !HasToken(*constraint, {})) {
    return InvalidArgument(
        "No token of this model can go on with the answer as its constraint demands; use a pattern "
        "or a schema of characters that the model's vocabulary has.");
  }
  std::string demands;
  const auto add = [&](bool given, const char* name) {
    if (given) demands += (demands.empty() ? "" : ", ") + std::string(name);
  };
  add(rules.allowed != nullptr, "allowed_token_ids");
  add(!rules.bad_words.empty(), "bad_words");
  add(has_forbidden, "min_tokens");
  add(constraint != nullptr, "the answer's form");
  return InvalidArgument("No token is left to go on with the answer that satisfies " + demands +
                         "; loosen one of them.");
}

uint64_t RandomSeed() {
  std::random_device device;
  return (static_cast<uint64_t>(device()) << 32) ^ device();
}

}  // namespace

Result<std::unique_ptr<EngineCore>> EngineCore::Create(const EngineOptions& options,
                                                       EngineParts parts) {
  TESSERA_RETURN_IF_ERROR(CheckOptions(options));
  const ModelConfig& config = parts.model->config();
  KvBudget budget;
  budget.block_size = options.block_size;
  budget.kv_cache_bytes = options.kv_cache_bytes;
  budget.available_bytes = parts.available_bytes;
  budget.max_running = std::min(options.max_running, options.max_batch_tokens);
  budget.max_model_len = std::min<int64_t>(
      options.max_model_len > 0 ? options.max_model_len : config.max_position_embeddings,
      std::numeric_limits<int32_t>::max());
  const std::vector<AttentionSpec>& layers = parts.model->layer_specs();
  TESSERA_ASSIGN_OR_RETURN(const KvPlan plan, PlanKvMemory(layers, budget));
  TESSERA_ASSIGN_OR_RETURN(KvMemory memory, KvMemory::Allocate(layers, plan, options.block_size));
  return std::unique_ptr<EngineCore>(
      new EngineCore(options, std::move(parts), plan, std::move(memory)));
}

EngineCore::EngineCore(const EngineOptions& options, EngineParts parts, const KvPlan& plan,
                       KvMemory memory)
    : parts_(std::move(parts)),
      attention_(parts_.groups, parts_.select_attention, &parts_.selections),
      plan_(plan),
      block_size_(options.block_size),
      seed_(RandomSeed()),
      speculative_tokens_(options.speculative_tokens),
      notes_(parts_.notes),
      pool_(plan.num_blocks),
      memory_(std::move(memory)),
      sampler_(parts_.threads->num_threads()) {
  notes_.insert(notes_.end(), plan.notes.begin(), plan.notes.end());
  const SchedulerOptions limits = MakeSchedulerOptions(options, parts_.model->config().vocab_size);
  if (limits.max_running < options.max_running) {
    notes_.push_back("Requests that run at a time are lowered from " +
                     std::to_string(options.max_running) + " to " +
                     std::to_string(limits.max_running) + ", the rows of a step");
  }
  scheduler_ = std::make_unique<Scheduler>(limits, &pool_);
  runner_ =
      std::make_unique<Runner>(parts_.model.get(), parts_.groups, BackendsOf(parts_), memory_);
}

Status EngineCore::Check(const Request& request) const {
  const int64_t vocab_size = parts_.model->config().vocab_size;
  const int64_t length = static_cast<int64_t>(request.prompt.size());
  if (length == 0) {
    return InvalidArgument("The prompt has no tokens; give at least one.");
  }
  if (length >= plan_.max_model_len) return TooLong(length);
  for (const int32_t token : request.prompt) {
    if (token >= 0 && token < vocab_size) continue;
    return InvalidArgument("The prompt holds the token " + std::to_string(token) +
                           ", but the model's tokens are 0 to " + std::to_string(vocab_size - 1) +
                           ".");
  }
  return Validate(request.sampling, vocab_size);
}

Result<std::shared_ptr<const TokenRules>> EngineCore::MakeRules(
    const SamplingParams& params) const {
  if (!params.stop.empty() && parts_.tokenizer == nullptr) {
    return InvalidArgument(
        "Stop strings need a tokenizer, which this model lacks; use "
        "stop_token_ids.");
  }
  const ModelConfig& config = parts_.model->config();
  TESSERA_RETURN_IF_ERROR(Validate(params, config.vocab_size));
  return MakeTokenRules(params, config.eos_token_ids);
}

Error EngineCore::TooLong(int64_t prompt_tokens) const {
  const std::string start = "The prompt has " + std::to_string(prompt_tokens) +
                            " tokens, which leaves no room for an answer within the ";
  if (prompt_tokens >= plan_.asked_model_len) {
    return InvalidArgument(start + std::to_string(plan_.asked_model_len) +
                           " that a request may have; shorten it.");
  }
  const int64_t blocks = prompt_tokens / block_size_ + 1;  // of the prompt and one more token
  return InvalidArgument(start + std::to_string(plan_.max_model_len) +
                         " that the KV cache holds; shorten it, or give the KV cache at " +
                         "least " + std::to_string(blocks * plan_.block_bytes) + " bytes.");
}

void EngineCore::Add(uint64_t id, Request request, UpdateCallback callback) {
  try {
    StopChecker checker(request.sampling, std::move(request.rules), plan_.max_model_len);
    OutputProcessor output(parts_.tokenizer.get(), request.sampling, std::move(checker));
    const uint64_t seed = request.sampling.seed.value_or(seed_ + id);
    Sequence sequence;
    sequence.id = id;
    sequence.level = request.priority;
    sequence.client = std::move(request.client);
    sequence.num_prompt_tokens = static_cast<int32_t>(request.prompt.size());
    sequence.prompt_logits_from = request.sampling.prompt_logprobs ? 0 : sequence.num_prompt_tokens;
    sequence.tokens = std::move(request.prompt);
    auto state = std::make_unique<State>(State{std::move(sequence),
                                               std::move(request.sampling),
                                               {},
                                               seed,
                                               std::move(output),
                                               {},
                                               request.deadline,
                                               {},
                                               std::nullopt,
                                               0});
    if (request.grammar != nullptr) state->constraint.emplace(std::move(request.grammar));
    if (state->params.prompt_logprobs) {
      state->prompt_logprobs.resize(static_cast<size_t>(state->sequence.num_prompt_tokens));
    }
    State* const added = requests_.emplace(id, std::move(state)).first->second.get();
    if (request.deadline) deadlines_.emplace(*request.deadline, id);
    scheduler_->Add(&added->sequence);
    added->callback = std::move(callback);
  } catch (const std::bad_alloc&) {
    requests_.erase(id);
    if (request.deadline) deadlines_.erase({*request.deadline, id});
    if (!callback) return;
    RequestUpdate update;
    update.id = id;
    update.finish = FinishReason::kError;
    update.error = kNoMemory;
    update.error_code = ErrorCode::kOutOfMemory;
    callback(update);
  }
}

void EngineCore::Cancel(uint64_t id) {
  const auto found = requests_.find(id);
  if (found == requests_.end()) return;
  RequestUpdate update;
  update.finish = FinishReason::kCancelled;
  found->second->output.Flush(&update);
  Finish(found->second.get(), std::move(update));
}

void EngineCore::CancelAll() {
  std::vector<uint64_t> ids;
  for (const auto& [id, state] : requests_) ids.push_back(id);
  std::sort(ids.begin(), ids.end());
  for (const uint64_t id : ids) Cancel(id);
}

// Ends a request: its blocks are free and it is forgotten when its callback hears of it.
void EngineCore::Finish(State* state, RequestUpdate update) {
  const auto node = requests_.extract(state->sequence.id);
  scheduler_->Remove(&state->sequence);
  if (state->deadline) deadlines_.erase({*state->deadline, state->sequence.id});
  update.id = state->sequence.id;
  update.prompt_tokens = state->sequence.num_prompt_tokens;
  update.output_tokens = state->output.num_output();
  update.cached_tokens = state->cached_tokens;
  update.started = state->started;
  if (!state->callback) return;
  try {
    state->callback(update);
  } catch (const std::bad_alloc&) {  // it must hear of the end all the same
    RequestUpdate end;
    end.id = update.id;
    end.finish = FinishReason::kError;
    end.error = kNoMemory;
    end.error_code = ErrorCode::kOutOfMemory;
    state->callback(end);
  }
}

void EngineCore::ExpireRequests() {
  const Clock::time_point now = Clock::now();
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    State* state = requests_.at(deadlines_.begin()->second).get();
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
    ++stats_.timeouts;
    state->output.Flush(&update);
    Finish(state, std::move(update));
  }
}

void EngineCore::Step() {
  ExpireRequests();
  const Clock::time_point start = Clock::now();
  scheduler_->Schedule(&step_);
  if (step_.empty()) return;
  ++stats_.steps;
  if (step_.num_new_tokens > 0) NoteStarts(start);
  const Clock::time_point model_start = Clock::now();
  Status status = runner_->Run(step_);
  stats_.model_seconds += SecondsSince(model_start);
  const int64_t generated = stats_.tokens_generated;
  if (status.ok()) {
    const Clock::time_point sample_start = Clock::now();
    status = SampleRows();
    stats_.sample_seconds += SecondsSince(sample_start);
  }
  if (status.ok()) {
    scheduler_->Complete(step_);
    stats_.prompt_tokens_computed += step_.num_prefill_tokens;
    stats_.prefix_cache_queries += step_.num_new_tokens;
    stats_.prefix_cache_hits += step_.num_cached_tokens;
    for (const ScheduledChunk& chunk : step_.chunks) {
      stats_.drafts += chunk.drafts > 0 ? 1 : 0;
      stats_.accepted_tokens += chunk.accepted;
    }
    stats_.draft_tokens += step_.num_draft_tokens;
    Emit();
  }
  const double seconds = SecondsSince(start);
  history_.Add({stats_.steps, std::chrono::duration<double>(start - created_).count(), seconds,
                step_.num_tokens - step_.num_prefill_tokens, step_.num_prefill_tokens,
                static_cast<int32_t>(step_.chunks.size()), attention_.num_switches()});
  if (step_.num_prefill_tokens > 0) {
    stats_.prefill_seconds += seconds;
  } else {
    stats_.decode_seconds += seconds;
    stats_.decode_tokens += stats_.tokens_generated - generated;
  }
  if (!status.ok()) FailStep(status.error());
}

// Newcomers are in the step for the first time; what they do not begin with was cached.
void EngineCore::NoteStarts(Clock::time_point now) {
  for (const ScheduledChunk& chunk : step_.chunks) {
    State& state = *requests_.at(chunk.sequence->id);
    if (state.started) continue;
    state.started = now;
    state.cached_tokens = chunk.begin;
  }
}

Status EngineCore::SampleRows() {
  // As in Runner::Run: an exception must not leave the stepping thread.
  try {
    CollectRows();
    // Rows are cheap next to waking threads where the vocabulary is small.
    constexpr int64_t kParallelElements = 1 << 16;
    const int64_t count = static_cast<int64_t>(rows_.size());
    if (count * parts_.model->config().vocab_size >= kParallelElements) {
      parts_.threads->ParallelFor(count, [this](int64_t i, int worker) {
        ProcessRow(&rows_[static_cast<size_t>(i)], worker);
      });
    } else {
      for (Row& row : rows_) ProcessRow(&row, 0);
    }
  } catch (const std::bad_alloc&) {
    return OutOfMemory("Memory ran out while " + std::to_string(rows_.size()) +
                       " tokens were sampled; lower max_running, or free memory.");
  }
  return {};
}

// In the order of the runner's logits.
void EngineCore::CollectRows() {
  rows_.clear();
  int64_t next = 0;
  for (ScheduledChunk& chunk : step_.chunks) {
    Row row;
    row.id = chunk.sequence->id;
    row.state = requests_.at(row.id).get();
    for (int32_t p = chunk.first_prompt_logit(); p < chunk.last_prompt_logit(); ++p) {
      row.position = p;
      row.logits = next++;
      rows_.push_back(row);
    }
    if (!chunk.samples()) continue;
    row.position = chunk.end - 1;
    row.logits = next;
    row.chunk = &chunk;
    rows_.push_back(std::move(row));
    next += 1 + chunk.drafts;
  }
}

// Reads and changes nothing that another row of the step changes.
void EngineCore::ProcessRow(Row* row, int worker) {
  if (row->chunk != nullptr) return SampleRow(row, worker);
  State& state = *row->state;
  const size_t next = static_cast<size_t>(row->position) + 1;
  auto logprobs = LogprobsOf(runner_->Logits(row->logits), state.sequence.tokens[next],
                             state.params.prompt_logprobs.value_or(0));
  if (logprobs.ok()) {
    state.prompt_logprobs[next] = std::move(logprobs).value();
  } else {
    row->error = logprobs.error();
  }
}

// Each token is chosen from the very row, history and random number that it would be chosen from
// without guesses; a guess only decides whether the next row is already there. So the answer's
// distribution is the model's, and a seed gives the same answer with and without speculation.
void EngineCore::SampleRow(Row* row, int worker) {
  State& state = *row->state;
  std::vector<int32_t>& tokens = state.sequence.tokens;
  const size_t size = tokens.size();
  for (int32_t i = 0;; ++i) {
    auto choice = SampleToken(worker, runner_->Logits(row->logits + i), state, i);
    if (!choice.ok()) {
      row->error = choice.error();
      break;
    }
    std::optional<TokenSampler::Choice> made = std::move(choice).value();
    if (!made) {
      row->complete = true;
      break;
    }
    row->choices.push_back(std::move(*made));
    const int32_t token = row->choices.back().token;
    if (i == row->chunk->drafts || token != state.sequence.draft[static_cast<size_t>(i)]) break;
    tokens.push_back(token);  // the history of the next row; taken back below
  }
  row->chunk->accepted = static_cast<int32_t>(tokens.size() - size);
  tokens.resize(size);
}

Result<std::optional<TokenSampler::Choice>> EngineCore::SampleToken(int worker,
                                                                    std::span<const float> logits,
                                                                    const State& state,
                                                                    int32_t ahead) {
  const StopChecker& checker = state.output.checker();
  const TokenRules& rules = checker.rules();
  TokenRestrictions restrictions;
  restrictions.logit_bias = rules.logit_bias;
  restrictions.forbidden = checker.ForbiddenAt(state.output.num_output() + ahead);
  std::vector<int32_t> forbidden;
  if (!rules.bad_words.empty()) {
    const std::span<const int32_t> tokens(state.sequence.tokens);
    forbidden =
        ForbiddenBehind(tokens.subspan(static_cast<size_t>(state.sequence.num_prompt_tokens)),
                        rules.bad_words, restrictions.forbidden);
    restrictions.forbidden = forbidden;
  }
  std::shared_ptr<const TokenMask> constraint;
  if (state.constraint) {
    TESSERA_ASSIGN_OR_RETURN(constraint, state.constraint->Mask());
  }
  const std::shared_ptr<const TokenMask> mask = Intersection(constraint, rules.allowed);
  if (mask != nullptr) {
    restrictions.allowed = *mask;
    const bool may_end = state.constraint && state.constraint->MayEnd();
    if (!HasToken(*mask, restrictions.forbidden)) {
      if (may_end) return std::optional<TokenSampler::Choice>();
      return NothingLeft(constraint.get(), rules,
                         !checker.ForbiddenAt(state.output.num_output() + ahead).empty());
    }
    if (may_end) restrictions.allowed_besides = rules.stop_tokens;
  }
  TESSERA_ASSIGN_OR_RETURN(
      TokenSampler::Choice choice,
      sampler_.Sample(worker, logits, state.params, state.seed, state.sequence, restrictions));
  return std::optional(std::move(choice));
}

void EngineCore::Emit() {
  for (Row& row : rows_) {
    if (requests_.find(row.id) == requests_.end()) continue;  // an earlier row has failed
    try {
      const bool goes_on = row.choices.empty() || EmitTokens(row.state, std::move(row.choices));
      if (!goes_on) continue;
      if (row.error) FinishWithError(row.state, *row.error);
      if (row.complete) FinishComplete(row.state);
    } catch (const std::bad_alloc&) {
      // Of this request alone, which has lost tokens and cannot go on.
      const auto found = requests_.find(row.id);
      if (found != requests_.end()) FinishWithError(found->second.get(), OutOfMemory(kNoMemory));
    }
  }
}

// Whether the request goes on.
bool EngineCore::EmitTokens(State* state, std::vector<TokenSampler::Choice> choices) {
  RequestUpdate update;
  update.id = state->sequence.id;
  if (state->output.num_output() == 0) update.prompt_logprobs = std::move(state->prompt_logprobs);
  for (TokenSampler::Choice& choice : choices) {
    ++stats_.tokens_generated;
    state->sequence.tokens.push_back(choice.token);
    state->output.Append(choice.token, state->sequence.size(), &update);
    if (choice.logprobs) update.logprobs.push_back(std::move(*choice.logprobs));
    if (state->constraint && update.finish == FinishReason::kNone) {
      const Status accepted = state->constraint->Accept(choice.token);
      if (!accepted.ok()) {
        FinishWithError(state, accepted.error());
        return false;
      }
      if (state->constraint->MustEnd()) {
        state->output.Flush(&update);
        update.finish = FinishReason::kStop;
      }
    }
    if (update.finish == FinishReason::kNone) continue;
    Finish(state, std::move(update));
    return false;
  }
  Guess(state);
  if (state->callback) state->callback(update);
  return true;
}

// At most so many tokens that all of them, and the one behind them, may still come.
void EngineCore::Guess(State* state) const {
  const int64_t wanted = state->params.speculative_tokens.value_or(speculative_tokens_);
  const int64_t room = std::min<int64_t>(state->params.max_tokens - state->output.num_output(),
                                         plan_.max_model_len - state->sequence.size());
  const int64_t count = std::min(wanted, room - 1);
  // The mask behind a guess is not known before the guess is accepted.
  if (count > 0 && !state->constraint) {
    GuessByNgram(state->sequence.tokens, static_cast<int32_t>(count), &state->sequence.draft);
  } else {
    state->sequence.draft.clear();
  }
}

// The requests of the step end with the error; those that wait go on.
void EngineCore::FailStep(const Error& error) {
  for (const ScheduledChunk& chunk : step_.chunks) {
    FinishWithError(requests_.at(chunk.sequence->id).get(), error);
  }
}

// The text that its constraint leaves no way to go on ends as at an end token.
void EngineCore::FinishComplete(State* state) {
  RequestUpdate update;
  update.finish = FinishReason::kStop;
  if (state->output.num_output() == 0) update.prompt_logprobs = std::move(state->prompt_logprobs);
  state->output.Flush(&update);
  Finish(state, std::move(update));
}

void EngineCore::FinishWithError(State* state, const Error& error) {
  RequestUpdate update;
  update.finish = FinishReason::kError;
  update.error = error.message;
  update.error_code = error.code;
  state->output.Flush(&update);
  Finish(state, std::move(update));
}

EngineStats EngineCore::stats() const {
  EngineStats stats = stats_;
  stats.preemptions = scheduler_->num_preemptions();
  stats.waiting = scheduler_->num_waiting();
  stats.running = scheduler_->num_running();
  stats.blocks_total = pool_.num_blocks();
  stats.blocks_used = pool_.num_used();
  return stats;
}

EngineView EngineCore::View() const {
  EngineView view;
  view.seconds = SecondsSince(created_);
  view.block_size = block_size_;
  view.stats = stats();
  std::vector<const Sequence*> sequences;
  for (const auto& [id, state] : requests_) {
    if (!state->sequence.blocks.empty()) sequences.push_back(&state->sequence);
  }
  std::sort(sequences.begin(), sequences.end(),
            [](const Sequence* a, const Sequence* b) { return a->id < b->id; });
  for (const Sequence* s : sequences) {
    view.requests.push_back({s->id, s->num_prompt_tokens, s->size() - s->num_prompt_tokens,
                             s->num_computed, static_cast<int32_t>(s->blocks.size())});
  }
  view.blocks = BlockOwners(pool_, sequences);
  view.steps = history_.Latest();
  view.attention = attention_.in_use();
  return view;
}

}  // namespace tessera
