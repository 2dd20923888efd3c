#include "engine/engine_core.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <random>
#include <utility>

#include "engine/token_rules.h"

namespace tessera {
namespace {

SchedulerOptions MakeSchedulerOptions(const EngineOptions& options, int32_t max_logit_rows) {
  SchedulerOptions result;
  result.block_size = options.block_size;
  result.max_batch_tokens = options.max_batch_tokens;
  result.max_running = std::min(options.max_running, options.max_batch_tokens);
  result.prefix_caching = options.prefix_caching;
  result.max_logit_rows = max_logit_rows;
  return result;
}

std::vector<Backend*> BackendsOf(const EngineParts& parts) {
  std::vector<Backend*> backends;
  for (const Selection& selection : parts.selections) backends.push_back(selection.backend.get());
  return backends;
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
  TESSERA_ASSIGN_OR_RETURN(
      KvMemory memory, KvMemory::Allocate(layers, plan, options.block_size, parts.device.get()));
  std::unique_ptr<EngineCore> core(
      new EngineCore(options, std::move(parts), plan, std::move(memory)));
  TESSERA_RETURN_IF_ERROR(core->Start(options));
  return core;
}

EngineCore::EngineCore(const EngineOptions& options, EngineParts parts, const KvPlan& plan,
                       KvMemory memory)
    : parts_(std::move(parts)),
      attention_(parts_.groups, parts_.select_attention, &parts_.selections),
      plan_(plan),
      block_size_(options.block_size),
      notes_(parts_.notes),
      pool_(plan.num_blocks),
      memory_(std::move(memory)) {
  notes_.insert(notes_.end(), plan.notes.begin(), plan.notes.end());
}

Status EngineCore::Start(const EngineOptions& options) {
  const SchedulerOptions limits =
      MakeSchedulerOptions(options, MaxLogitRows(options, parts_.model->config().vocab_size));
  if (limits.max_running < options.max_running) {
    notes_.push_back("Requests that run at a time are lowered from " +
                     std::to_string(options.max_running) + " to " +
                     std::to_string(limits.max_running) + ", the rows of a step");
  }
  scheduler_ = std::make_unique<Scheduler>(limits, &pool_);
  requests_ = std::make_unique<RequestTable>(
      RequestTableOptions{.max_model_len = plan_.max_model_len,
                          .seed = RandomSeed(),
                          .speculative_tokens = options.speculative_tokens},
      scheduler_.get(), parts_.tokenizer.get());
  const StepBuilderOptions building{
      .block_size = block_size_,
      .max_running = limits.max_running,
      .drafts_as_sequences = std::any_of(parts_.groups.specs.begin(), parts_.groups.specs.end(),
                                         [](const AttentionSpec& s) { return s.batch_invariant; })};
  WorkerOptions worker;
  worker.max_seqs = StepBuilder::MaxRows(building, limits.max_batch_tokens);
  worker.max_batch_tokens = limits.max_batch_tokens;
  worker.max_logit_rows = limits.max_logit_rows;
  worker.run_ahead = options.run_ahead == RunAhead::kOn ||
                     (options.run_ahead == RunAhead::kAuto && parts_.stream->asynchronous());
  // Drafts may lie one block beyond the longest request.
  worker.blocks_per_seq = static_cast<int32_t>(std::min<int64_t>(
      (plan_.max_model_len + kMaxSpeculativeTokens) / block_size_ + 1, plan_.num_blocks));
  TESSERA_ASSIGN_OR_RETURN(
      worker_, Worker::Create(worker, parts_.device.get(), parts_.ops.get(), parts_.model.get(),
                              parts_.groups, BackendsOf(parts_), memory_));
  pipeline_ = std::make_unique<StepPipeline>(StepPipeline::Parts{.scheduler = scheduler_.get(),
                                                                 .requests = requests_.get(),
                                                                 .worker = worker_.get(),
                                                                 .threads = parts_.threads.get(),
                                                                 .attention = &attention_},
                                             building, worker.run_ahead);
  return {};
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

void EngineCore::Add(PendingRequest pending) {
  const Status status = Check(pending.request);
  if (!status.ok()) return requests_->Refuse(std::move(pending), status.error());
  requests_->Add(pending.id, std::move(pending.request), std::move(pending.callback));
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

void EngineCore::Step() {
  timeouts_ += requests_->Expire(std::chrono::steady_clock::now());
  pipeline_->Step();
}

EngineStats EngineCore::stats() const {
  EngineStats stats = pipeline_->stats();
  stats.timeouts = timeouts_;
  stats.preemptions = scheduler_->num_preemptions();
  stats.waiting = scheduler_->num_waiting();
  stats.running = scheduler_->num_running();
  stats.blocks_total = pool_.num_blocks();
  stats.blocks_used = pool_.num_used();
  stats.graph_replays = worker_->num_replays();
  stats.device = parts_.device->info().name;
  return stats;
}

EngineView EngineCore::View() const {
  EngineView view;
  view.seconds = pipeline_->age();
  view.block_size = block_size_;
  view.stats = stats();
  const std::vector<const Sequence*> sequences = requests_->WithBlocks();
  for (const Sequence* s : sequences) {
    const int32_t known = s->size() - (s->awaited_row >= 0 ? 1 : 0);
    view.requests.push_back({s->id, s->num_prompt_tokens, known - s->num_prompt_tokens,
                             std::min(s->num_computed, known - 1),
                             static_cast<int32_t>(s->blocks.size())});
  }
  view.blocks = BlockOwners(pool_, sequences);
  view.steps = pipeline_->history().Latest();
  view.attention = attention_.in_use();
  return view;
}

}  // namespace tessera
