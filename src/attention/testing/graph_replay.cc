#include "attention/testing/graph_replay.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <random>
#include <vector>

#include "attention/testing/test_device.h"

namespace tessera::testing {
namespace {

constexpr int32_t kBlockSize = 16;
constexpr int32_t kMaxSeqs = 6;
constexpr int64_t kTableWidth = 80;
constexpr int64_t kNumBlocks = kMaxSeqs * kTableWidth;

// A step's inputs in memory of the host. Requests past the last one have no rows.
struct Step {
  std::vector<int32_t> query_start_loc, seq_lens, table;
  std::vector<int64_t> slots;
  std::vector<char> query, key, value;
  int32_t num_seqs = 0;
  int32_t common_prefix = 0;

  AttentionBatch Batch() const {
    AttentionBatch batch;
    batch.num_seqs = num_seqs;
    batch.num_tokens = num_seqs;
    batch.max_query_len = 1;
    batch.max_seq_len = *std::max_element(seq_lens.begin(), seq_lens.end());
    batch.block_table_stride = kTableWidth;
    batch.common_prefix_len = common_prefix;
    batch.host = {.query_start_loc = query_start_loc.data(),
                  .seq_lens = seq_lens.data(),
                  .block_table = table.data(),
                  .slot_mapping = slots.data()};
    return batch;
  }
};

std::vector<char> RandomElements(DType type, int64_t count, std::mt19937* random) {
  std::normal_distribution<float> normal;
  std::vector<char> elements(static_cast<size_t>(count) * SizeOf(type));
  for (int64_t i = 0; i < count; ++i) StoreFromFloat(type, elements.data(), i, normal(*random));
  return elements;
}

// `common_prefix`: tokens that all requests have in the same blocks.
Step MakeStep(const AttentionSpec& spec, const std::vector<int32_t>& lens, int32_t common_prefix,
              std::mt19937* random) {
  Step step;
  step.common_prefix = common_prefix;
  step.num_seqs = static_cast<int32_t>(lens.size());
  std::vector<int32_t> blocks(kNumBlocks);
  std::iota(blocks.begin(), blocks.end(), 0);
  std::shuffle(blocks.begin(), blocks.end(), *random);
  for (int64_t seq = 1; seq < kMaxSeqs; ++seq) {
    std::copy_n(blocks.begin(), common_prefix / kBlockSize, blocks.begin() + seq * kTableWidth);
  }
  step.table = blocks;
  for (int32_t seq = 0; seq <= kMaxSeqs; ++seq) {
    step.query_start_loc.push_back(std::min(seq, step.num_seqs));
  }
  step.seq_lens.assign(kMaxSeqs, 0);
  step.slots.assign(kMaxSeqs, -1);
  for (size_t seq = 0; seq < lens.size(); ++seq) {
    const int32_t position = lens[seq] - 1;
    step.seq_lens[seq] = lens[seq];
    step.slots[seq] =
        int64_t{blocks[seq * kTableWidth + static_cast<size_t>(position / kBlockSize)]} *
            kBlockSize +
        position % kBlockSize;
  }
  const int64_t kv = int64_t{kMaxSeqs} * spec.num_kv_heads;
  step.query =
      RandomElements(spec.query_dtype, int64_t{kMaxSeqs} * spec.num_heads * spec.head_size, random);
  step.key = RandomElements(DType::kBFloat16, kv * spec.head_size, random);
  step.value = RandomElements(DType::kBFloat16, kv * spec.value_size(), random);
  return step;
}

// Addresses of one device, which stay from step to step.
class Arrays {
 public:
  Arrays(const AttentionSpec& spec, const Step& step, const std::vector<char>& cache,
         Device* device)
      : arrays_(device) {
    batch_ = {.query_start_loc = arrays_.Copy(step.query_start_loc),
              .seq_lens = arrays_.Copy(step.seq_lens),
              .block_table = arrays_.Copy(step.table),
              .slot_mapping = arrays_.Copy(step.slots)};
    written_ = {.key = arrays_.Copy(step.key),
                .value = arrays_.Copy(step.value),
                .dtype = DType::kBFloat16,
                .key_token_stride = int64_t{spec.num_kv_heads} * spec.head_size,
                .key_head_stride = spec.head_size,
                .value_token_stride = int64_t{spec.num_kv_heads} * spec.value_size(),
                .value_head_stride = spec.value_size()};
    output_.resize(static_cast<size_t>(kMaxSeqs * spec.num_heads * spec.value_size()));
    run_ = {.query = arrays_.Copy(step.query),
            .query_token_stride = int64_t{spec.num_heads} * spec.head_size,
            .query_head_stride = spec.head_size,
            .output = arrays_.Copy(output_),
            .output_token_stride = int64_t{spec.num_heads} * spec.value_size(),
            .output_head_stride = spec.value_size()};
    cache_ = MakeKvCache({.num_blocks = kNumBlocks,
                          .block_size = kBlockSize,
                          .num_kv_heads = spec.num_kv_heads,
                          .head_size = spec.head_size,
                          .head_size_v = spec.value_size()},
                         spec.cache_dtype, arrays_.Copy(cache));
  }

  void Set(const Step& step) {
    const auto copy = [&](const void* to, const auto& from) {
      arrays_.stream().Copy(const_cast<void*>(to), from.data(),
                            static_cast<int64_t>(from.size() * sizeof(from[0])));
    };
    copy(batch_.query_start_loc, step.query_start_loc);
    copy(batch_.seq_lens, step.seq_lens);
    copy(batch_.block_table, step.table);
    copy(batch_.slot_mapping, step.slots);
    copy(written_.key, step.key);
    copy(written_.value, step.value);
    copy(run_.query, step.query);
  }
  AttentionBatch Batch(const Step& step) const {
    AttentionBatch batch = step.Batch();
    batch.device = batch_;
    return batch;
  }
  // The layer's launches, for as many requests as there may be.
  Status Launch(Backend* backend, AttentionPlan* plan, AttentionBatch batch) {
    batch.num_seqs = batch.num_tokens = kMaxSeqs;
    TESSERA_RETURN_IF_ERROR(backend->WriteKv(*plan, batch, written_, cache_, stream()));
    return backend->Run(plan, batch, cache_, run_, stream());
  }
  std::vector<float> Output() {
    arrays_.Read(run_.output, &output_);
    return output_;
  }
  Stream& stream() { return arrays_.stream(); }

 private:
  DeviceArrays arrays_;
  BatchArrays batch_;
  WriteKvArgs written_;
  RunArgs run_;
  KvCache cache_;
  std::vector<float> output_;
};

}  // namespace

std::string CheckGraphReplays(Backend* backend, Device* device, const AttentionSpec& given,
                              bool shared_prefix) {
  AttentionSpec spec = given;
  spec.output_dtype = DType::kFloat32;
  std::mt19937 random(1);
  const std::vector<std::vector<int32_t>> lengths = {
      {100, 33, 700, 1, 64, 17}, {101, 34, 701, 2, 65, 18}, {1200, 1}, {5},
      {16, 1280, 16, 16, 900},   {1, 2, 3, 4, 5, 6}};
  std::vector<Step> steps;
  for (const std::vector<int32_t>& lens : lengths)
    steps.push_back(MakeStep(spec, lens, 0, &random));
  if (shared_prefix) {
    steps.push_back(MakeStep(spec, {400, 401, 500, 700, 385, 1200}, 384, &random));
    steps.push_back(MakeStep(spec, {1201, 1280, 1250, 1202}, 1200, &random));
    steps.push_back(MakeStep(spec, {100, 101}, 96, &random));  // too few keys and requests
    steps.push_back(MakeStep(spec, {17, 300, 1, 2}, 0, &random));
    steps.push_back(MakeStep(spec, {300, 257, 258, 259, 260}, 256, &random));
  }
  const std::vector<char> cache = RandomElements(
      spec.cache_dtype,
      kNumBlocks * kBlockSize * spec.num_kv_heads * (spec.head_size + spec.value_size()), &random);

  const std::unique_ptr<Device> cpu = CreateCpuDevice();
  ThreadPool threads({.num_threads = 1, .pin = false});
  const std::unique_ptr<Backend> reference = CreateByName("reference", {cpu.get(), &threads});
  const PlanCapacity capacity{.max_seqs = kMaxSeqs,
                              .max_tokens = kMaxSeqs,
                              .decode_only = true,
                              .shared_prefix = shared_prefix};
  const auto want_plan = reference->NewPlan(spec, capacity);
  const auto plan = backend->NewPlan(spec, capacity);
  if (!plan.ok()) return plan.error().message;
  Arrays want(spec, steps[0], cache, cpu.get()), got(spec, steps[0], cache, device);

  Status status = backend->Prepare(plan->get(), got.Batch(steps[0]), got.stream());
  if (status.ok()) status = got.stream().BeginCapture();
  if (status.ok()) status = got.Launch(backend, plan->get(), got.Batch(steps[0]));
  if (!status.ok()) return status.error().message;
  const auto graph = got.stream().EndCapture();
  if (!graph.ok()) return graph.error().message;

  for (size_t i = 0; i < steps.size(); ++i) {
    want.Set(steps[i]);
    AttentionBatch batch = want.Batch(steps[i]);
    status = reference->Prepare(want_plan->get(), batch, want.stream());
    if (status.ok()) status = want.Launch(reference.get(), want_plan->get(), batch);
    if (!status.ok()) return status.error().message;

    got.Set(steps[i]);
    status = backend->Prepare(plan->get(), got.Batch(steps[i]), got.stream());
    if (!status.ok()) return status.error().message;
    got.stream().Launch(**graph);
    status = got.stream().Synchronize();
    if (!status.ok()) return status.error().message;

    const std::vector<float> expected = want.Output(), output = got.Output();
    const int64_t computed = int64_t{steps[i].num_seqs} * spec.num_heads * spec.value_size();
    for (int64_t e = 0; e < computed; ++e) {
      const float difference =
          std::abs(output[static_cast<size_t>(e)] - expected[static_cast<size_t>(e)]);
      if (!(difference <= 2e-2f)) {
        return "step " + std::to_string(i) + ", element " + std::to_string(e) + ": " +
               std::to_string(output[static_cast<size_t>(e)]) + ", not " +
               std::to_string(expected[static_cast<size_t>(e)]);
      }
    }
  }
  return "";
}

}  // namespace tessera::testing
