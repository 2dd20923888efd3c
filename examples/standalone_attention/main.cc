// Paged attention without the engine: two requests, one in its prefill and one that decodes, on the
// backend that the library chooses for this machine; checked against a plain loop.
#include <tessera/tessera.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <utility>
#include <vector>

namespace {

constexpr int kHeads = 8;
constexpr int kKvHeads = 2;
constexpr int kHeadSize = 64;
constexpr int kBlockSize = 16;
constexpr int kNumBlocks = 12;
constexpr double kTolerance = 1e-4;

// Numbers in [-1, 1) that look random and are the same everywhere.
std::vector<float> Numbers(size_t count, uint32_t seed) {
  std::vector<float> numbers(count);
  for (float& number : numbers) {
    seed = seed * 1664525u + 1013904223u;
    number = static_cast<float>(seed >> 8) / static_cast<float>(1 << 23) - 1.0f;
  }
  return numbers;
}

// One query row of one head over the keys 0 .. count-1 of its request.
// keys, values: [tokens, kKvHeads, kHeadSize]
void NaiveRow(const float* query, const float* keys, const float* values, int kv_head, int count,
              double* output) {
  std::vector<double> weights(static_cast<size_t>(count));
  double sum = 0;
  for (int k = 0; k < count; ++k) {
    const float* key = keys + (k * kKvHeads + kv_head) * kHeadSize;
    double score = 0;
    for (int i = 0; i < kHeadSize; ++i) score += static_cast<double>(query[i]) * key[i];
    weights[static_cast<size_t>(k)] = std::exp(score / std::sqrt(kHeadSize));
    sum += weights[static_cast<size_t>(k)];
  }
  std::fill(output, output + kHeadSize, 0.0);
  for (int k = 0; k < count; ++k) {
    const float* value = values + (k * kKvHeads + kv_head) * kHeadSize;
    for (int i = 0; i < kHeadSize; ++i) {
      output[i] += weights[static_cast<size_t>(k)] / sum * value[i];
    }
  }
}

}  // namespace

int main() {
  // What the layer is.
  tessera::AttentionSpec spec;
  spec.num_heads = kHeads;
  spec.num_kv_heads = kKvHeads;
  spec.head_size = kHeadSize;
  spec.query_dtype = spec.cache_dtype = spec.output_dtype = tessera::DType::kFloat32;

  // Where, and who computes it. Memory of this device is the host's, so pointers to vectors will
  // do.
  const std::unique_ptr<tessera::Device> device = tessera::CreateCpuDevice();
  tessera::ThreadPool threads;
  auto selection = tessera::SelectBackend({"auto", spec, kBlockSize}, {device.get(), &threads});
  if (!selection.ok()) {
    std::fprintf(stderr, "%s\n", selection.error().message.c_str());
    return 1;
  }
  tessera::Backend& backend = *selection->backend;
  std::printf("%s\n", selection->Explain().c_str());
  auto stream = device->NewStream();
  // One plan for all steps of up to 2 requests and 64 rows.
  auto plan = backend.NewPlan(spec, {.max_seqs = 2, .max_tokens = 64});
  if (!stream.ok() || !plan.ok()) return 1;

  // The cache, its memory ours.
  tessera::KvCacheShape shape;
  shape.num_blocks = kNumBlocks;
  shape.block_size = kBlockSize;
  shape.num_kv_heads = kKvHeads;
  shape.head_size = kHeadSize;
  std::vector<float> memory(static_cast<size_t>(tessera::KvCacheElements(shape)), NAN);
  const tessera::KvCache cache =
      tessera::MakeKvCache(shape, tessera::DType::kFloat32, memory.data());

  // Request 0 has 50 tokens, request 1 has 33. Their pages lie where the block table says.
  constexpr int kPages = 4;
  const std::vector<int32_t> block_table = {7, 2, 9, 0, 3, 11, 5, -1};  // [2, kPages]
  const std::vector<int> lengths = {50, 33};
  std::vector<std::vector<float>> keys;
  std::vector<std::vector<float>> values;
  for (uint32_t r = 0; r < 2; ++r) {
    const auto size = static_cast<size_t>(lengths[r] * kKvHeads * kHeadSize);
    keys.push_back(Numbers(size, 10 + r));
    values.push_back(Numbers(size, 20 + r));
  }
  const auto slot = [&](int request, int token) {
    const int block = block_table[static_cast<size_t>(request * kPages + token / kBlockSize)];
    return int64_t{block} * kBlockSize + token % kBlockSize;
  };

  // A step computes the rows first .. lengths-1 of each request and keeps their keys and values.
  const auto step = [&](std::vector<std::pair<int, int>> rows_of, std::vector<float>* query_out) {
    std::vector<int32_t> query_start_loc = {0};
    std::vector<int32_t> seq_lens;
    std::vector<int64_t> slot_mapping;
    std::vector<float> new_keys;
    std::vector<float> new_values;
    int32_t max_query_len = 0;
    for (int r = 0; r < 2; ++r) {
      const auto [first, end] = rows_of[static_cast<size_t>(r)];
      for (int t = first; t < end; ++t) slot_mapping.push_back(slot(r, t));
      const auto begin = first * kKvHeads * kHeadSize;
      const auto stop = end * kKvHeads * kHeadSize;
      const auto& k = keys[static_cast<size_t>(r)];
      const auto& v = values[static_cast<size_t>(r)];
      new_keys.insert(new_keys.end(), k.begin() + begin, k.begin() + stop);
      new_values.insert(new_values.end(), v.begin() + begin, v.begin() + stop);
      query_start_loc.push_back(query_start_loc.back() + end - first);
      seq_lens.push_back(end);
      max_query_len = std::max(max_query_len, end - first);
    }
    const int32_t num_tokens = query_start_loc.back();
    tessera::AttentionBatch batch;
    batch.num_seqs = 2;
    batch.num_tokens = num_tokens;
    batch.host.query_start_loc = query_start_loc.data();
    batch.host.seq_lens = seq_lens.data();
    batch.host.block_table = block_table.data();
    batch.host.slot_mapping = slot_mapping.data();
    batch.device = batch.host;  // for kernels; on a CPU the same arrays
    batch.block_table_stride = kPages;
    batch.max_query_len = max_query_len;
    batch.max_seq_len = *std::max_element(seq_lens.begin(), seq_lens.end());

    tessera::WriteKvArgs write;
    write.key = new_keys.data();
    write.value = new_values.data();
    write.dtype = tessera::DType::kFloat32;
    write.key_token_stride = write.value_token_stride = kKvHeads * kHeadSize;
    write.key_head_stride = write.value_head_stride = kHeadSize;
    const std::vector<float> query =
        Numbers(static_cast<size_t>(num_tokens * kHeads * kHeadSize), 1);
    std::vector<float> output(query.size(), NAN);
    tessera::RunArgs run;
    run.query = query.data();
    run.output = output.data();
    run.query_token_stride = run.output_token_stride = kHeads * kHeadSize;
    run.query_head_stride = run.output_head_stride = kHeadSize;
    // A step of a model prepares once, then writes and runs layer by layer.
    const auto compute = [&]() -> tessera::Status {
      TESSERA_RETURN_IF_ERROR(backend.Prepare(plan->get(), batch, **stream));
      TESSERA_RETURN_IF_ERROR(backend.WriteKv(**plan, batch, write, cache, **stream));
      TESSERA_RETURN_IF_ERROR(backend.Run(plan->get(), batch, cache, run, **stream));
      return (*stream)->Synchronize();
    };
    if (const tessera::Status status = compute(); !status.ok()) {
      std::fprintf(stderr, "%s\n", status.error().message.c_str());
      output.assign(output.size(), NAN);
    }
    *query_out = query;
    return output;
  };

  // Step 1: request 0's first 32 tokens, all but the last of request 1. Step 2: the rest, 18 rows
  // of request 0 after its cached context and one row of request 1.
  std::vector<float> query;
  step({{0, 32}, {0, 32}}, &query);
  const std::vector<float> output = step({{32, 50}, {32, 33}}, &query);

  double largest = 0;
  size_t row = 0;
  for (size_t r = 0; r < 2; ++r) {
    for (int t = 32; t < lengths[r]; ++t, ++row) {
      for (int h = 0; h < kHeads; ++h) {
        const size_t at = (row * kHeads + static_cast<size_t>(h)) * kHeadSize;
        double want[kHeadSize];
        NaiveRow(&query[at], keys[r].data(), values[r].data(), h / (kHeads / kKvHeads), t + 1,
                 want);
        for (size_t i = 0; i < kHeadSize; ++i) {
          const double error = std::abs(output[at + i] - want[i]);
          largest = std::isnan(error) ? INFINITY : std::max(largest, error);
        }
      }
    }
  }
  std::printf("%zu rows of 2 requests, largest difference from a plain loop: %.2e\n", row, largest);
  return largest <= kTolerance ? 0 : 1;
}
