// The oracle: what attention means, in plain loops and float64. Easy to check by reading; its loops
// run along memory, so that whole evaluations through it end in a tolerable time.
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "attention/feature_check.h"
#include "attention/host_backend.h"
#include "attention/kernel/key_range.h"
#include "attention/planner.h"
#include "tessera/backend.h"

namespace tessera {

namespace {

const FeatureSet& Features() {
  static const FeatureSet features{
      .query_dtypes = {DType::kFloat32, DType::kFloat16, DType::kBFloat16, DType::kE4M3FN,
                       DType::kE4M3FNUZ, DType::kE5M2},
      .cache_dtypes = {DType::kFloat32, DType::kFloat16, DType::kBFloat16, DType::kE4M3FN,
                       DType::kE4M3FNUZ, DType::kE5M2, DType::kInt8},
      .output_dtypes = {DType::kFloat32, DType::kFloat16, DType::kBFloat16, DType::kE4M3FN,
                        DType::kE4M3FNUZ, DType::kE5M2},
      .max_head_size = 4096,
      .per_request_causality = true,
      .window = true,
      .chunks = true,
      .soft_cap = true,
      .alibi = true,
      .sinks = true,
      .query_query_bias = true,
      .prefix_ranges = true,
      .encoder = true,
      .cross = true,
      .scale_modes = {ScaleMode::kNone, ScaleMode::kPerTensor, ScaleMode::kPerHead,
                      ScaleMode::kPerTokenHead},
      .fp8_output = true,
  };
  return features;
}

// The plan is trivial: every row is computed by itself, so nothing depends on the batch.
class ReferencePlan : public AttentionPlan {};

class ReferenceBackend : public HostBackend {
 public:
  explicit ReferenceBackend(const BackendContext& context) : HostBackend(context) {}

  std::string Name() const override { return "reference"; }

  Support Probe(const DeviceInfo& device) const override {
    if (device.kind == DeviceKind::kCpu) return {};
    return {.reasons = {"it computes in host memory, and this device is " + device.name}};
  }

  Support Supports(const AttentionSpec& spec, int32_t block_size) const override {
    Support support{.reasons = RefusalReasons(Features(), spec, block_size)};
    support.decode_ns_per_key = 1.0 * (spec.head_size + spec.value_size());
    support.prefill_ns_per_key = support.decode_ns_per_key;
    return support;
  }

  std::unique_ptr<AttentionPlan> Plan(const AttentionSpec&, const AttentionBatch&,
                                      std::unique_ptr<AttentionPlan> reuse) override {
    return reuse != nullptr ? std::move(reuse) : std::make_unique<ReferencePlan>();
  }

  void Run(const AttentionPlan&, const AttentionSpec& spec, const AttentionBatch& batch,
           const KvCache& cache, const RunArgs& args) override {
    const kernel::MaskRule mask = MakeMaskRule(spec, batch);
    const int64_t tasks = int64_t{batch.num_seqs} * spec.num_kv_heads;
    threads_->ParallelFor(tasks, [&](int64_t task, int) {
      const int32_t seq = static_cast<int32_t>(task / spec.num_kv_heads);
      const int32_t kv_head = static_cast<int32_t>(task % spec.num_kv_heads);
      if (batch.QueryLen(seq) == 0) return;
      const Problem problem{spec, batch, cache, args, mask, seq, kv_head};
      RunHead(problem);
    });
  }

 private:
  // The rows of one request under one KV head.
  struct Problem {
    const AttentionSpec& spec;
    const AttentionBatch& batch;
    const KvCache& cache;
    const RunArgs& args;
    const kernel::MaskRule& mask;
    int32_t seq;
    int32_t kv_head;
  };

  // Keys and values of a request as float64, in the order in which the loops run: keys [head_size,
  // keys], values [keys, value_size]. Keys that no row sees are not read.
  struct Keys {
    kernel::KeyRange range;  // that at least one row sees
    std::vector<double> keys;
    std::vector<double> values;
  };

  static kernel::KeyRange RangeOf(const Problem& p, int32_t token) {
    const int32_t seq_len = p.batch.seq_lens[p.seq];
    return kernel::VisibleKeys(p.mask, p.seq, token, seq_len - p.batch.QueryLen(p.seq), seq_len);
  }

  // One key and its value, as they lie in memory, and the numbers that scale them.
  struct Place {
    const char* key;
    const char* value;
    double key_scale = 1.0;
    double value_scale = 1.0;
  };

  static Place Find(const Problem& p, int32_t key) {
    const int64_t element = static_cast<int64_t>(SizeOf(p.spec.cache_dtype));
    if (p.spec.type == AttentionType::kEncoder || p.spec.type == AttentionType::kEncoderOnly) {
      const int64_t token = int64_t{p.batch.query_start_loc[p.seq]} + key;
      const RunArgs& a = p.args;
      return {static_cast<const char*>(a.key) +
                  (token * a.key_token_stride + p.kv_head * a.key_head_stride) * element,
              static_cast<const char*>(a.value) +
                  (token * a.value_token_stride + p.kv_head * a.value_head_stride) * element};
    }
    const int64_t block =
        p.batch.block_table[p.seq * p.batch.block_table_stride + key / p.cache.block_size];
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

  static Keys Gather(const Problem& p) {
    const size_t key_size = static_cast<size_t>(p.spec.head_size);
    const size_t value_size = static_cast<size_t>(p.spec.value_size());
    Keys gathered{{RangeOf(p, 0).begin, RangeOf(p, p.batch.QueryLen(p.seq) - 1).end}, {}, {}};
    const size_t count =
        static_cast<size_t>(std::max(0, gathered.range.end - gathered.range.begin));
    gathered.keys.resize(count * key_size);
    gathered.values.resize(count * value_size);
    std::vector<float> row(std::max(key_size, value_size));
    for (size_t k = 0; k < count; ++k) {
      const Place place = Find(p, gathered.range.begin + static_cast<int32_t>(k));
      ConvertToFloat(p.spec.cache_dtype, place.key, p.spec.head_size, row.data());
      for (size_t i = 0; i < key_size; ++i) gathered.keys[i * count + k] = row[i] * place.key_scale;
      ConvertToFloat(p.spec.cache_dtype, place.value, p.spec.value_size(), row.data());
      for (size_t i = 0; i < value_size; ++i) {
        gathered.values[k * value_size + i] = row[i] * place.value_scale;
      }
    }
    return gathered;
  }

  // What is added to the capped score of `key`.
  static double Bias(const Problem& p, int32_t token, int32_t head, int32_t key) {
    const int32_t context_len = p.batch.seq_lens[p.seq] - p.batch.QueryLen(p.seq);
    const double distance = static_cast<double>(key) - (context_len + token);
    double bias = 0.0;
    if (p.spec.alibi == Alibi::kPlain) bias += p.args.alibi_slopes[head] * distance;
    if (p.spec.alibi == Alibi::kSqrt && distance < 0) {
      bias -= p.args.alibi_slopes[head] * std::sqrt(-distance);
    }
    if (p.spec.query_query_bias && key >= context_len) {
      bias += p.args.query_query_bias[p.seq * p.args.bias_seq_stride +
                                      token * p.args.bias_row_stride + key - context_len];
    }
    return bias;
  }

  static void RunHead(const Problem& p) {
    const Keys keys = Gather(p);
    for (int32_t token = 0; token < p.batch.QueryLen(p.seq); ++token) {
      for (int32_t g = 0; g < p.spec.group_size(); ++g) {
        RunRow(p, keys, token, p.kv_head * p.spec.group_size() + g);
      }
    }
  }

  static void RunRow(const Problem& p, const Keys& keys, int32_t token, int32_t head) {
    const AttentionSpec& spec = p.spec;
    const kernel::KeyRange range = RangeOf(p, token);
    const int64_t row = int64_t{p.batch.query_start_loc[p.seq]} + token;
    const int64_t query = row * p.args.query_token_stride + head * p.args.query_head_stride;
    const size_t stride = static_cast<size_t>(std::max(0, keys.range.end - keys.range.begin));
    const size_t first = static_cast<size_t>(range.begin - keys.range.begin);
    const size_t count = static_cast<size_t>(std::max(0, range.end - range.begin));

    std::vector<double> scores(count, 0.0);
    for (int32_t i = 0; i < spec.head_size; ++i) {
      const double q = LoadAsFloat(spec.query_dtype, p.args.query, query + i);
      const double* k = keys.keys.data() + static_cast<size_t>(i) * stride + first;
      for (size_t key = 0; key < count; ++key) scores[key] += q * k[key];
    }
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    double maximum = spec.sinks ? p.args.sinks[head] : -kInfinity;
    for (size_t key = 0; key < count; ++key) {
      double& score = scores[key];
      score *= static_cast<double>(spec.softmax_scale()) * p.args.query_scale;
      if (spec.soft_cap > 0.0f) score = spec.soft_cap * std::tanh(score / spec.soft_cap);
      score += Bias(p, token, head, range.begin + static_cast<int32_t>(key));
      maximum = std::max(maximum, score);
    }
    // Without a score above -infinity nothing is seen; subtracting it from itself would give NaN.
    const double reference = maximum == -kInfinity ? 0.0 : maximum;

    double sum = spec.sinks ? std::exp(p.args.sinks[head] - reference) : 0.0;
    const size_t value_size = static_cast<size_t>(spec.value_size());
    std::vector<double> output(value_size, 0.0);
    for (size_t key = 0; key < count; ++key) {
      const double probability = std::exp(scores[key] - reference);
      sum += probability;
      const double* v = keys.values.data() + (first + key) * value_size;
      for (size_t i = 0; i < value_size; ++i) output[i] += probability * v[i];
    }

    const int64_t out = row * p.args.output_token_stride + head * p.args.output_head_stride;
    for (size_t i = 0; i < value_size; ++i) {
      double value = sum != 0.0 ? output[i] / sum : 0.0;
      if (spec.fp8_output_scale) value /= p.args.output_scale;
      StoreFromFloat(spec.output_dtype, p.args.output, out + static_cast<int64_t>(i),
                     static_cast<float>(value));
    }
    if (p.args.lse != nullptr) {
      p.args.lse[row * spec.num_heads + head] = sum != 0.0
                                                    ? static_cast<float>(reference + std::log(sum))
                                                    : -std::numeric_limits<float>::infinity();
    }
  }
};

}  // namespace

std::unique_ptr<Backend> CreateReferenceBackend(const BackendContext& context) {
  return std::make_unique<ReferenceBackend>(context);
}

}  // namespace tessera
