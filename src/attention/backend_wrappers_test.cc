// Backends around backends: the one that checks its caller, and the one that can be switched.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <utility>
#include <vector>

#include "attention/checked_backend.h"
#include "attention/switching_backend.h"
#include "attention/testing/attention_case.h"
#include "attention/testing/feature_cases.h"
#include "tessera/registry.h"

namespace tessera::testing {
namespace {

using ::testing::HasSubstr;

std::vector<std::unique_ptr<Backend>> UsableBackends(const BackendContext& context) {
  std::vector<std::unique_ptr<Backend>> backends;
  for (const BackendEntry& entry : BackendEntries()) {
    auto backend = entry.create(context);
    if (backend->Probe(context.device).ok()) backends.push_back(std::move(backend));
  }
  return backends;
}

TEST(CheckedBackend, LetsEveryFeaturePass) {
  ThreadPool pool({.num_threads = 1});
  for (auto& backend : UsableBackends({DetectCpu(), &pool})) {
    const auto checked = MakeChecked(std::move(backend));
    for (const CaseOptions& options : FeatureCases()) {
      if (!checked->Supports(options.spec, options.block_size).ok()) continue;
      AttentionCase problem(options);
      EXPECT_EQ(problem.Check(checked.get(), 1e-2, 0.1).problem, "") << ToString(options);
    }
  }
}

// One sequence of 20 tokens in blocks of 16, and what is then spoilt.
struct Step {
  std::vector<float> numbers = std::vector<float>(20 * 2 * 32 + 4 * 16 * 2 * 32);
  int32_t starts[2] = {0, 1};
  int32_t lens[1] = {20};
  int32_t table[2] = {0, 1};
  int64_t slots[1] = {19};
  AttentionSpec spec = Spec(2, 1, 32);
  KvCache cache;
  AttentionBatch batch;
  RunArgs args;

  Step() {
    spec.query_dtype = spec.cache_dtype = spec.output_dtype = DType::kFloat32;
    cache = MakeKvCache({.num_blocks = 2, .block_size = 16, .num_kv_heads = 1, .head_size = 32},
                        DType::kFloat32, numbers.data() + 20 * 2 * 32);
    batch = {.num_seqs = 1,
             .num_tokens = 1,
             .query_start_loc = starts,
             .seq_lens = lens,
             .block_table = table,
             .block_table_stride = 2,
             .slot_mapping = slots,
             .max_query_len = 1,
             .max_seq_len = 20};
    args = {.query = numbers.data(),
            .query_token_stride = 64,
            .query_head_stride = 32,
            .output = numbers.data() + 64,
            .output_token_stride = 64,
            .output_head_stride = 32};
  }

  void Run() {
    ThreadPool pool({.num_threads = 1});
    const auto backend = MakeChecked(std::move(UsableBackends({DetectCpu(), &pool}).front()));
    backend->WriteKv(spec, batch,
                     {.key = numbers.data(),
                      .value = numbers.data(),
                      .dtype = DType::kFloat32,
                      .key_token_stride = 32,
                      .key_head_stride = 32,
                      .value_token_stride = 32,
                      .value_head_stride = 32},
                     cache);
    const auto plan = backend->Plan(spec, batch, nullptr);
    backend->Run(*plan, spec, batch, cache, args);
  }
};

TEST(CheckedBackendDeathTest, SaysWhatIsOutOfRange) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  Step().Run();
  const struct {
    void (*spoil)(Step&);
    const char* says;
  } kMistakes[] = {
      {[](Step& s) { s.table[1] = 2; }, "is no block of a cache of 2"},
      {[](Step& s) { s.table[0] = -1; }, "is no block of a cache of 2"},
      {[](Step& s) { s.slots[0] = 32; }, "slot_mapping"},
      {[](Step& s) { s.lens[0] = s.batch.max_seq_len = 33; }, "seq_lens[0] needs 3 blocks"},
      {[](Step& s) { s.batch.max_seq_len = 19; }, "exceeds max_query_len or max_seq_len"},
      {[](Step& s) { s.spec.sinks = true; }, "sinks need RunArgs::sinks"},
      {[](Step& s) { s.spec.alibi = Alibi::kPlain; }, "ALiBi needs"},
      {[](Step& s) { s.spec.causality = Causality::kPerRequest; }, "AttentionBatch::causal"},
      {[](Step& s) { s.spec.num_heads = 0; }, "query heads"},
      {[](Step& s) { s.cache.dtype = DType::kBFloat16; }, "type is not that of the spec"},
      {[](Step& s) { s.args.output = nullptr; }, "query and output are missing"},
  };
  for (const auto& mistake : kMistakes) {
    Step step;
    mistake.spoil(step);
    EXPECT_DEATH(step.Run(), HasSubstr(mistake.says));
  }
}

TEST(SwitchingBackend, RunsWhatItHasPlanned) {
  ThreadPool pool({.num_threads = 2});
  std::vector<std::shared_ptr<Backend>> backends;
  for (auto& backend : UsableBackends({DetectCpu(), &pool})) backends.push_back(std::move(backend));
  ASSERT_GE(backends.size(), 2u);
  SwitchingBackend switching(backends[0]);
  AttentionCase problem({.spec = Spec(4, 2, 64), .sequences = {{5, 37}, {1, 600}}});
  for (size_t i = 0; i < 2 * backends.size(); ++i) {
    const std::shared_ptr<Backend>& backend = backends[i % backends.size()];
    switching.Use(backend);
    EXPECT_EQ(switching.Name(), backend->Name());
    const auto errors = problem.Check(&switching, 8e-3, 5e-3);
    EXPECT_EQ(errors.problem, "") << backend->Name();
    EXPECT_LE(errors.output, 1.0) << backend->Name();
  }
  const AttentionSpec huge = Spec(1, 1, 100000);
  EXPECT_EQ(switching.Supports(huge, 16).reasons, backends.back()->Supports(huge, 16).reasons);
}

// Plans that were made before a switch are run by their own backend, which lives as long as they.
TEST(SwitchingBackend, KeepsTheBackendsOfItsPlans) {
  ThreadPool pool({.num_threads = 1});
  auto backends = UsableBackends({DetectCpu(), &pool});
  ASSERT_GE(backends.size(), 2u);
  std::shared_ptr<Backend> first = std::move(backends[0]);
  const std::weak_ptr<Backend> watch = first;
  SwitchingBackend switching(std::move(first));
  Step step;
  auto plan = switching.Plan(step.spec, step.batch, nullptr);
  switching.Use(std::move(backends[1]));
  EXPECT_FALSE(watch.expired());
  switching.Run(*plan, step.spec, step.batch, step.cache, step.args);
  plan = switching.Plan(step.spec, step.batch, std::move(plan));
  EXPECT_TRUE(watch.expired());
  switching.Run(*plan, step.spec, step.batch, step.cache, step.args);
}

}  // namespace
}  // namespace tessera::testing
