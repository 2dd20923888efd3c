#include "attention/testing/attention_case.h"

#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>

namespace tessera::testing {

namespace {

double Rounded(DType dtype, float value) {
  char bytes[4];
  StoreFromFloat(dtype, bytes, 0, value);
  return LoadAsFloat(dtype, bytes, 0);
}

}  // namespace

// Address space without pages behind it until they are touched: caches of many gigabytes cost
// nothing.
struct AttentionCase::Memory {
  explicit Memory(size_t n) : bytes(n) {
    data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                -1, 0);
    TESSERA_CHECK(data != MAP_FAILED, "mmap of a test cache");
  }
  ~Memory() { munmap(data, bytes); }
  void* data;
  size_t bytes;
};

std::string ToString(const CaseOptions& options) {
  std::string text = ToString(options.spec) + ", output " +
                     tessera::ToString(options.spec.output_dtype) + ", blocks of " +
                     std::to_string(options.block_size) +
                     (options.order == KvOrder::kBlockTokenHead ? " NHD" : " HND") +
                     (options.separate_planes ? " planes" : "") +
                     (options.spec.batch_invariant ? " invariant" : "") + ", seed " +
                     std::to_string(options.seed) + ", query/seq";
  for (const Sequence& s : options.sequences) {
    text += " " + std::to_string(s.query_len) + "/" + std::to_string(s.seq_len);
  }
  return text;
}

AttentionCase::AttentionCase(const CaseOptions& options) : options_(options), spec_(options.spec) {
  std::mt19937 random(options.seed);
  int64_t pages = 0;
  int32_t tokens = 0;
  int64_t widest = 1;
  query_start_loc_.push_back(0);
  for (const Sequence& s : options.sequences) {
    tokens += s.query_len;
    query_start_loc_.push_back(tokens);
    seq_lens_.push_back(s.seq_len);
    const int64_t n = (s.seq_len + options.block_size - 1) / options.block_size;
    pages += n;
    widest = std::max(widest, n + 2);
    batch_.max_query_len = std::max(batch_.max_query_len, s.query_len);
    batch_.max_seq_len = std::max(batch_.max_seq_len, s.seq_len);
  }
  const int64_t num_blocks = pages + 3;
  std::vector<int32_t> ids(static_cast<size_t>(num_blocks));
  std::iota(ids.begin(), ids.end(), 0);
  if (options.scattered_blocks) std::shuffle(ids.begin(), ids.end(), random);
  // What lies past a sequence's blocks is garbage that no kernel may follow.
  block_table_.assign(static_cast<size_t>(widest) * options.sequences.size(), -559038737);
  size_t next = 0;
  slot_mapping_.assign(static_cast<size_t>(tokens + options.padded_tokens), -1);
  for (size_t s = 0; s < options.sequences.size(); ++s) {
    const Sequence& sequence = options.sequences[s];
    const int32_t n = (sequence.seq_len + options.block_size - 1) / options.block_size;
    for (int32_t p = 0; p < n; ++p)
      block_table_[s * static_cast<size_t>(widest) + static_cast<size_t>(p)] = ids[next++];
    for (int32_t t = 0; t < sequence.query_len; ++t) {
      if (options.skip_every > 0 && t % options.skip_every == 0) continue;
      const int32_t position = sequence.seq_len - sequence.query_len + t;
      slot_mapping_[static_cast<size_t>(query_start_loc_[s] + t)] =
          int64_t{block_table_[s * static_cast<size_t>(widest) +
                               static_cast<size_t>(position / options.block_size)]} *
              options.block_size +
          position % options.block_size;
    }
  }
  batch_.num_seqs = static_cast<int32_t>(options.sequences.size());
  batch_.num_tokens = tokens + options.padded_tokens;
  batch_.query_start_loc = query_start_loc_.data();
  batch_.seq_lens = seq_lens_.data();
  batch_.block_table = block_table_.data();
  batch_.block_table_stride = widest;
  batch_.slot_mapping = slot_mapping_.data();

  const KvCacheShape shape{.num_blocks = num_blocks,
                           .block_size = options.block_size,
                           .num_kv_heads = spec_.num_kv_heads,
                           .head_size = spec_.head_size,
                           .head_size_v = spec_.value_size(),
                           .order = options.order};
  cache_ = MakeKvCache(shape, spec_.cache_dtype, nullptr);
  cache_.block_stride += options.block_padding;
  int64_t elements = num_blocks * cache_.block_stride;
  if (options.separate_planes) {
    cache_.v_offset = elements;
    elements *= 2;
  }
  memory_ = std::make_unique<Memory>(static_cast<size_t>(elements) * SizeOf(spec_.cache_dtype));
  cache_.data = memory_->data;

  head_stride_ = spec_.head_size + options.query_padding;
  token_stride_ = spec_.num_heads * head_stride_ + 3 * options.query_padding;
  out_head_stride_ = spec_.value_size() + options.query_padding;
  out_token_stride_ = spec_.num_heads * out_head_stride_ + 3 * options.query_padding;
  query_.resize(static_cast<size_t>(batch_.num_tokens * token_stride_ + 1) *
                SizeOf(spec_.query_dtype));
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (int64_t i = 0; i < batch_.num_tokens * token_stride_; ++i) {
    StoreFromFloat(spec_.query_dtype, query_.data(), i, nan);
  }
  dense_keys_.resize(options.sequences.size());
  dense_values_.resize(options.sequences.size());
  for (size_t s = 0; s < options.sequences.size(); ++s) {
    // Numbers of its own, so that a sequence is the same whatever stands beside it.
    std::mt19937 numbers(options.seed * 1000 + static_cast<unsigned>(s));
    std::normal_distribution<float> normal;
    for (int64_t token = query_start_loc_[s]; token < query_start_loc_[s + 1]; ++token) {
      for (int64_t head = 0; head < spec_.num_heads; ++head) {
        for (int64_t i = 0; i < spec_.head_size; ++i) {
          StoreFromFloat(spec_.query_dtype, query_.data(),
                         token * token_stride_ + head * head_stride_ + i, normal(numbers));
        }
      }
    }
    const size_t n = static_cast<size_t>(seq_lens_[s]) * static_cast<size_t>(spec_.num_kv_heads);
    dense_keys_[s].resize(n * static_cast<size_t>(spec_.head_size));
    dense_values_[s].resize(n * static_cast<size_t>(spec_.value_size()));
    for (double& x : dense_keys_[s]) x = Rounded(spec_.cache_dtype, normal(numbers));
    for (double& x : dense_values_[s]) x = Rounded(spec_.cache_dtype, normal(numbers));
  }
  FillCache();
  MakeExpectation();
}

AttentionCase::~AttentionCase() = default;

bool AttentionCase::Visible(int32_t query_position, int32_t key, int32_t seq_len) const {
  if (key < 0 || key >= seq_len) return false;
  if (spec_.causality == Causality::kCausal && key > query_position) return false;
  if (spec_.window_left >= 0 && query_position - key > spec_.window_left) return false;
  if (spec_.window_right >= 0 && key - query_position > spec_.window_right) return false;
  return true;
}

// NaN everywhere, then the keys that some row sees; those of new tokens only where no slot will
// bring them.
void AttentionCase::FillCache() {
  const size_t element = SizeOf(spec_.cache_dtype);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  if (memory_->bytes < (size_t{64} << 20)) {
    for (size_t i = 0; i < memory_->bytes / element; ++i) {
      StoreFromFloat(spec_.cache_dtype, memory_->data, static_cast<int64_t>(i), nan);
    }
  }
  const int64_t key_size = int64_t{spec_.num_kv_heads} * spec_.head_size;
  const int64_t value_size = int64_t{spec_.num_kv_heads} * spec_.value_size();
  new_keys_.assign(static_cast<size_t>(batch_.num_tokens * key_size) * element,
                   static_cast<char>(0xff));
  new_values_.assign(static_cast<size_t>(batch_.num_tokens * value_size) * element,
                     static_cast<char>(0xff));
  for (int32_t s = 0; s < batch_.num_seqs; ++s) {
    const int32_t query_len = batch_.QueryLen(s);
    const int32_t context_len = seq_lens_[static_cast<size_t>(s)] - query_len;
    const auto& keys = dense_keys_[static_cast<size_t>(s)];
    const auto& values = dense_values_[static_cast<size_t>(s)];
    for (int32_t key = 0; key < seq_lens_[static_cast<size_t>(s)]; ++key) {
      bool seen = false;
      for (int32_t t = 0; t < query_len && !seen; ++t) {
        seen = Visible(context_len + t, key, seq_lens_[static_cast<size_t>(s)]);
      }
      const int64_t token =
          key >= context_len ? query_start_loc_[static_cast<size_t>(s)] + key - context_len : -1;
      const bool arrives = token >= 0 && slot_mapping_[static_cast<size_t>(token)] >= 0;
      const int64_t block = block_table_[static_cast<size_t>(s * batch_.block_table_stride +
                                                             key / cache_.block_size)];
      for (int32_t head = 0; head < spec_.num_kv_heads; ++head) {
        const int64_t place = cache_.KOffset(block, head, key % cache_.block_size);
        for (int32_t i = 0; i < spec_.head_size; ++i) {
          const float x = static_cast<float>(keys[static_cast<size_t>(
              (int64_t{key} * spec_.num_kv_heads + head) * spec_.head_size + i)]);
          if (token >= 0)
            StoreFromFloat(spec_.cache_dtype, new_keys_.data(),
                           token * key_size + head * spec_.head_size + i, x);
          if (!arrives) StoreFromFloat(spec_.cache_dtype, cache_.data, place + i, seen ? x : nan);
        }
        for (int32_t i = 0; i < spec_.value_size(); ++i) {
          const float x = static_cast<float>(values[static_cast<size_t>(
              (int64_t{key} * spec_.num_kv_heads + head) * spec_.value_size() + i)]);
          if (token >= 0)
            StoreFromFloat(spec_.cache_dtype, new_values_.data(),
                           token * value_size + head * spec_.value_size() + i, x);
          if (!arrives)
            StoreFromFloat(spec_.cache_dtype, cache_.data, place + cache_.v_offset + i,
                           seen ? x : nan);
        }
      }
    }
  }
}

void AttentionCase::MakeExpectation() {
  const int32_t value_size = spec_.value_size();
  want_.assign(static_cast<size_t>(int64_t{query_start_loc_.back()} * spec_.num_heads * value_size),
               0.0);
  want_lse_.assign(static_cast<size_t>(int64_t{query_start_loc_.back()} * spec_.num_heads),
                   -INFINITY);
  for (int32_t s = 0; s < batch_.num_seqs; ++s) {
    const int32_t seq_len = seq_lens_[static_cast<size_t>(s)];
    const int32_t context_len = seq_len - batch_.QueryLen(s);
    const double* keys = dense_keys_[static_cast<size_t>(s)].data();
    const double* values = dense_values_[static_cast<size_t>(s)].data();
    for (int32_t t = 0; t < batch_.QueryLen(s); ++t) {
      for (int32_t head = 0; head < spec_.num_heads; ++head) {
        const int32_t kv_head = head / (spec_.num_heads / spec_.num_kv_heads);
        const int64_t row = query_start_loc_[static_cast<size_t>(s)] + t;
        std::vector<double> q(static_cast<size_t>(spec_.head_size));
        for (int32_t i = 0; i < spec_.head_size; ++i) {
          q[static_cast<size_t>(i)] = LoadAsFloat(spec_.query_dtype, query_.data(),
                                                  row * token_stride_ + head * head_stride_ + i);
        }
        std::vector<double> score(static_cast<size_t>(seq_len), -INFINITY);
        double maximum = -INFINITY;
        for (int32_t key = 0; key < seq_len; ++key) {
          if (!Visible(context_len + t, key, seq_len)) continue;
          const double* k = keys + (int64_t{key} * spec_.num_kv_heads + kv_head) * spec_.head_size;
          double dot = 0;
          for (int32_t i = 0; i < spec_.head_size; ++i) dot += q[static_cast<size_t>(i)] * k[i];
          dot *= spec_.scale != 0.0f ? spec_.scale
                                     : 1.0 / std::sqrt(static_cast<double>(spec_.head_size));
          if (spec_.soft_cap > 0.0f) dot = spec_.soft_cap * std::tanh(dot / spec_.soft_cap);
          score[static_cast<size_t>(key)] = dot;
          maximum = std::max(maximum, dot);
        }
        if (maximum == -INFINITY) continue;
        double sum = 0;
        double* out = want_.data() + (row * spec_.num_heads + head) * value_size;
        for (int32_t key = 0; key < seq_len; ++key) {
          if (score[static_cast<size_t>(key)] == -INFINITY) continue;
          const double p = std::exp(score[static_cast<size_t>(key)] - maximum);
          sum += p;
          const double* v = values + (int64_t{key} * spec_.num_kv_heads + kv_head) * value_size;
          for (int32_t i = 0; i < value_size; ++i) out[i] += p * v[i];
        }
        for (int32_t i = 0; i < value_size; ++i) out[i] /= sum;
        want_lse_[static_cast<size_t>(row * spec_.num_heads + head)] = maximum + std::log(sum);
      }
    }
  }
}

std::vector<float> AttentionCase::Run(Backend* backend) {
  const size_t element = SizeOf(spec_.output_dtype);
  output_.assign(static_cast<size_t>(batch_.num_tokens * out_token_stride_ + 1) * element,
                 static_cast<char>(0xff));
  lse_.assign(static_cast<size_t>(int64_t{batch_.num_tokens} * spec_.num_heads), 12345.0f);
  const int64_t key_size = int64_t{spec_.num_kv_heads} * spec_.head_size;
  const int64_t value_size = int64_t{spec_.num_kv_heads} * spec_.value_size();
  backend->WriteKv(spec_, batch_,
                   {.key = new_keys_.data(),
                    .value = new_values_.data(),
                    .dtype = spec_.cache_dtype,
                    .key_token_stride = key_size,
                    .key_head_stride = spec_.head_size,
                    .value_token_stride = value_size,
                    .value_head_stride = spec_.value_size()},
                   cache_);
  auto plan = backend->Plan(spec_, batch_, nullptr);
  backend->Run(*plan, spec_, batch_, cache_,
               {.query = query_.data(),
                .query_token_stride = token_stride_,
                .query_head_stride = head_stride_,
                .output = output_.data(),
                .output_token_stride = out_token_stride_,
                .output_head_stride = out_head_stride_,
                .lse = lse_.data()});
  std::vector<float> result;
  for (int64_t token = 0; token < query_start_loc_.back(); ++token) {
    for (int64_t head = 0; head < spec_.num_heads; ++head) {
      for (int64_t i = 0; i < spec_.value_size(); ++i) {
        result.push_back(LoadAsFloat(spec_.output_dtype, output_.data(),
                                     token * out_token_stride_ + head * out_head_stride_ + i));
      }
    }
  }
  return result;
}

AttentionCase::Errors AttentionCase::Check(Backend* backend, double atol, double rtol) {
  const std::vector<float> got = Run(backend);
  Errors errors;
  for (size_t i = 0; i < got.size(); ++i) {
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
    if (want_lse_[i] == -INFINITY || lse_[i] == -INFINITY) {
      if (static_cast<double>(lse_[i]) != want_lse_[i])
        errors.problem = "lse of a row without keys, or -infinity for one with keys";
      continue;
    }
    const double difference = std::abs(lse_[i] - want_lse_[i]);
    if (!(difference <= errors.lse)) errors.lse = difference;
  }
  // Padding between heads and rows past the last request stay untouched.
  const size_t element = SizeOf(spec_.output_dtype);
  for (int64_t i = 0; i < batch_.num_tokens * out_token_stride_; ++i) {
    const int64_t in_token = i % out_token_stride_;
    const bool used = i / out_token_stride_ < query_start_loc_.back() &&
                      in_token / out_head_stride_ < spec_.num_heads &&
                      in_token % out_head_stride_ < spec_.value_size();
    if (used) continue;
    for (size_t b = 0; b < element; ++b) {
      if (output_[static_cast<size_t>(i) * element + b] != static_cast<char>(0xff)) {
        errors.problem = "wrote outside its rows, at element " + std::to_string(i);
      }
    }
  }
  return errors;
}

}  // namespace tessera::testing
