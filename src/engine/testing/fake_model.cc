#include "engine/testing/fake_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <limits>
#include <new>
#include <utility>

#include "device/cpu/cpu_device.h"
#include "device/gpu/emulator/simt_emulator.h"
#include "device/gpu/gpu_device.h"
#include "device/gpu/simt_device.h"
#include "ops/cpu/cpu_ops.h"
#include "ops/gpu/gpu_ops.h"

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
  using AttentionPlan::AttentionPlan;
};

class FakeBackend : public Backend {
 public:
  explicit FakeBackend(FakeCounters* counters) : counters_(counters) {}

  std::string Name() const override { return "fake"; }
  Support Supports(const AttentionSpec&, int32_t) const override { return {}; }
  Result<std::unique_ptr<AttentionPlan>> NewPlan(const AttentionSpec& spec,
                                                 const PlanCapacity&) override {
    return std::unique_ptr<AttentionPlan>(std::make_unique<FakePlan>(spec));
  }
  Status Prepare(AttentionPlan*, const AttentionBatch&, Stream&) override {
    ++counters_->plans;
    return {};
  }
  Status WriteKv(const AttentionPlan&, const AttentionBatch&, const WriteKvArgs&, const KvCache&,
                 Stream&) override {
    return {};
  }
  Status Run(AttentionPlan*, const AttentionBatch&, const KvCache&, const RunArgs&,
             Stream&) override {
    return {};
  }

 private:
  FakeCounters* const counters_;
};

class LossyStream final : public CpuStream {
 public:
  explicit LossyStream(const std::atomic<bool>* lost) : lost_(*lost) {}
  Status Synchronize() override {
    if (lost_) return Internal("the fake device was lost");
    return {};
  }

 private:
  const std::atomic<bool>& lost_;
};

class FakeModel : public Model {
 public:
  FakeModel(const FakeModelOptions& options, FakeCounters* counters, ThreadPool* threads,
            Stream* stream)
      : counters_(counters), threads_(threads), stream_(*stream) {
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

  Status Prepare(int64_t max_seq_len) override {
    TESSERA_CHECK(max_seq_len <= config_.max_position_embeddings + kMaxSpeculativeTokens);
    return {};
  }

  Status Forward(const ForwardBatch& batch) override {
    ++counters_->steps;
    RaiseTo(&counters_->max_rows, batch.attention.num_tokens);
    CheckBatch(batch);
    if (kernel_ == nullptr) {
      const HostAccess access(stream_);
      CheckDevice(batch);
      for (const int32_t token : Tokens(batch)) {
        if (token == kFailToken) return Internal("The fake model failed as the test asked.");
        if (token == kMemoryToken) {
          threads_->ParallelFor(8, [](int64_t, int) { throw std::bad_alloc(); });
        }
      }
      Compute(batch);
      return {};
    }
    // A recording is replayed with the same one, until the model ends.
    queued_.push_back({this, batch, {batch.layers.begin(), batch.layers.end()}});
    queued_.back().batch.layers = queued_.back().layers;
    static_cast<GpuStream&>(stream_).Launch(*kernel_, {.threads = 32}, QueuedArgs{&queued_.back()});
    return {};
  }

  // Forward() queues its work on an emulated GPU.
  Status QueueOn(GpuDevice* device) {
    static constexpr HostKernel kFunctions[] = {
        {"fake_forward", [](const void* args) {
           if (simt::emulator::Thread() != 0) return;
           const Queued& queued = *static_cast<const QueuedArgs*>(args)->queued;
           queued.model->Compute(queued.batch);
         }}};
    static constexpr KernelImage kImages[] = {{.arch = "simt", .functions = kFunctions}};
    TESSERA_ASSIGN_OR_RETURN(module_, device->Load(kImages));
    TESSERA_ASSIGN_OR_RETURN(const GpuKernel kernel, module_->Find("fake_forward", 0));
    kernel_ = std::make_unique<GpuKernel>(kernel);
    return {};
  }

 private:
  struct Queued {
    const FakeModel* model;
    ForwardBatch batch;
    std::vector<LayerAttention> layers;
  };
  struct QueuedArgs {
    const Queued* queued;
  };

  static std::span<const int32_t> Tokens(const ForwardBatch& batch) {
    return {batch.token_ids, static_cast<size_t>(batch.attention.num_tokens)};
  }

  void CheckBatch(const ForwardBatch& batch) const {
    const AttentionBatch& a = batch.attention;
    TESSERA_CHECK(batch.layers.size() == specs_.size());
    const int32_t rows = a.host.query_start_loc[a.num_seqs];
    TESSERA_CHECK(a.host.query_start_loc[0] == 0);
    // A recorded step is filled up.
    TESSERA_CHECK(rows == a.num_tokens || (kernel_ != nullptr && rows < a.num_tokens));
    for (size_t i = 0; i < batch.layers.size(); ++i) {
      TESSERA_CHECK(batch.layers[i].plan->spec().window_left == specs_[i].window_left);
    }
    int64_t sequences = 0;
    for (int32_t s = 0; s < a.num_seqs; ++s) {
      TESSERA_CHECK(a.QueryLen(s) <= a.max_query_len && a.host.seq_lens[s] <= a.max_seq_len);
      TESSERA_CHECK(a.QueryLen(s) > 0 || a.host.seq_lens[s] == 0, "a row is used or empty");
      sequences += a.QueryLen(s) > 0 ? 1 : 0;
    }
    RaiseTo(&counters_->max_sequences, sequences);
  }

  static void CheckDevice(const ForwardBatch& batch) {
    const AttentionBatch& a = batch.attention;
    for (int32_t s = 0; s < a.num_seqs; ++s) {
      TESSERA_CHECK(a.host.query_start_loc[s] == a.device.query_start_loc[s] &&
                    a.host.seq_lens[s] == a.device.seq_lens[s]);
      for (int32_t i = 0; i < a.QueryLen(s); ++i) {
        const int32_t row = a.host.query_start_loc[s] + i;
        TESSERA_CHECK(batch.positions[row] == a.host.seq_lens[s] - a.QueryLen(s) + i);
      }
    }
  }

  // All addresses are the device's.
  void Compute(const ForwardBatch& batch) const {
    const AttentionBatch& attention = batch.attention;
    for (size_t layer = 0; layer < batch.layers.size(); ++layer) Write(batch, layer);
    for (int64_t i = 0; i < batch.logits.rows; ++i) {
      const int32_t row = batch.logit_rows[i];
      int32_t seq = 0;
      while (attention.device.query_start_loc[seq + 1] <= row) ++seq;
      float* const logits = static_cast<float*>(batch.logits.data) + i * batch.logits.stride;
      MakeLogits(batch, seq, row, {logits, static_cast<size_t>(config_.vocab_size)});
    }
  }

  // A token's key in the first head is its id, marked with its layer; everything else is NaN.
  static void Write(const ForwardBatch& batch, size_t layer) {
    const KvCache& cache = batch.layers[layer].cache;
    float* data = static_cast<float*>(cache.data);
    const std::span<const int32_t> tokens = Tokens(batch);
    for (size_t row = 0; row < tokens.size(); ++row) {
      const int64_t slot = batch.attention.device.slot_mapping[row];
      if (slot == -1) continue;  // what fills a recorded step up
      TESSERA_CHECK(slot >= 0 && slot < cache.num_blocks * cache.block_size);
      const int64_t block = slot / cache.block_size;
      const int64_t token = slot % cache.block_size;
      for (int64_t head = 0; head < 2; ++head) {
        float* key = data + cache.KOffset(block, head, token);
        std::fill_n(key, 2, std::numeric_limits<float>::quiet_NaN());
        std::fill_n(key + cache.v_offset, 3, std::numeric_limits<float>::quiet_NaN());
      }
      data[cache.KOffset(block, 0, token)] =
          static_cast<float>(tokens[row] + 1000 * static_cast<int32_t>(layer));
    }
  }

  void MakeLogits(const ForwardBatch& batch, int32_t seq, int32_t row, std::span<float> out) const {
    const AttentionBatch& attention = batch.attention;
    const int32_t position = batch.positions[row];
    std::vector<int32_t> context;
    for (int32_t p = 0; p <= position; ++p) {
      const size_t layer = static_cast<size_t>(p) % batch.layers.size();
      const KvCache& cache = batch.layers[layer].cache;
      const int32_t block =
          attention.device.block_table[seq * attention.block_table_stride + p / cache.block_size];
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
  Stream& stream_;
  ModelConfig config_;
  std::vector<AttentionSpec> specs_;
  std::unique_ptr<GpuModule> module_;  // of an emulated GPU, as the next two
  std::unique_ptr<GpuKernel> kernel_;
  std::deque<Queued> queued_;
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

std::vector<int32_t> FakeGreedy(std::vector<int32_t> context, int32_t count) {
  std::vector<int32_t> output;
  for (int32_t i = 0; i < count; ++i) {
    output.push_back(FakeNextToken(context, FakeModelOptions().vocab_size));
    context.push_back(output.back());
  }
  return output;
}

EngineParts MakeFakeParts(const FakeModelOptions& options, FakeCounters* counters) {
  EngineParts parts;
  ThreadPool::Options threads;
  threads.num_threads = 2;
  threads.pin = false;
  parts.threads = std::make_unique<ThreadPool>(threads);
  std::unique_ptr<FakeModel> model;
  if (options.emulated_gpu) {
    std::unique_ptr<GpuDevice> device = std::move(OpenSimtDevice()).value();
    parts.stream = std::move(device->NewStream()).value();
    auto* const stream = static_cast<GpuStream*>(parts.stream.get());
    parts.ops = std::move(CreateGpuOps(device.get(), stream)).value();
    model = std::make_unique<FakeModel>(options, counters, parts.threads.get(), stream);
    const Status queues = model->QueueOn(device.get());
    EXPECT_TRUE(queues.ok());
    parts.device = std::move(device);
  } else {
    parts.device = options.device_lost != nullptr ? CreateCpuDevice() : CreateFencedDevice();
    parts.stream = std::move(parts.device->NewStream()).value();
    if (options.device_lost != nullptr) {
      parts.stream = std::make_unique<LossyStream>(options.device_lost);
    }
    parts.ops = CreateCpuOps(parts.device.get(), parts.stream.get(), parts.threads.get());
    model = std::make_unique<FakeModel>(options, counters, parts.threads.get(), parts.stream.get());
  }
  parts.model = std::move(model);
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
