#include "cli/bench/attention_problem.h"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <random>
#include <utility>

#include "attention/planner.h"

namespace tessera {

namespace {

// A few thousand random numbers, over and over: nothing here depends on the values.
void FillRandom(DType type, int64_t count, void* data) {
  constexpr int64_t kPeriod = 4093;
  std::minstd_rand random(1);
  std::vector<char> pattern(static_cast<size_t>(kPeriod) * SizeOf(type));
  for (int64_t i = 0; i < kPeriod; ++i) {
    StoreFromFloat(type, pattern.data(), i, static_cast<float>(random() % 2001) * 1e-3f - 1.0f);
  }
  char* out = static_cast<char*>(data);
  for (int64_t begin = 0; begin < count; begin += kPeriod) {
    const int64_t n = std::min(kPeriod, count - begin) * static_cast<int64_t>(SizeOf(type));
    out = std::copy_n(pattern.data(), n, out);
  }
}

}  // namespace

Result<std::unique_ptr<AttentionProblem>> AttentionProblem::Create(
    const AttentionSpec& spec, const std::vector<RequestShape>& requests, int32_t block_size) {
  std::unique_ptr<AttentionProblem> problem(new AttentionProblem);
  problem->spec_ = spec;
  KvCacheShape shape{.block_size = block_size,
                     .num_kv_heads = spec.num_kv_heads,
                     .head_size = spec.head_size,
                     .head_size_v = spec.value_size(),
                     .token_scales = spec.kv_scales == ScaleMode::kPerTokenHead};
  int64_t widest = 1;
  for (const RequestShape& request : requests) {
    const int64_t pages = (int64_t{request.seq_len} + block_size - 1) / block_size;
    shape.num_blocks += pages;
    widest = std::max(widest, pages);
    problem->starts_.push_back(problem->starts_.back() + request.query_len);
    problem->lens_.push_back(request.seq_len);
  }
  const int64_t elements = KvCacheElements(shape);
  TESSERA_ASSIGN_OR_RETURN(
      problem->memory_,
      AlignedBuffer::Allocate(elements * static_cast<int64_t>(SizeOf(spec.cache_dtype))));
  FillRandom(spec.cache_dtype, elements, problem->memory_.data());
  problem->cache_ = MakeKvCache(shape, spec.cache_dtype, problem->memory_.data());
  problem->cache_.k_scale = &problem->scale_;
  problem->cache_.v_scale = &problem->scale_;

  std::vector<int32_t> ids(static_cast<size_t>(shape.num_blocks));
  std::iota(ids.begin(), ids.end(), 0);
  std::shuffle(ids.begin(), ids.end(), std::minstd_rand(2));
  problem->table_.resize(static_cast<size_t>(widest) * requests.size());
  AttentionBatch& batch = problem->batch_;
  size_t next = 0;
  for (size_t i = 0; i < requests.size(); ++i) {
    const int64_t pages = (int64_t{requests[i].seq_len} + block_size - 1) / block_size;
    for (int64_t page = 0; page < pages; ++page) {
      problem->table_[i * static_cast<size_t>(widest) + static_cast<size_t>(page)] = ids[next++];
    }
    batch.max_query_len = std::max(batch.max_query_len, requests[i].query_len);
    batch.max_seq_len = std::max(batch.max_seq_len, requests[i].seq_len);
  }
  batch.num_seqs = static_cast<int32_t>(requests.size());
  batch.num_tokens = problem->starts_.back();
  batch.block_table_stride = widest;
  batch.host = {.query_start_loc = problem->starts_.data(),
                .seq_lens = problem->lens_.data(),
                .block_table = problem->table_.data()};
  batch.device = batch.host;

  const kernel::MaskRule mask = MakeMaskRule(spec, batch, batch.host);
  const double content = spec.head_size + spec.value_size();
  const double token_bytes = content * static_cast<double>(SizeOf(spec.cache_dtype)) +
                             (shape.token_scales ? 2.0 * sizeof(float) : 0.0);
  for (int32_t seq = 0; seq < batch.num_seqs; ++seq) {
    const int32_t query_len = batch.QueryLen(seq), seq_len = batch.host.seq_lens[seq];
    int32_t first = seq_len, last = 0;
    for (int32_t t = 0; t < query_len; ++t) {
      const auto keys = kernel::VisibleKeys(mask, seq, t, seq_len - query_len, seq_len);
      problem->operations_ += 2.0 * content * spec.num_heads * std::max(0, keys.end - keys.begin);
      first = std::min(first, keys.begin);
      last = std::max(last, keys.end);
    }
    problem->kv_bytes_ += token_bytes * spec.num_kv_heads * std::max(0, last - first);
  }

  const int64_t queries = int64_t{batch.num_tokens} * spec.num_heads * spec.head_size;
  const int64_t outputs = int64_t{batch.num_tokens} * spec.num_heads * spec.value_size();
  problem->query_.resize(static_cast<size_t>(queries) * SizeOf(spec.query_dtype));
  problem->output_.resize(static_cast<size_t>(outputs) * SizeOf(spec.output_dtype));
  FillRandom(spec.query_dtype, queries, problem->query_.data());
  return problem;
}

double AttentionProblem::Time(Backend* backend, Stream* stream,
                              std::unique_ptr<AttentionPlan>* plan) {
  if (*plan == nullptr) {
    auto made =
        backend->NewPlan(spec_, {.max_seqs = batch_.num_seqs, .max_tokens = batch_.num_tokens});
    TESSERA_CHECK(made.ok(), made.ok() ? "" : made.error().message);
    *plan = std::move(made).value();
  }
  const auto begin = std::chrono::steady_clock::now();
  const Status prepared = backend->Prepare(plan->get(), batch_, *stream);
  TESSERA_CHECK(prepared.ok(), prepared.ok() ? "" : prepared.error().message);
  const Status run =
      backend->Run(plan->get(), batch_, cache_,
                   {.query = query_.data(),
                    .query_token_stride = int64_t{spec_.num_heads} * spec_.head_size,
                    .query_head_stride = spec_.head_size,
                    .output = output_.data(),
                    .output_token_stride = int64_t{spec_.num_heads} * spec_.value_size(),
                    .output_head_stride = spec_.value_size()},
                   *stream);
  TESSERA_CHECK(run.ok(), run.ok() ? "" : run.error().message);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace tessera
