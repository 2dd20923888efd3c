#include "engine/testing/fake_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <new>
#include <utility>

namespace tessera::testing {
namespace {

uint64_t Mix(uint64_t x) {
  x = (x ^ (x >> 31)) * 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 29)) * 0xbf58476d1ce4e5b9u;
  return x ^ (x >> 32);
}

uint64_t Hash(std::span<const int32_t> context) {
  uint64_t hash = 1;
  for (const int32_t token : context) hash = Mix(hash + static_cast<uint64_t>(token) + 1);
  return hash;
}

float LogitOf(uint64_t context_hash, int32_t token) {
  if (token >= kFailToken && token <= kMemoryToken) return -20;  // prompts only
  const uint64_t bits = Mix(context_hash ^ (static_cast<uint64_t>(token) + 12345));
  return static_cast<float>(bits >> 40) / static_cast<float>(1 << 20) - 8.0f;
}

void RaiseTo(std::atomic<int64_t>* maximum, int64_t value) {
  if (value > maximum->load()) maximum->store(value);
}

class FakePlan : public AttentionPlan {
 public:
  explicit FakePlan(const AttentionSpec& spec) : window(spec.window_left) {}
  const int32_t window;
};

class FakeBackend : public Backend {
 public:
  explicit FakeBackend(FakeCounters* counters) : counters_(counters) {}

  std::string Name() const override { return "fake"; }
  Support Probe(const DeviceInfo&) const override { return {}; }
  Support Supports(const AttentionSpec&, int32_t) const override { return {}; }
  std::unique_ptr<AttentionPlan> Plan(const AttentionSpec& spec, const AttentionBatch&,
                                      std::unique_ptr<AttentionPlan>) override {
    ++counters_->plans;
    return std::make_unique<FakePlan>(spec);
  }
  void WriteKv(const AttentionSpec&, const AttentionBatch&, const WriteKvArgs&,
               const KvCache&) override {}
  void Run(const AttentionPlan&, const AttentionSpec&, const AttentionBatch&, const KvCache&,
           const RunArgs&) override {}
  void CopyBlocks(const AttentionSpec&, const KvCache&, const std::vector<BlockPair>&) override {}
  void SwapBlocks(const AttentionSpec&, const KvCache&, const KvCache&,
                  const std::vector<BlockPair>&) override {}

 private:
  FakeCounters* const counters_;
};

class FakeModel : public Model {
 public:
  FakeModel(const FakeModelOptions& options, FakeCounters* counters, ThreadPool* threads)
      : counters_(counters), threads_(threads) {
    config_.vocab_size = options.vocab_size;
    config_.num_layers = options.num_layers;
    config_.max_position_embeddings = options.max_model_len;
    config_.eos_token_ids = options.eos_token_ids;
    AttentionSpec spec;
    spec.num_heads = 2;
    spec.num_kv_heads = 2;
    spec.head_size = 2;
    spec.head_size_v = 3;
    spec.cache_dtype = DType::kFloat32;
    spec.batch_invariant = options.batch_invariant;
    specs_.assign(static_cast<size_t>(options.num_layers), spec);
    specs_.back().window_left = 1000;
  }

  const ModelConfig& config() const override { return config_; }
  const std::vector<AttentionSpec>& layer_specs() const override { return specs_; }
  int64_t weight_bytes() const override { return 0; }

  Status Forward(const ForwardBatch& batch, float* logits) override {
    const AttentionBatch& attention = batch.attention;
    ++counters_->steps;
    RaiseTo(&counters_->max_rows, attention.num_tokens);
    RaiseTo(&counters_->max_sequences, attention.num_seqs);
    CheckBatch(batch);
    for (const int32_t token : batch.token_ids) {
      if (token == kFailToken) return Internal("The fake model failed as it was told to.");
      if (token == kMemoryToken) {
        threads_->ParallelFor(8, [](int64_t, int) { throw std::bad_alloc(); });
      }
    }
    for (size_t layer = 0; layer < batch.layers.size(); ++layer) Write(batch, layer);
    size_t next = 0;
    for (int32_t s = 0; s < attention.num_seqs; ++s) {
      for (int32_t row = attention.query_start_loc[s]; row < attention.query_start_loc[s + 1];
           ++row) {
        if (next == batch.logit_rows.size() || batch.logit_rows[next] != row) continue;
        const std::span<float> out(logits + static_cast<int64_t>(next) * config_.vocab_size,
                                   static_cast<size_t>(config_.vocab_size));
        MakeLogits(batch, s, row, out);
        ++next;
      }
    }
    TESSERA_CHECK(next == batch.logit_rows.size(), "logit rows are not ascending");
    return {};
  }

 private:
  void CheckBatch(const ForwardBatch& batch) const {
    const AttentionBatch& a = batch.attention;
    TESSERA_CHECK(static_cast<size_t>(a.num_tokens) == batch.token_ids.size() &&
                  batch.token_ids.size() == batch.positions.size());
    TESSERA_CHECK(batch.layers.size() == specs_.size());
    TESSERA_CHECK(a.query_start_loc[0] == 0 && a.query_start_loc[a.num_seqs] == a.num_tokens);
    for (size_t i = 0; i < batch.layers.size(); ++i) {
      const auto* plan = dynamic_cast<const FakePlan*>(batch.layers[i].plan);
      TESSERA_CHECK(plan != nullptr && plan->window == specs_[i].window_left);
      TESSERA_CHECK(batch.layers[i].spec->window_left == specs_[i].window_left);
    }
    for (int32_t s = 0; s < a.num_seqs; ++s) {
      TESSERA_CHECK(a.QueryLen(s) > 0 && a.QueryLen(s) <= a.max_query_len);
      TESSERA_CHECK(a.seq_lens[s] <= a.max_seq_len);
      for (int32_t i = 0; i < a.QueryLen(s); ++i) {
        const int32_t row = a.query_start_loc[s] + i;
        TESSERA_CHECK(batch.positions[static_cast<size_t>(row)] ==
                      a.seq_lens[s] - a.QueryLen(s) + i);
      }
    }
  }

  // A token's key in the first head is its id, marked with its layer; everything else is NaN.
  static void Write(const ForwardBatch& batch, size_t layer) {
    const KvCache& cache = batch.layers[layer].cache;
    float* data = static_cast<float*>(cache.data);
    for (size_t row = 0; row < batch.token_ids.size(); ++row) {
      const int64_t slot = batch.attention.slot_mapping[row];
      TESSERA_CHECK(slot >= 0 && slot < cache.num_blocks * cache.block_size);
      const int64_t block = slot / cache.block_size;
      const int64_t token = slot % cache.block_size;
      for (int64_t head = 0; head < 2; ++head) {
        float* key = data + cache.KOffset(block, head, token);
        std::fill_n(key, 2, std::numeric_limits<float>::quiet_NaN());
        std::fill_n(key + cache.v_offset, 3, std::numeric_limits<float>::quiet_NaN());
      }
      data[cache.KOffset(block, 0, token)] =
          static_cast<float>(batch.token_ids[row] + 1000 * static_cast<int32_t>(layer));
    }
  }

  void MakeLogits(const ForwardBatch& batch, int32_t seq, int32_t row, std::span<float> out) const {
    const AttentionBatch& attention = batch.attention;
    const int32_t position = batch.positions[static_cast<size_t>(row)];
    std::vector<int32_t> context;
    for (int32_t p = 0; p <= position; ++p) {
      const size_t layer = static_cast<size_t>(p) % batch.layers.size();
      const KvCache& cache = batch.layers[layer].cache;
      const int32_t block =
          attention.block_table[seq * attention.block_table_stride + p / cache.block_size];
      const float stored =
          static_cast<const float*>(cache.data)[cache.KOffset(block, 0, p % cache.block_size)];
      const bool plausible = stored >= 0 && stored < 1e6f;
      context.push_back((plausible ? static_cast<int32_t>(stored) : -1) -
                        1000 * static_cast<int32_t>(layer));
    }
    const uint64_t hash = Hash(context);
    for (size_t v = 0; v < out.size(); ++v) {
      out[v] = context.back() == kNanToken ? std::numeric_limits<float>::quiet_NaN()
                                           : LogitOf(hash, static_cast<int32_t>(v));
    }
  }

  FakeCounters* const counters_;
  ThreadPool* const threads_;
  ModelConfig config_;
  std::vector<AttentionSpec> specs_;
};

}  // namespace

std::vector<float> FakeLogits(std::span<const int32_t> context, int64_t vocab_size) {
  const uint64_t hash = Hash(context);
  std::vector<float> logits;
  for (int32_t v = 0; v < vocab_size; ++v) logits.push_back(LogitOf(hash, v));
  return logits;
}

int32_t FakeNextToken(std::span<const int32_t> context, int64_t vocab_size) {
  const std::vector<float> logits = FakeLogits(context, vocab_size);
  return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

EngineParts MakeFakeParts(const FakeModelOptions& options, FakeCounters* counters) {
  EngineParts parts;
  ThreadPool::Options threads;
  threads.num_threads = 2;
  threads.pin = false;
  parts.threads = std::make_unique<ThreadPool>(threads);
  parts.model = std::make_unique<FakeModel>(options, counters, parts.threads.get());
  parts.groups = GroupLayers(parts.model->layer_specs());
  for (size_t i = 0; i < parts.groups.specs.size(); ++i) {
    Selection selection;
    selection.backend = std::make_unique<FakeBackend>(counters);
    parts.selections.push_back(std::move(selection));
  }
  return parts;
}

EngineOptions SmallOptions() {
  EngineOptions options;
  options.block_size = 4;
  options.max_batch_tokens = 32;
  options.max_running = 8;
  return options;
}

std::unique_ptr<Engine> MakeFakeEngine(const EngineOptions& options, FakeCounters* counters,
                                       const FakeModelOptions& model) {
  auto engine = Engine::Create(options, MakeFakeParts(model, counters));
  EXPECT_TRUE(engine.ok()) << engine.error().message;
  return std::move(engine).value();
}

}  // namespace tessera::testing
