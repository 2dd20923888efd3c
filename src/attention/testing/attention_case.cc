#include "attention/testing/attention_case.h"

#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <optional>
#include <random>

namespace tessera::testing {

namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kUntouchedLse = 12345.0f;
constexpr size_t kWhollyCopied = size_t{64} << 20;  // bytes of a cache
constexpr int32_t kSpans = 3;                       // prefix ranges of a sequence
constexpr int32_t kBiasRows = 24;                   // query rows that a query-query bias covers

// The smallest scale with which normally distributed numbers never saturate.
float BaseScale(DType type) {
  return type == DType::kInt8 ? 0.05f : type == DType::kE5M2 ? 0.001f : 0.025f;
}

float LargestOf(DType type) {
  return type == DType::kE4M3FN     ? 448.0f
         : type == DType::kE4M3FNUZ ? 240.0f
         : type == DType::kE5M2     ? 57344.0f
                                    : 127.0f;
}

}  // namespace

// Address space without pages behind it until they are touched: caches of many gigabytes cost
// nothing.
struct AttentionCase::Memory {
  explicit Memory(size_t n) : bytes(std::max<size_t>(n, 1)) {
    data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                -1, 0);
    TESSERA_CHECK(data != MAP_FAILED, "mmap of a test cache");
  }
  ~Memory() { munmap(data, bytes); }
  void* data;
  size_t bytes;
};

std::string ToString(const CaseOptions& options) {
  std::string text =
      ToString(options.spec) + ", output " + tessera::ToString(options.spec.output_dtype) +
      ", blocks of " + std::to_string(options.block_size) + " " + tessera::ToString(options.order) +
      (options.separate_planes ? " planes" : "") + (options.value_in_key ? " V in K" : "") +
      (options.spec.batch_invariant ? " invariant" : "") +
      (options.query_size != 1 ? " queries of " + std::to_string(options.query_size) : "") +
      (options.value_size != 1 ? " values of " + std::to_string(options.value_size) : "") +
      (options.common_prefix > 0 ? " common prefix " + std::to_string(options.common_prefix) : "") +
      ", seed " + std::to_string(options.seed) + ", query/seq";
  for (const Sequence& s : options.sequences) {
    text += " " + std::to_string(s.query_len) + "/" + std::to_string(s.seq_len);
  }
  return text;
}

AttentionCase::AttentionCase(const CaseOptions& options) : options_(options), spec_(options.spec) {
  MakeBatch();
  MakeCache();
  MakeFeatures();
  head_stride_ = spec_.head_size + options.query_padding;
  token_stride_ = spec_.num_heads * head_stride_ + 3 * options.query_padding;
  out_head_stride_ = spec_.value_size() + options.query_padding;
  out_token_stride_ = spec_.num_heads * out_head_stride_ + 3 * options.query_padding;
  query_.resize(static_cast<size_t>(batch_.num_tokens * token_stride_ + 1) *
                SizeOf(spec_.query_dtype));
  for (int64_t i = 0; i < batch_.num_tokens * token_stride_; ++i) {
    StoreFromFloat(spec_.query_dtype, query_.data(), i, kNan);
  }
  for (size_t s = 0; s < options.sequences.size(); ++s) MakeSequence(s);
  FillCache();
  MakeExpectation();
}

AttentionCase::~AttentionCase() = default;

int32_t AttentionCase::ContextLen(size_t seq) const {
  return seq_lens_[seq] - batch_.QueryLen(static_cast<int32_t>(seq));
}

void AttentionCase::MakeBatch() {
  std::mt19937 random(options_.seed);
  const int32_t shared_pages = options_.common_prefix / options_.block_size;
  int64_t pages = shared_pages;
  int32_t tokens = 0;
  int64_t widest = 1;
  query_start_loc_.push_back(0);
  for (const Sequence& s : options_.sequences) {
    tokens += s.query_len;
    query_start_loc_.push_back(tokens);
    seq_lens_.push_back(s.seq_len);
    const int64_t n = (s.seq_len + options_.block_size - 1) / options_.block_size;
    pages += n;
    widest = std::max(widest, n + 2);
    batch_.max_query_len = std::max(batch_.max_query_len, s.query_len);
    host_seq_lens_.push_back(s.seq_len + options_.host_slack);
    batch_.max_seq_len = std::max(batch_.max_seq_len, host_seq_lens_.back());
  }
  std::vector<int32_t> ids(static_cast<size_t>(pages + 3));
  std::iota(ids.begin(), ids.end(), 0);
  if (options_.scattered_blocks) std::shuffle(ids.begin(), ids.end(), random);
  // What lies past a sequence's blocks is garbage that no kernel may follow.
  block_table_.assign(static_cast<size_t>(widest) * options_.sequences.size(), -559038737);
  size_t next = static_cast<size_t>(shared_pages);
  slot_mapping_.assign(static_cast<size_t>(tokens + options_.padded_tokens), -1);
  for (size_t s = 0; s < options_.sequences.size(); ++s) {
    const Sequence& sequence = options_.sequences[s];
    int32_t* row = block_table_.data() + s * static_cast<size_t>(widest);
    const int32_t n = (sequence.seq_len + options_.block_size - 1) / options_.block_size;
    for (int32_t p = 0; p < n; ++p) {
      row[p] = p < shared_pages ? ids[static_cast<size_t>(p)] : ids[next++];
    }
    if (spec_.type != AttentionType::kDecoder) continue;
    for (int32_t t = 0; t < sequence.query_len; ++t) {
      if (options_.skip_every > 0 && t % options_.skip_every == 0) continue;
      const int32_t position = sequence.seq_len - sequence.query_len + t;
      slot_mapping_[static_cast<size_t>(query_start_loc_[s] + t)] =
          int64_t{row[position / options_.block_size]} * options_.block_size +
          position % options_.block_size;
    }
  }
  batch_.num_seqs = static_cast<int32_t>(options_.sequences.size());
  batch_.num_tokens = tokens + options_.padded_tokens;
  batch_.host = {.query_start_loc = query_start_loc_.data(), .seq_lens = host_seq_lens_.data()};
  batch_.block_table_stride = widest;
  batch_.common_prefix_len = shared_pages * options_.block_size;
  cache_.num_blocks = pages + 3;
}

void AttentionCase::MakeCache() {
  const bool layered =
      options_.order != KvOrder::kBlockHeadToken && options_.order != KvOrder::kBlockTokenHead;
  const KvCacheShape shape{.num_blocks = cache_.num_blocks,
                           .block_size = options_.block_size,
                           .num_kv_heads = spec_.num_kv_heads,
                           .head_size = spec_.head_size,
                           .head_size_v = spec_.value_size(),
                           .order = options_.order,
                           .num_layers = layered ? 3 : 1,
                           .token_scales = spec_.kv_scales == ScaleMode::kPerTokenHead};
  cache_ = MakeKvCache(shape, spec_.cache_dtype, nullptr);
  cache_.block_stride += options_.block_padding;
  int64_t elements = KvCacheElements(shape) + cache_.num_blocks * options_.block_padding;
  if (options_.separate_planes) {
    cache_.v_offset = elements;
    elements *= 2;
  }
  if (options_.value_in_key) cache_.v_offset = 0;
  cache_elements_ = elements;
  const size_t element = SizeOf(spec_.cache_dtype);
  memory_ = std::make_unique<Memory>(static_cast<size_t>(elements) * element);
  // The middle one of several layers that share the memory.
  const KvCache layer = MakeKvCache(shape, spec_.cache_dtype, memory_->data, layered ? 1 : 0);
  cache_.data = layer.data;
}

void AttentionCase::MakeFeatures() {
  std::mt19937 random(options_.seed + 77);
  std::uniform_real_distribution<float> uniform(0.1f, 1.0f);
  for (int32_t head = 0; head < spec_.num_heads; ++head) {
    slopes_.push_back(0.2f * uniform(random));
    sinks_.push_back(4.0f * uniform(random) - 1.0f);
  }
  for (int32_t head = 0; head < spec_.num_kv_heads; ++head) {
    key_scales_.push_back(BaseScale(spec_.cache_dtype) * (1.0f + uniform(random)));
    value_scales_.push_back(BaseScale(spec_.cache_dtype) * (1.0f + uniform(random)));
  }
  if (spec_.kv_scales == ScaleMode::kPerTensor || spec_.kv_scales == ScaleMode::kPerHead) {
    cache_.k_scale = key_scales_.data();
    cache_.v_scale = value_scales_.data();
  }
  if (SizeOf(spec_.query_dtype) == 1) query_scale_ = 0.03125f * (1.0f + uniform(random));
  if (spec_.fp8_output_scale) output_scale_ = 0.02f;

  for (int32_t s = 0; s < batch_.num_seqs; ++s) {
    causal_.push_back(random() % 2 == 0);
    for (int32_t i = 0; i < kSpans; ++i) {
      const int32_t length = std::max(1, seq_lens_[static_cast<size_t>(s)]);
      const int32_t begin = static_cast<int32_t>(random() % static_cast<unsigned>(length));
      prefix_ranges_.push_back(begin);
      prefix_ranges_.push_back(i == 2 ? begin : begin + static_cast<int32_t>(random() % 60));
    }
    // A tree: every row sees itself and some of the rows before it.
    for (int32_t row = 0; row < kBiasRows; ++row) {
      for (int32_t column = 0; column < kBiasRows; ++column) {
        const bool seen = column == row || (column < row && random() % 2 == 0);
        bias_.push_back(seen ? uniform(random) : -std::numeric_limits<float>::infinity());
      }
    }
    TESSERA_CHECK(!spec_.query_query_bias || batch_.QueryLen(s) <= kBiasRows, "a tree's size");
  }
  batch_.host.causal = causal_.data();
  batch_.host.prefix_ranges = prefix_ranges_.data();
  batch_.max_prefix_ranges = kSpans;
}

AttentionCase::Dense AttentionCase::MakeDense(int32_t keys, int32_t size, float magnitude,
                                              const std::vector<float>& head_scales,
                                              unsigned seed) const {
  // Numbers of its own, so that a sequence is the same whatever stands beside it.
  std::mt19937 numbers(seed);
  std::normal_distribution<float> normal;
  const int64_t rows = int64_t{keys} * spec_.num_kv_heads;
  Dense dense;
  dense.given.resize(static_cast<size_t>(rows * size));
  dense.rounded.resize(dense.given.size());
  dense.stored.resize(dense.given.size() * SizeOf(spec_.cache_dtype));
  for (int64_t row = 0; row < rows; ++row) {
    float* given = dense.given.data() + row * size;
    float largest = 0.0f;
    for (int32_t i = 0; i < size; ++i) {
      given[i] = normal(numbers) * magnitude;
      largest = std::max(largest, std::abs(given[i]));
    }
    float scale = 1.0f;
    if (spec_.kv_scales == ScaleMode::kPerTensor) scale = head_scales[0];
    if (spec_.kv_scales == ScaleMode::kPerHead) {
      scale = head_scales[static_cast<size_t>(row % spec_.num_kv_heads)];
    }
    if (spec_.kv_scales == ScaleMode::kPerTokenHead) scale = largest / LargestOf(spec_.cache_dtype);
    dense.scales.push_back(scale);
    for (int32_t i = 0; i < size; ++i) {
      StoreFromFloat(spec_.cache_dtype, dense.stored.data(), row * size + i, given[i] / scale);
      dense.rounded[static_cast<size_t>(row * size + i)] =
          static_cast<double>(LoadAsFloat(spec_.cache_dtype, dense.stored.data(), row * size + i)) *
          scale;
    }
  }
  return dense;
}

void AttentionCase::MakeSequence(size_t seq) {
  std::mt19937 numbers(options_.seed * 1000 + static_cast<unsigned>(seq));
  std::normal_distribution<float> normal;
  const int64_t earlier =
      int64_t{options_.sequences[seq].earlier_queries} * spec_.num_heads * spec_.head_size;
  for (int64_t i = 0; i < earlier; ++i) (void)normal(numbers);
  for (int64_t token = query_start_loc_[seq]; token < query_start_loc_[seq + 1]; ++token) {
    for (int64_t head = 0; head < spec_.num_heads; ++head) {
      for (int64_t i = 0; i < spec_.head_size; ++i) {
        StoreFromFloat(spec_.query_dtype, query_.data(),
                       token * token_stride_ + head * head_stride_ + i,
                       normal(numbers) * options_.query_size / query_scale_);
      }
    }
  }
  const auto seed = static_cast<unsigned>(numbers());
  keys_.push_back(
      MakeDense(seq_lens_[seq], spec_.head_size, 1.0f / options_.query_size, key_scales_, seed));
  values_.push_back(
      MakeDense(seq_lens_[seq], spec_.value_size(), options_.value_size, value_scales_, seed + 1));
  // The shared blocks hold the first sequence's tokens.
  const int64_t shared = int64_t{batch_.common_prefix_len} * spec_.num_kv_heads;
  const auto share = [&](Dense* dense, const Dense& first, int64_t size) {
    std::copy_n(first.given.begin(), shared * size, dense->given.begin());
    std::copy_n(first.rounded.begin(), shared * size, dense->rounded.begin());
    std::copy_n(first.stored.begin(),
                shared * size * static_cast<int64_t>(SizeOf(spec_.cache_dtype)),
                dense->stored.begin());
    std::copy_n(first.scales.begin(), shared, dense->scales.begin());
  };
  if (seq > 0) {
    share(&keys_[seq], keys_[0], spec_.head_size);
    share(&values_[seq], values_[0], spec_.value_size());
  }
  if (!options_.value_in_key) return;
  for (int64_t row = 0; row < int64_t{seq_lens_[seq]} * spec_.num_kv_heads; ++row) {
    std::copy_n(keys_[seq].rounded.begin() + row * spec_.head_size, spec_.value_size(),
                values_[seq].rounded.begin() + row * spec_.value_size());
  }
}

// NaN everywhere, then the keys that some row sees; those of new tokens only where no slot will
// bring them.
void AttentionCase::FillCache() {
  const size_t element = SizeOf(spec_.cache_dtype);
  if (memory_->bytes < kWhollyCopied) {
    for (size_t i = 0; i < memory_->bytes / element; ++i) {
      StoreFromFloat(spec_.cache_dtype, memory_->data, static_cast<int64_t>(i), kNan);
    }
  }
  // Encoders hand over their keys in the cache's type; otherwise the backend converts or quantises.
  const bool quantised = spec_.kv_scales != ScaleMode::kNone;
  new_dtype_ = quantised ? DType::kFloat32 : spec_.cache_dtype;
  const auto bytes = [&](int64_t size) {
    return static_cast<size_t>(batch_.num_tokens * spec_.num_kv_heads * size) * SizeOf(new_dtype_);
  };
  new_keys_.assign(bytes(spec_.head_size), static_cast<char>(0xff));
  new_values_.assign(bytes(spec_.value_size()), static_cast<char>(0xff));
  for (size_t s = 0; s < options_.sequences.size(); ++s) {
    const int32_t query_len = batch_.QueryLen(static_cast<int32_t>(s));
    for (int32_t key = 0; key < seq_lens_[s]; ++key) {
      bool seen = key < batch_.common_prefix_len;  // perhaps by another sequence
      for (int32_t t = 0; t < query_len && !seen; ++t) seen = Visible(s, ContextLen(s) + t, key);
      PlaceKey(s, key, seen);
    }
  }
}

void AttentionCase::PlaceKey(size_t seq, int32_t key, bool seen) {
  const bool own = spec_.type != AttentionType::kCross && key >= ContextLen(seq);
  const int64_t token = own ? query_start_loc_[seq] + key - ContextLen(seq) : -1;
  const bool arrives = own && slot_mapping_[static_cast<size_t>(token)] >= 0;
  const auto place = [&](const Dense& dense, int32_t size, int32_t head, std::vector<char>* news,
                         int64_t offset, int64_t scale_offset) {
    const int64_t row = int64_t{key} * spec_.num_kv_heads + head;
    const int64_t new_row = token * spec_.num_kv_heads + head;
    for (int32_t i = 0; i < size && own; ++i) {
      StoreFromFloat(new_dtype_, news->data(), new_row * size + i,
                     dense.given[static_cast<size_t>(row * size + i)]);
    }
    if (!paged() || arrives) return;
    for (int32_t i = 0; i < size; ++i) {
      const float stored = LoadAsFloat(spec_.cache_dtype, dense.stored.data(), row * size + i);
      StoreFromFloat(spec_.cache_dtype, cache_.data, offset + i, seen ? stored : kNan);
    }
    if (spec_.kv_scales == ScaleMode::kPerTokenHead) {
      const float scale = seen ? dense.scales[static_cast<size_t>(row)] : kNan;
      std::memcpy(static_cast<char*>(cache_.data) + scale_offset, &scale, sizeof(scale));
    }
  };
  for (int32_t head = 0; head < spec_.num_kv_heads; ++head) {
    int64_t offset = 0;
    if (paged()) {
      const int64_t block = block_table_[seq * static_cast<size_t>(batch_.block_table_stride) +
                                         static_cast<size_t>(key / cache_.block_size)];
      offset = cache_.KOffset(block, head, key % cache_.block_size);
    }
    place(keys_[seq], spec_.head_size, head, &new_keys_, offset, offset + cache_.k_scale_offset);
    if (options_.value_in_key) continue;
    place(values_[seq], spec_.value_size(), head, &new_values_, offset + cache_.v_offset,
          offset + cache_.v_scale_offset);
  }
}

AttentionBatch AttentionCase::CopyBatch(DeviceArrays* arrays) const {
  AttentionBatch batch = batch_;
  batch.device = {.query_start_loc = arrays->Copy(query_start_loc_),
                  .seq_lens = arrays->Copy(seq_lens_),
                  .block_table = arrays->Copy(block_table_),
                  .slot_mapping = arrays->Copy(slot_mapping_),
                  .causal = arrays->Copy(causal_),
                  .prefix_ranges = arrays->Copy(prefix_ranges_)};
  return batch;
}

KvCache AttentionCase::CopyCache(DeviceArrays* arrays) const {
  KvCache cache = cache_;
  const int64_t element = static_cast<int64_t>(SizeOf(spec_.cache_dtype));
  char* const copy = static_cast<char*>(arrays->Allocate(cache_elements_ * element));
  const char* const memory = static_cast<const char*>(memory_->data);
  cache.data = copy + (static_cast<const char*>(cache_.data) - memory);
  cache.k_scale = cache_.k_scale != nullptr ? arrays->Copy(key_scales_) : nullptr;
  cache.v_scale = cache_.v_scale != nullptr ? arrays->Copy(value_scales_) : nullptr;
  if (memory_->bytes < kWhollyCopied) {
    arrays->stream().Copy(copy, memory, cache_elements_ * element);
    return cache;
  }
  // Blocks alone, without the padding between them, whose pages do not exist.
  const int64_t block = (cache_.block_stride - options_.block_padding) * element;
  for (int64_t b = 0; b < cache_.num_blocks; ++b) {
    const int64_t offset = b * cache_.block_stride * element;
    arrays->stream().Copy(copy + offset, memory + offset, block);
  }
  return cache;
}

// Runs the case with all its arrays on the device, and reads the results back.
Status AttentionCase::RunOn(Backend* backend, const CaseRun& run, DeviceArrays* arrays) {
  // One access for all copies: opening and closing a fence takes longer than they do.
  std::optional<HostAccess> filling(std::in_place, arrays->stream());
  const AttentionBatch batch = CopyBatch(arrays);
  const KvCache cache = CopyCache(arrays);
  const int64_t key_size = int64_t{spec_.num_kv_heads} * spec_.head_size;
  const int64_t value_size = int64_t{spec_.num_kv_heads} * spec_.value_size();
  const WriteKvArgs written{.key = arrays->Copy(new_keys_),
                            .value = arrays->Copy(new_values_),
                            .dtype = new_dtype_,
                            .key_token_stride = key_size,
                            .key_head_stride = spec_.head_size,
                            .value_token_stride = value_size,
                            .value_head_stride = spec_.value_size()};
  const RunArgs args{.query = arrays->Copy(query_),
                     .query_token_stride = token_stride_,
                     .query_head_stride = head_stride_,
                     .output = arrays->Copy(output_),
                     .output_token_stride = out_token_stride_,
                     .output_head_stride = out_head_stride_,
                     .lse = arrays->Copy(lse_),
                     .alibi_slopes = arrays->Copy(slopes_),
                     .sinks = arrays->Copy(sinks_),
                     .query_query_bias = arrays->Copy(bias_),
                     .bias_seq_stride = kBiasRows * kBiasRows,
                     .bias_row_stride = kBiasRows,
                     .query_scale = query_scale_,
                     .output_scale = output_scale_,
                     .key = written.key,
                     .value = written.value,
                     .key_token_stride = key_size,
                     .key_head_stride = spec_.head_size,
                     .value_token_stride = value_size,
                     .value_head_stride = spec_.value_size()};
  filling.reset();
  std::unique_ptr<AttentionPlan> own;
  AttentionPlan* plan = run.plan;
  if (plan == nullptr) {
    TESSERA_ASSIGN_OR_RETURN(own, backend->NewPlan(spec_, {.max_seqs = batch_.num_seqs,
                                                           .max_tokens = batch_.num_tokens,
                                                           .phases = run.phases}));
    plan = own.get();
  }
  Stream& stream = arrays->stream();
  TESSERA_RETURN_IF_ERROR(backend->Prepare(plan, batch, stream));
  if (spec_.type == AttentionType::kDecoder) {
    TESSERA_RETURN_IF_ERROR(backend->WriteKv(*plan, batch, written, cache, stream));
  }
  TESSERA_RETURN_IF_ERROR(backend->Run(plan, batch, cache, args, stream));
  TESSERA_RETURN_IF_ERROR(stream.Synchronize());
  arrays->Read(args.output, &output_);
  arrays->Read(args.lse, &lse_);
  return {};
}

std::vector<float> AttentionCase::Run(Backend* backend, const CaseRun& run) {
  output_.assign(
      static_cast<size_t>(batch_.num_tokens * out_token_stride_ + 1) * SizeOf(spec_.output_dtype),
      static_cast<char>(0xff));
  lse_.assign(static_cast<size_t>(int64_t{batch_.num_tokens} * spec_.num_heads), kUntouchedLse);
  DeviceArrays arrays(run.device);
  const Status status = RunOn(backend, run, &arrays);
  TESSERA_CHECK(status.ok(), status.ok() ? "" : status.error().message);
  std::vector<float> result;
  for (int64_t token = 0; token < query_start_loc_.back(); ++token) {
    for (int64_t head = 0; head < spec_.num_heads; ++head) {
      for (int64_t i = 0; i < spec_.value_size(); ++i) {
        result.push_back(LoadAsFloat(spec_.output_dtype, output_.data(),
                                     token * out_token_stride_ + head * out_head_stride_ + i) *
                         output_scale_);
      }
    }
  }
  return result;
}

// By token, whether a plan for these phases computes its rows.
std::vector<uint8_t> AttentionCase::ComputedTokens(Phases phases) const {
  std::vector<uint8_t> computed(static_cast<size_t>(batch_.num_tokens), 0);
  for (int32_t seq = 0; seq < batch_.num_seqs; ++seq) {
    const auto begin = computed.begin() + query_start_loc_[static_cast<size_t>(seq)];
    std::fill_n(begin, batch_.QueryLen(seq), Includes(phases, batch_.QueryLen(seq)));
  }
  return computed;
}

AttentionCase::Errors AttentionCase::Check(Backend* backend, const CaseRun& run, double atol,
                                           double rtol) {
  const std::vector<float> got = Run(backend, run);
  const std::vector<uint8_t> computed = ComputedTokens(run.phases);
  const size_t heads = static_cast<size_t>(spec_.num_heads);
  const size_t row = heads * static_cast<size_t>(spec_.value_size());
  Errors errors;
  for (size_t i = 0; i < got.size(); ++i) {
    if (computed[i / row] == 0) continue;
    const double difference = std::abs(static_cast<double>(got[i]) - want_[i]);
    const double relative = difference / (atol + rtol * std::abs(want_[i]));
    if (!(relative <= errors.output)) errors.output = relative;  // NaN stays
    if (!(difference <= errors.worst_absolute)) errors.worst_absolute = difference;
    if (std::isnan(difference)) {
      errors.problem = "NaN in the output at element " + std::to_string(i);
      return errors;
    }
  }
  for (size_t i = 0; i < want_lse_.size(); ++i) {
    if (computed[i / heads] == 0) continue;
    if (want_lse_[i] == -INFINITY || lse_[i] == -INFINITY) {
      if (static_cast<double>(lse_[i]) != want_lse_[i]) {
        errors.problem = "lse of a row without keys, or -infinity for one with keys";
      }
      continue;
    }
    const double difference = std::abs(lse_[i] - want_lse_[i]);
    if (!(difference <= errors.lse)) errors.lse = difference;
  }
  CheckUntouched(run.phases, &errors);
  return errors;
}

// Padding between heads, rows of other phases and rows past the last request stay as they were.
void AttentionCase::CheckUntouched(Phases phases, Errors* errors) const {
  const std::vector<uint8_t> computed = ComputedTokens(phases);
  const size_t element = SizeOf(spec_.output_dtype);
  for (int64_t i = 0; i < batch_.num_tokens * out_token_stride_; ++i) {
    const int64_t in_token = i % out_token_stride_;
    const bool used = computed[static_cast<size_t>(i / out_token_stride_)] != 0 &&
                      in_token / out_head_stride_ < spec_.num_heads &&
                      in_token % out_head_stride_ < spec_.value_size();
    if (used) continue;
    for (size_t b = 0; b < element; ++b) {
      if (output_[static_cast<size_t>(i) * element + b] != static_cast<char>(0xff)) {
        errors->problem = "wrote outside its rows, at element " + std::to_string(i);
      }
    }
  }
  for (size_t i = 0; i < lse_.size(); ++i) {
    if (computed[i / static_cast<size_t>(spec_.num_heads)] == 0 && lse_[i] != kUntouchedLse) {
      errors->problem = "wrote the lse of another row, at element " + std::to_string(i);
    }
  }
}

}  // namespace tessera::testing
