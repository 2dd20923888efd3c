// The oracle: what attention means, in plain loops and float64. Easy to check by reading; its loops
// run along memory, so that whole evaluations through it end in a tolerable time.
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include "attention/backends/reference/visibility.h"
#include "attention/feature_check.h"
#include "attention/host_backend.h"
#include "tessera/backend.h"

namespace tessera {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

FeatureSet Features() {
  FeatureSet features = FeatureSet::All();
  features.max_head_size = 4096;
  return features;
}

// Keys are taken in chunks, each for so many rows at a time: a worker's memory does not grow with
// the sequence. Chunks begin at multiples of their length, so that nothing depends on the step.
constexpr int32_t kChunk = 128;
constexpr int32_t kRows = 64;

// One worker's memory.
struct Scratch {
  Scratch(const AttentionSpec& spec, void* memory)
      : head_size(spec.head_size),
        value_size(spec.value_size()),
        keys(static_cast<double*>(memory)),
        values(keys + int64_t{kChunk} * head_size),
        scores(values + int64_t{kChunk} * value_size),
        maximum(scores + kChunk),
        sum(maximum + kRows),
        outputs(sum + kRows),
        row(reinterpret_cast<float*>(outputs + int64_t{kRows} * value_size)),
        seen(reinterpret_cast<uint8_t*>(row + std::max(head_size, value_size))) {}

  static int64_t Bytes(const AttentionSpec& spec) {
    const int64_t head_size = spec.head_size, value_size = spec.value_size();
    const int64_t doubles = kChunk * (head_size + value_size + 1) + kRows * (value_size + 2);
    return doubles * int64_t{sizeof(double)} +
           std::max(head_size, value_size) * int64_t{sizeof(float)} + kChunk;
  }

  int64_t head_size, value_size;
  double* keys;     // [head_size, kChunk], scaled
  double* values;   // [kChunk, value_size], scaled
  double* scores;   // [kChunk]
  double* maximum;  // [kRows]: of the scores so far
  double* sum;      // [kRows]: of exp(score - maximum)
  double* outputs;  // [kRows, value_size]: of exp(score - maximum) * value
  float* row;       // one key or value
  uint8_t* seen;    // [kChunk]: by at least one of the rows
};

// Every row is computed by itself, so there is no work to divide.
struct ReferencePlan : AttentionPlan {
  ReferencePlan(const AttentionSpec& spec, const PlanCapacity& plan_capacity)
      : AttentionPlan(spec), capacity(plan_capacity) {}
  const PlanCapacity capacity;
  Buffer memory;  // Scratch for each worker
  int64_t stride = 0;
};

// The rows of one request under one KV head.
struct Problem {
  const AttentionSpec& spec;
  const AttentionBatch& batch;
  const KvCache& cache;
  const RunArgs& args;
  int32_t seq;
  int32_t kv_head;
  int32_t query_len;
  int32_t seq_len;

  int32_t context_len() const { return seq_len - query_len; }
  int64_t first_row() const { return batch.device.query_start_loc[seq]; }
  reference::Visibility visibility() const { return {spec, batch, seq, context_len(), seq_len}; }
};

// One key and its value, as they lie in memory, and the numbers that scale them.
struct Place {
  const char* key;
  const char* value;
  double key_scale = 1.0;
  double value_scale = 1.0;
};

Place Find(const Problem& p, int32_t key) {
  const int64_t element = static_cast<int64_t>(SizeOf(p.spec.cache_dtype));
  if (p.spec.type == AttentionType::kEncoder || p.spec.type == AttentionType::kEncoderOnly) {
    const int64_t token = p.first_row() + key;
    const RunArgs& a = p.args;
    return {static_cast<const char*>(a.key) +
                (token * a.key_token_stride + p.kv_head * a.key_head_stride) * element,
            static_cast<const char*>(a.value) +
                (token * a.value_token_stride + p.kv_head * a.value_head_stride) * element};
  }
  const int64_t block =
      p.batch.device.block_table[p.seq * p.batch.block_table_stride + key / p.cache.block_size];
  const char* k = static_cast<const char*>(p.cache.data) +
                  p.cache.KOffset(block, p.kv_head, key % p.cache.block_size) * element;
  Place place{k, k + p.cache.v_offset * element};
  switch (p.spec.kv_scales) {
    case ScaleMode::kNone:
      break;
    case ScaleMode::kPerTensor:
      place.key_scale = *p.cache.k_scale;
      place.value_scale = *p.cache.v_scale;
      break;
    case ScaleMode::kPerHead:
      place.key_scale = p.cache.k_scale[p.kv_head];
      place.value_scale = p.cache.v_scale[p.kv_head];
      break;
    case ScaleMode::kPerTokenHead:
      place.key_scale = LoadAsFloat(DType::kFloat32, k + p.cache.k_scale_offset, 0);
      place.value_scale = LoadAsFloat(DType::kFloat32, k + p.cache.v_scale_offset, 0);
      break;
  }
  return place;
}

// Some rows of a problem: row r is token r / group under query head r % group of the KV head.
struct Rows {
  int64_t first;
  int64_t end;
};

// Brings the chunk's keys that a row sees, as float64, in the order in which the loops run. Others
// are not read: they may be NaN, or lie in blocks that do not exist. Returns whether there are any.
bool Gather(const Problem& p, const Rows& rows, int32_t chunk, const Scratch& scratch) {
  const reference::Visibility visibility = p.visibility();
  const auto first_token = static_cast<int32_t>(rows.first / p.spec.group_size());
  const auto last_token = static_cast<int32_t>((rows.end - 1) / p.spec.group_size());
  bool any = false;
  for (int32_t k = 0; k < kChunk; ++k) {
    scratch.seen[k] = 0;
    if (p.seq_len - chunk <= k) continue;
    for (int32_t token = first_token; token <= last_token && scratch.seen[k] == 0; ++token) {
      scratch.seen[k] = visibility.Sees(token, chunk + k);
    }
    if (scratch.seen[k] == 0) continue;
    any = true;
    const Place place = Find(p, chunk + k);
    ConvertToFloat(p.spec.cache_dtype, place.key, p.spec.head_size, scratch.row);
    for (int64_t i = 0; i < scratch.head_size; ++i) {
      scratch.keys[i * kChunk + k] = scratch.row[i] * place.key_scale;
    }
    ConvertToFloat(p.spec.cache_dtype, place.value, p.spec.value_size(), scratch.row);
    for (int64_t i = 0; i < scratch.value_size; ++i) {
      scratch.values[k * scratch.value_size + i] = scratch.row[i] * place.value_scale;
    }
  }
  return any;
}

// What is added to the capped score of `key`.
double Bias(const Problem& p, int32_t token, int32_t head, int32_t key) {
  const double distance = static_cast<double>(key) - (p.context_len() + token);
  double bias = 0.0;
  if (p.spec.alibi == Alibi::kPlain) bias += p.args.alibi_slopes[head] * distance;
  if (p.spec.alibi == Alibi::kSqrt && distance < 0) {
    bias -= p.args.alibi_slopes[head] * std::sqrt(-distance);
  }
  if (p.spec.query_query_bias && key >= p.context_len()) {
    bias += p.args.query_query_bias[p.seq * p.args.bias_seq_stride +
                                    token * p.args.bias_row_stride + key - p.context_len()];
  }
  return bias;
}

// Takes the gathered chunk into row `r` of the scratch memory.
void AddChunk(const Problem& p, int32_t token, int32_t head, int32_t chunk, int32_t r,
              const Scratch& scratch) {
  const AttentionSpec& spec = p.spec;
  const int64_t query =
      (p.first_row() + token) * p.args.query_token_stride + head * p.args.query_head_stride;
  double* const scores = scratch.scores;
  std::fill_n(scores, kChunk, 0.0);
  for (int64_t i = 0; i < scratch.head_size; ++i) {
    const double q = LoadAsFloat(spec.query_dtype, p.args.query, query + i);
    const double* const k = scratch.keys + i * kChunk;
    for (int32_t key = 0; key < kChunk; ++key) scores[key] += q * k[key];
  }
  const reference::Visibility visibility = p.visibility();
  double maximum = scratch.maximum[r];
  for (int32_t k = 0; k < kChunk; ++k) {
    double& score = scores[k];
    if (scratch.seen[k] == 0 || !visibility.Sees(token, chunk + k)) {
      score = -kInfinity;
      continue;
    }
    score *= static_cast<double>(spec.softmax_scale()) * p.args.query_scale;
    if (spec.soft_cap > 0.0f) score = spec.soft_cap * std::tanh(score / spec.soft_cap);
    score += Bias(p, token, head, chunk + k);
    maximum = std::max(maximum, score);
  }
  // Without a score above -infinity nothing is seen; subtracting it from itself would give NaN.
  const double base = maximum == -kInfinity ? 0.0 : maximum;
  const double factor = std::exp(scratch.maximum[r] - base);
  double* const output = scratch.outputs + r * scratch.value_size;
  scratch.sum[r] *= factor;
  for (int64_t i = 0; i < scratch.value_size; ++i) output[i] *= factor;
  for (int32_t k = 0; k < kChunk; ++k) {
    if (scores[k] == -kInfinity) continue;
    const double probability = std::exp(scores[k] - base);
    scratch.sum[r] += probability;
    const double* const v = scratch.values + k * scratch.value_size;
    for (int64_t i = 0; i < scratch.value_size; ++i) output[i] += probability * v[i];
  }
  scratch.maximum[r] = maximum;
}

void Finish(const Problem& p, int32_t token, int32_t head, int32_t r, const Scratch& scratch) {
  const AttentionSpec& spec = p.spec;
  const int64_t row = p.first_row() + token;
  const int64_t out = row * p.args.output_token_stride + head * p.args.output_head_stride;
  const double sum = scratch.sum[r];
  for (int64_t i = 0; i < scratch.value_size; ++i) {
    double value = sum != 0.0 ? scratch.outputs[r * scratch.value_size + i] / sum : 0.0;
    if (spec.fp8_output_scale) value /= p.args.output_scale;
    StoreFromFloat(spec.output_dtype, p.args.output, out + i, static_cast<float>(value));
  }
  if (p.args.lse == nullptr) return;
  const double base = scratch.maximum[r] == -kInfinity ? 0.0 : scratch.maximum[r];
  p.args.lse[row * spec.num_heads + head] = sum != 0.0 ? static_cast<float>(base + std::log(sum))
                                                       : -std::numeric_limits<float>::infinity();
}

void RunRows(const Problem& p, const Rows& rows, const Scratch& scratch) {
  const int32_t group = p.spec.group_size();
  const auto for_each_row = [&](const auto& function) {
    for (int64_t row = rows.first; row < rows.end; ++row) {
      function(static_cast<int32_t>(row / group),
               p.kv_head * group + static_cast<int32_t>(row % group),
               static_cast<int32_t>(row - rows.first));
    }
  };
  for_each_row([&](int32_t, int32_t head, int32_t r) {
    // A sink is a score without a value.
    scratch.maximum[r] = p.spec.sinks ? p.args.sinks[head] : -kInfinity;
    scratch.sum[r] = scratch.maximum[r] == -kInfinity ? 0.0 : 1.0;
    std::fill_n(scratch.outputs + r * scratch.value_size, scratch.value_size, 0.0);
  });
  const int32_t first_key = p.visibility().FirstCandidate(static_cast<int32_t>(rows.first / group));
  for (int64_t chunk = first_key / kChunk * kChunk; chunk < p.seq_len; chunk += kChunk) {
    const auto begin = static_cast<int32_t>(chunk);
    if (!Gather(p, rows, begin, scratch)) continue;
    for_each_row([&](int32_t token, int32_t head, int32_t r) {
      AddChunk(p, token, head, begin, r, scratch);
    });
  }
  for_each_row([&](int32_t token, int32_t head, int32_t r) { Finish(p, token, head, r, scratch); });
}

class ReferenceBackend : public HostBackend {
 public:
  explicit ReferenceBackend(const BackendContext& context) : HostBackend(context) {}

  std::string Name() const override { return "reference"; }

  Support Supports(const AttentionSpec& spec, int32_t block_size) const override {
    Support support{.reasons = RefusalReasons(Features(), spec, block_size)};
    support.decode_ns_per_key = 1.0 * (spec.head_size + spec.value_size());
    support.prefill_ns_per_key = support.decode_ns_per_key;
    return support;
  }

  Result<std::unique_ptr<AttentionPlan>> NewPlan(const AttentionSpec& spec,
                                                 const PlanCapacity& capacity) override {
    auto plan = std::make_unique<ReferencePlan>(spec, capacity);
    plan->stride = (Scratch::Bytes(spec) + 63) / 64 * 64;
    TESSERA_ASSIGN_OR_RETURN(plan->memory, device_->Allocate(plan->stride * threads_->num_threads(),
                                                             MemoryKind::kDevice));
    return std::unique_ptr<AttentionPlan>(std::move(plan));
  }

  Status Prepare(AttentionPlan* plan, const AttentionBatch& batch, Stream& /*stream*/) override {
    return CheckCapacity(static_cast<ReferencePlan*>(plan)->capacity, batch);
  }

  Status Run(AttentionPlan* base, const AttentionBatch& batch, const KvCache& cache,
             const RunArgs& args, Stream& stream) override {
    const auto& plan = *static_cast<const ReferencePlan*>(base);
    const AttentionSpec& spec = plan.spec();
    const HostAccess access(stream);
    const int64_t tasks = int64_t{batch.num_seqs} * spec.num_kv_heads;
    threads_->ParallelFor(tasks, [&](int64_t task, int worker) {
      const int32_t seq = static_cast<int32_t>(task / spec.num_kv_heads);
      const int32_t* const starts = batch.device.query_start_loc;
      const Problem problem{.spec = spec,
                            .batch = batch,
                            .cache = cache,
                            .args = args,
                            .seq = seq,
                            .kv_head = static_cast<int32_t>(task % spec.num_kv_heads),
                            .query_len = starts[seq + 1] - starts[seq],
                            .seq_len = batch.device.seq_lens[seq]};
      if (!Includes(plan.capacity.phases, problem.query_len)) return;
      const Scratch scratch(spec, plan.memory.As<char>() + worker * plan.stride);
      const int64_t rows = int64_t{problem.query_len} * spec.group_size();
      for (int64_t first = 0; first < rows; first += kRows) {
        RunRows(problem, {first, std::min(first + kRows, rows)}, scratch);
      }
    });
    return {};
  }
};

}  // namespace

Support ProbeReferenceBackend(const DeviceInfo& device) {
  if (device.kind == DeviceKind::kCpu) return {};
  return {.reasons = {"it computes in host memory, and this device is " + device.name}};
}

Result<std::unique_ptr<Backend>> CreateReferenceBackend(const BackendContext& context) {
  return std::unique_ptr<Backend>(std::make_unique<ReferenceBackend>(context));
}

}  // namespace tessera
