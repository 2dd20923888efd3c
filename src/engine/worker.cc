#include "engine/worker.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <string>
#include <utility>

namespace tessera {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsBetween(Clock::time_point start, Clock::time_point end) {
  return std::chrono::duration<double>(end - start).count();
}

// The size that a decode step of `rows` rows is padded to: few sizes, so that few graphs serve all
// steps, and little padding once rows cost time.
int32_t RecordedSize(int32_t rows) {
  const int32_t unit = rows <= 8 ? 1 : rows <= 64 ? 8 : rows <= 256 ? 32 : 64;
  int32_t size = (rows + unit - 1) / unit * unit;
  while (rows <= 8 && (size & (size - 1)) != 0) ++size;
  return size;
}

constexpr int32_t kLargestRecorded = 512;
// Shorter ones are computed with each request.
constexpr int32_t kLeastSharedPrefix = 256;

Error NoMemory(const char* what, const Error& error) {
  return OutOfMemory(std::string("there is no device memory for ") + what + ": " + error.message);
}

}  // namespace

// Where a step's arrays lie in their buffer, each with room for the largest step.
struct Worker::Arrays {
  int64_t* slot_mapping;
  int32_t* token_ids;
  int32_t* positions;
  int32_t* query_start_loc;
  int32_t* seq_lens;
  int32_t* logit_rows;

  static int64_t Bytes(const WorkerOptions& o) {
    return int64_t{8} * o.max_batch_tokens +
           int64_t{4} *
               (2 * int64_t{o.max_batch_tokens} + 2 * int64_t{o.max_seqs} + 1 + o.max_logit_rows);
  }
  static Arrays In(const Buffer& buffer, const WorkerOptions& o) {
    Arrays a{};
    a.slot_mapping = buffer.As<int64_t>();
    a.token_ids = reinterpret_cast<int32_t*>(a.slot_mapping + o.max_batch_tokens);
    a.positions = a.token_ids + o.max_batch_tokens;
    a.query_start_loc = a.positions + o.max_batch_tokens;
    a.seq_lens = a.query_start_loc + o.max_seqs + 1;
    a.logit_rows = a.seq_lens + o.max_seqs;
    return a;
  }
};

Worker::Worker(const WorkerOptions& options, Device* device, Ops* ops, Model* model,
               const LayerGroups& groups, const std::vector<Backend*>& backends,
               const KvMemory& memory)
    : options_(options),
      device_(*device),
      ops_(*ops),
      stream_(ops->stream()),
      model_(*model),
      groups_(groups),
      backends_(backends),
      vocab_size_(model->config().vocab_size),
      block_size_(memory.layers().at(0).block_size),
      num_blocks_(memory.layers().at(0).num_blocks),
      shares_prefixes_(std::none_of(groups.specs.begin(), groups.specs.end(),
                                    [](const AttentionSpec& s) { return s.batch_invariant; })),
      records_(stream_.asynchronous()) {
  TESSERA_CHECK(backends_.size() == groups_.specs.size());
  TESSERA_CHECK(memory.layers().size() == groups_.group_of_layer.size());
  for (size_t i = 0; i < memory.layers().size(); ++i) {
    layers_.push_back({backends_[groups_.group_of_layer[i]], nullptr, memory.layers()[i]});
  }
}

Result<std::unique_ptr<Worker>> Worker::Create(const WorkerOptions& options, Device* device,
                                               Ops* ops, Model* model, const LayerGroups& groups,
                                               const std::vector<Backend*>& backends,
                                               const KvMemory& memory) {
  std::unique_ptr<Worker> worker(new Worker(options, device, ops, model, groups, backends, memory));
  TESSERA_RETURN_IF_ERROR(worker->Allocate());
  return worker;
}

Status Worker::Allocate() {
  struct Wanted {
    Buffer* buffer;
    int64_t bytes;
    MemoryKind kind;
    const char* what;
  };
  const int64_t arrays = Arrays::Bytes(options_);
  const int64_t entries = int64_t{options_.max_seqs} * options_.blocks_per_seq;
  const int64_t logits = int64_t{4} * options_.max_logit_rows * vocab_size_;
  std::vector<Wanted> all = {
      {&device_arrays_, arrays, MemoryKind::kDevice, "the arrays of a step"},
      {&device_table_, 4 * entries, MemoryKind::kDevice, "the block tables"},
      {&sampled_, int64_t{4} * options_.max_logit_rows, MemoryKind::kDevice, "a step's tokens"},
      {&device_logits_, logits, MemoryKind::kDevice, "the logits of a step"}};
  for (size_t i = 0; i < (options_.run_ahead ? slots_.size() : 1); ++i) {
    Slot& slot = slots_[i];
    all.push_back({&slot.arrays, arrays, MemoryKind::kPinnedHost, "the arrays of a step"});
    all.push_back({&slot.blocks, 4 * entries, MemoryKind::kPinnedHost, "the block tables"});
    TESSERA_ASSIGN_OR_RETURN(slot.end, device_.NewStream());
  }
  for (const Wanted& wanted : all) {
    auto buffer = device_.Allocate(wanted.bytes, wanted.kind);
    if (!buffer.ok()) return NoMemory(wanted.what, buffer.error());
    *wanted.buffer = std::move(buffer).value();
  }
  host_table_.assign(static_cast<size_t>(entries), 0);
  return NewPlans({.max_seqs = options_.max_seqs, .max_tokens = options_.max_batch_tokens},
                  &plans_);
}

Status Worker::NewPlans(const PlanCapacity& capacity,
                        std::vector<std::unique_ptr<AttentionPlan>>* plans) {
  std::vector<std::unique_ptr<AttentionPlan>> made;
  for (size_t g = 0; g < backends_.size(); ++g) {
    TESSERA_ASSIGN_OR_RETURN(std::unique_ptr<AttentionPlan> plan,
                             backends_[g]->NewPlan(groups_.specs[g], capacity));
    made.push_back(std::move(plan));
  }
  *plans = std::move(made);
  return {};
}

Status Worker::PreparePlans(const std::vector<std::unique_ptr<AttentionPlan>>& plans) {
  for (size_t g = 0; g < plans.size(); ++g) {
    TESSERA_RETURN_IF_ERROR(backends_[g]->Prepare(plans[g].get(), forward_.attention, stream_));
  }
  return {};
}

Status Worker::Check(const StepBatch& batch) const {
  const int32_t tokens = batch.num_tokens(), seqs = batch.num_seqs();
  TESSERA_CHECK(batch.positions.size() == batch.token_ids.size() &&
                batch.slot_mapping.size() == batch.token_ids.size() &&
                batch.query_start_loc.size() == batch.seq_lens.size() + 1);
  TESSERA_CHECK(tokens <= options_.max_batch_tokens && seqs <= options_.max_seqs &&
                    batch.logit_rows.size() <= static_cast<size_t>(options_.max_logit_rows),
                "a step beyond what the worker was made for");
  TESSERA_CHECK(batch.sampling.rows.empty() ||
                batch.sampling.rows.size() == batch.logit_rows.size());
  for (const int32_t id : batch.token_ids) {
    if (id >= 0 && id < vocab_size_) continue;
    if (id < 0 && options_.run_ahead && static_cast<size_t>(SampledBefore(id)) < num_sampled_) {
      continue;
    }
    return InvalidArgument("the token id " + std::to_string(id) +
                           " is outside the model's vocabulary of " + std::to_string(vocab_size_) +
                           ".");
  }
  for (const int32_t row : batch.logit_rows) TESSERA_CHECK(row >= 0 && row < tokens);
  for (const BlockChange& change : batch.changed_blocks) {
    TESSERA_CHECK(change.row >= 0 && change.row < options_.max_seqs && change.column >= 0 &&
                  change.column < options_.blocks_per_seq && change.block >= 0 &&
                  change.block < num_blocks_);
  }
  return {};
}

// Neighbours travel together. Not from the table itself: the step after may change an entry again
// before this one's copy is made.
void Worker::PatchTables(const std::vector<BlockChange>& changes, Slot* slot) {
  auto* const staged = slot->blocks.As<int32_t>();
  auto* const device = device_table_.As<int32_t>();
  TESSERA_CHECK(changes.size() <= host_table_.size(), "each entry of the tables changes once");
  const auto place = [this](const BlockChange& change) {
    return int64_t{change.row} * options_.blocks_per_seq + change.column;
  };
  for (size_t begin = 0, end = 0; begin < changes.size(); begin = end) {
    const int64_t first = place(changes[begin]);
    for (end = begin;
         end < changes.size() && place(changes[end]) == first + static_cast<int64_t>(end - begin);
         ++end) {
      host_table_[static_cast<size_t>(place(changes[end]))] = staged[end] = changes[end].block;
    }
    stream_.Copy(device + first, staged + begin,
                 static_cast<int64_t>((end - begin) * sizeof(int32_t)));
  }
}

// With `padded` > 0 the step is filled up with empty sequences and rows that are kept nowhere.
void Worker::Upload(const StepBatch& batch, int32_t padded, Slot* slot) {
  const Arrays host = Arrays::In(slot->arrays, options_);
  const Arrays device = Arrays::In(device_arrays_, options_);
  const auto fill = [](const auto& values, auto* target, int32_t size, auto padding) {
    std::copy(values.begin(), values.end(), target);
    for (auto i = static_cast<int32_t>(values.size()); i < size; ++i) target[i] = padding;
  };
  const int32_t tokens = std::max(batch.num_tokens(), padded);
  const int32_t seqs = std::max(batch.num_seqs(), padded);
  const int32_t rows = std::max(static_cast<int32_t>(batch.logit_rows.size()), padded);
  fill(batch.slot_mapping, host.slot_mapping, tokens, int64_t{-1});
  fill(batch.token_ids, host.token_ids, tokens, 0);
  fill(batch.positions, host.positions, tokens, 0);
  fill(batch.query_start_loc, host.query_start_loc, seqs + 1, batch.num_tokens());
  fill(batch.seq_lens, host.seq_lens, seqs, 0);
  fill(batch.logit_rows, host.logit_rows, rows, 0);
  // One copy of everything that is small next to a copy's cost; else of what is there.
  constexpr int64_t kOneCopy = 64 << 10;
  if (Arrays::Bytes(options_) <= kOneCopy) {
    stream_.Copy(device_arrays_.data(), slot->arrays.data(), Arrays::Bytes(options_));
  } else {
    const auto copy = [this](auto* to, const auto* from, int64_t count) {
      stream_.Copy(to, from, count * static_cast<int64_t>(sizeof(*from)));
    };
    copy(device.slot_mapping, host.slot_mapping, tokens);
    copy(device.token_ids, host.token_ids, tokens);
    copy(device.positions, host.positions, tokens);
    copy(device.query_start_loc, host.query_start_loc, seqs + 1);
    copy(device.seq_lens, host.seq_lens, seqs);
    copy(device.logit_rows, host.logit_rows, rows);
  }

  AttentionBatch& attention = forward_.attention;
  attention = {};
  attention.num_seqs = seqs;
  attention.num_tokens = tokens;
  for (int32_t seq = 0; seq < batch.num_seqs(); ++seq) {
    const int32_t query_len = batch.query_start_loc[static_cast<size_t>(seq) + 1] -
                              batch.query_start_loc[static_cast<size_t>(seq)];
    attention.max_query_len = std::max(attention.max_query_len, query_len);
    attention.max_seq_len =
        std::max(attention.max_seq_len, batch.seq_lens[static_cast<size_t>(seq)]);
  }
  attention.block_table_stride = options_.blocks_per_seq;
  attention.common_prefix_len = batch.common_prefix_len;
  attention.host = {.query_start_loc = host.query_start_loc,
                    .seq_lens = host.seq_lens,
                    .block_table = host_table_.data(),
                    .slot_mapping = host.slot_mapping};
  attention.device = {.query_start_loc = device.query_start_loc,
                      .seq_lens = device.seq_lens,
                      .block_table = device_table_.As<int32_t>(),
                      .slot_mapping = device.slot_mapping};
  has_unresolved_ = std::any_of(batch.token_ids.begin(), batch.token_ids.end(),
                                [](int32_t id) { return id < 0; });
  forward_.token_ids = device.token_ids;
  forward_.positions = device.positions;
  forward_.logit_rows = device.logit_rows;
}

Status Worker::Forward(const std::vector<std::unique_ptr<AttentionPlan>>& plans,
                       int64_t logit_rows) {
  for (size_t i = 0; i < layers_.size(); ++i) {
    layers_[i].plan = plans[groups_.group_of_layer[i]].get();
  }
  forward_.layers = layers_;
  // A recording serves steps with and without such ids.
  if (has_unresolved_ || (records_ && options_.run_ahead)) {
    ops_.ResolveIds(Arrays::In(device_arrays_, options_).token_ids, forward_.attention.num_tokens,
                    sampled_.As<int32_t>());
  }
  forward_.logits = {device_logits_.data(), DType::kFloat32, logit_rows, vocab_size_, vocab_size_};
  return model_.Forward(forward_);
}

Status Worker::RunUnrecorded(int32_t logit_rows) {
  TESSERA_RETURN_IF_ERROR(PreparePlans(plans_));
  return Forward(plans_, logit_rows);
}

// Between the two calls nothing may leave the stream in its recording.
Result<std::unique_ptr<Graph>> Worker::Record(
    const std::vector<std::unique_ptr<AttentionPlan>>& plans, int32_t size) {
  TESSERA_RETURN_IF_ERROR(stream_.BeginCapture());
  Status status;
  try {
    status = Forward(plans, size);
  } catch (...) {
    (void)stream_.EndCapture();
    throw;
  }
  auto graph = stream_.EndCapture();
  if (!status.ok()) return status.error();
  return graph;
}

// The first step of a size warms up what libraries and drivers do once; the second is recorded.
// What a recording cannot do runs without one.
Status Worker::RunRecorded(int32_t size, int32_t logit_rows) {
  // A grid for a shared prefix takes time even if it is empty, so it has recordings of its own.
  const bool shared =
      shares_prefixes_ && forward_.attention.common_prefix_len >= kLeastSharedPrefix;
  Recorded& recorded = recorded_[{size, shared}];
  const PlanCapacity capacity{
      .max_seqs = size, .max_tokens = size, .decode_only = true, .shared_prefix = shared};
  if (recorded.plans.empty() && !NewPlans(capacity, &recorded.plans).ok()) {
    return RunUnrecorded(logit_rows);
  }
  if (!PreparePlans(recorded.plans).ok()) return RunUnrecorded(logit_rows);
  std::vector<uint64_t> versions;
  for (const auto& plan : recorded.plans) versions.push_back(plan->version());
  if (versions != recorded.versions) {
    recorded.versions = std::move(versions);
    if (recorded.graph != nullptr) TESSERA_RETURN_IF_ERROR(stream_.Synchronize());
    recorded.graph.reset();
    recorded.warm = false;
  }
  if (!recorded.warm) {
    TESSERA_RETURN_IF_ERROR(Forward(recorded.plans, size));
    recorded.warm = true;
    return {};
  }
  if (recorded.graph == nullptr) {
    auto graph = Record(recorded.plans, size);
    if (!graph.ok()) {
      records_ = false;
      return Forward(recorded.plans, logit_rows);
    }
    recorded.graph = std::move(graph).value();
  }
  ++num_replays_;
  stream_.Launch(*recorded.graph);
  return {};
}

Status Worker::Run(const StepBatch& batch, Slot* slot) {
  const auto logit_rows = static_cast<int32_t>(batch.logit_rows.size());
  int32_t longest = 0, longest_query = 0;
  for (size_t seq = 0; seq < batch.seq_lens.size(); ++seq) {
    longest = std::max(longest, batch.seq_lens[seq]);
    longest_query =
        std::max(longest_query, batch.query_start_loc[seq + 1] - batch.query_start_loc[seq]);
  }
  TESSERA_RETURN_IF_ERROR(model_.Prepare(longest));
  const int32_t size = RecordedSize(batch.num_seqs());
  const bool recorded = records_ && longest_query == 1 &&
                        size <= std::min({kLargestRecorded, options_.max_seqs,
                                          options_.max_batch_tokens, options_.max_logit_rows}) &&
                        logit_rows <= size;
  PatchTables(batch.changed_blocks, slot);
  Upload(batch, recorded ? size : 0, slot);
  if (recorded) return RunRecorded(size, logit_rows);
  return RunUnrecorded(logit_rows);
}

Status Worker::Submit(const StepBatch& batch) {
  const Clock::time_point start = Clock::now();
  TESSERA_CHECK(num_under_way_ < (options_.run_ahead ? 2 : 1), "too many steps are under way");
  TESSERA_RETURN_IF_ERROR(Check(batch));
  // The device may still read what a step has left that broke off.
  if (std::exchange(broken_off_, true)) TESSERA_RETURN_IF_ERROR(stream_.Synchronize());
  const size_t next = options_.run_ahead ? (oldest_ + num_under_way_) % slots_.size() : 0;
  Slot& slot = slots_[next];
  slot.result = {};
  slot.logit_rows = static_cast<int64_t>(batch.logit_rows.size());
  slot.returns_logits = batch.returns_logits;
  slot.samples = !batch.sampling.rows.empty();
  TESSERA_RETURN_IF_ERROR(Run(batch, &slot));
  const Clock::time_point computed = Clock::now();
  slot.result.model_seconds = SecondsBetween(start, computed);
  num_sampled_ = 0;
  if (slot.samples) {
    const Tensor logits = {device_logits_.data(), DType::kFloat32, slot.logit_rows, vocab_size_,
                           vocab_size_};
    TESSERA_RETURN_IF_ERROR(ops_.Sample(batch.sampling, logits, sampled_.As<int32_t>()));
    num_sampled_ = batch.sampling.rows.size();
  } else {
    slot.end->Wait(stream_);
  }
  slot.result.sample_seconds = SecondsBetween(computed, Clock::now());
  ++num_under_way_;
  broken_off_ = false;
  return {};
}

Status Worker::DeviceStatus() {
  TESSERA_RETURN_IF_ERROR(stream_.Synchronize());
  for (const Slot& slot : slots_) {
    if (slot.end != nullptr) TESSERA_RETURN_IF_ERROR(slot.end->Synchronize());
  }
  return {};
}

Result<StepResult> Worker::Collect() {
  const Clock::time_point start = Clock::now();
  TESSERA_CHECK(num_under_way_ > 0, "no step is under way");
  Slot& slot = slots_[oldest_];
  if (options_.run_ahead) oldest_ = (oldest_ + 1) % slots_.size();
  --num_under_way_;
  if (slot.samples) {
    TESSERA_ASSIGN_OR_RETURN(slot.result.sampled, ops_.Sampled());
  } else {
    TESSERA_RETURN_IF_ERROR(slot.end->Synchronize());
  }
  if (slot.returns_logits) {
    TESSERA_CHECK(num_under_way_ == 0, "logits are those of the latest step");
    slot.result.logits.resize(static_cast<size_t>(slot.logit_rows * vocab_size_));
    stream_.Copy(slot.result.logits.data(), device_logits_.data(),
                 slot.logit_rows * vocab_size_ * int64_t{sizeof(float)});
  }
  // On a CPU nothing is waited for, and this costs nothing.
  if (slot.returns_logits || !stream_.asynchronous()) {
    TESSERA_RETURN_IF_ERROR(stream_.Synchronize());
  }
  if (stream_.asynchronous()) {
    slot.result.wait_seconds = SecondsBetween(start, Clock::now());
    slot.result.model_seconds += slot.result.wait_seconds;
  }
  return std::move(slot.result);
}

}  // namespace tessera
