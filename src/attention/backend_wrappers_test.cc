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
#include "attention/testing/test_device.h"

namespace tessera::testing {
namespace {

using ::testing::HasSubstr;

TEST(CheckedBackend, LetsEveryFeaturePass) {
  // Fenced: it reads the host's arrays alone.
  const std::unique_ptr<Device> device = CreateFencedDevice();
  ThreadPool pool({.num_threads = 1});
  for (auto& backend : UsableBackends({device.get(), &pool})) {
    const auto checked = MakeChecked(std::move(backend));
    for (const CaseOptions& options : FeatureCases()) {
      if (!checked->Supports(options.spec, options.block_size).ok()) continue;
      AttentionCase problem(options);
      EXPECT_EQ(problem.Check(checked.get(), {device.get()}, 1e-2, 0.1).problem, "")
          << ToString(options);
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
  WriteKvArgs written;
  const std::unique_ptr<Device> device = CreateCpuDevice();
  const std::unique_ptr<Stream> stream = device->NewStream().value();

  Step() {
    spec.query_dtype = spec.cache_dtype = spec.output_dtype = DType::kFloat32;
    cache = MakeKvCache({.num_blocks = 2, .block_size = 16, .num_kv_heads = 1, .head_size = 32},
                        DType::kFloat32, numbers.data() + 20 * 2 * 32);
    batch = OnHost({.num_seqs = 1,
                    .num_tokens = 1,
                    .max_query_len = 1,
                    .max_seq_len = 20,
                    .block_table_stride = 2,
                    .host = {.query_start_loc = starts,
                             .seq_lens = lens,
                             .block_table = table,
                             .slot_mapping = slots}});
    args = {.query = numbers.data(),
            .query_token_stride = 64,
            .query_head_stride = 32,
            .output = numbers.data() + 64,
            .output_token_stride = 64,
            .output_head_stride = 32};
    written = {.key = numbers.data(),
               .value = numbers.data(),
               .dtype = DType::kFloat32,
               .key_token_stride = 32,
               .key_head_stride = 32,
               .value_token_stride = 32,
               .value_head_stride = 32};
  }

  Status Run(Backend* backend) {
    TESSERA_ASSIGN_OR_RETURN(const auto plan,
                             backend->NewPlan(spec, {.max_seqs = 1, .max_tokens = 1}));
    TESSERA_RETURN_IF_ERROR(backend->Prepare(plan.get(), batch, *stream));
    TESSERA_RETURN_IF_ERROR(backend->WriteKv(*plan, batch, written, cache, *stream));
    return backend->Run(plan.get(), batch, cache, args, *stream);
  }

  Status RunChecked() {
    ThreadPool pool({.num_threads = 1});
    const auto backend = MakeChecked(std::move(UsableBackends({device.get(), &pool}).front()));
    return Run(backend.get());
  }
};

TEST(CheckedBackend, SaysWhatIsOutOfRange) {
  EXPECT_TRUE(Step().RunChecked().ok());
  const struct {
    void (*spoil)(Step&);
    const char* says;
  } kMistakes[] = {
      {[](Step& s) { s.table[1] = 2; }, "is no block of a cache of 2"},
      {[](Step& s) { s.table[0] = -1; }, "is no block of a cache of 2"},
      {[](Step& s) { s.slots[0] = 32; }, "slot_mapping"},
      {[](Step& s) { s.lens[0] = s.batch.max_seq_len = 33; }, "seq_lens[0] needs 3 blocks"},
      {[](Step& s) { s.batch.max_seq_len = 19; }, "exceeds max_query_len or max_seq_len"},
      {[](Step& s) { s.starts[1] = 2; }, "must ascend and end at num_tokens"},
      {[](Step& s) { s.spec.sinks = true; }, "sinks need RunArgs::sinks"},
      {[](Step& s) { s.spec.alibi = Alibi::kPlain; }, "ALiBi needs"},
      {[](Step& s) { s.spec.causality = Causality::kPerRequest; }, "BatchArrays::causal"},
      {[](Step& s) { s.spec.num_heads = 0; }, "query heads"},
      {[](Step& s) { s.cache.dtype = DType::kBFloat16; }, "type is not that of the spec"},
      {[](Step& s) { s.args.output = nullptr; }, "query and output are missing"},
      {[](Step& s) { s.written.value = nullptr; }, "new keys and values are missing"},
      {[](Step& s) { s.batch.host.seq_lens = nullptr; }, "planning needs"},
      {[](Step& s) { s.batch.device.slot_mapping = nullptr; }, "lacks slot_mapping"},
      {[](Step& s) { s.batch.device.block_table = nullptr; }, "lacks block_table"},
      {[](Step& s) { s.batch.device.seq_lens = nullptr; }, "lacks query_start_loc or seq_lens"},
  };
  for (const auto& mistake : kMistakes) {
    Step step;
    mistake.spoil(step);
    const Status status = step.RunChecked();
    ASSERT_FALSE(status.ok()) << mistake.says;
    EXPECT_EQ(status.error().code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(status.error().message, HasSubstr(mistake.says));
  }
}

TEST(CheckedBackend, SkipsWhatTheHostDoesNotKnow) {
  Step step;
  step.batch.host.block_table = nullptr;
  step.batch.host.slot_mapping = nullptr;
  EXPECT_TRUE(step.RunChecked().ok());
}

TEST(SwitchingBackend, RunsWithEachBackendItIsSwitchedTo) {
  const std::unique_ptr<Device> device = CreateCpuDevice();
  ThreadPool pool({.num_threads = 2});
  std::vector<std::shared_ptr<Backend>> backends;
  for (auto& backend : UsableBackends({device.get(), &pool})) {
    backends.push_back(std::move(backend));
  }
  ASSERT_GE(backends.size(), 2u);
  SwitchingBackend switching(backends[0]);
  const AttentionSpec spec = Spec(4, 2, 64);
  AttentionCase problem({.spec = spec, .sequences = {{5, 37}, {1, 600}}});
  // One plan: it is made again for each backend.
  const auto plan = switching.NewPlan(spec, {.max_seqs = 2, .max_tokens = 6}).value();
  for (size_t i = 0; i < 2 * backends.size(); ++i) {
    const std::shared_ptr<Backend>& backend = backends[i % backends.size()];
    switching.Use(backend);
    EXPECT_EQ(switching.Name(), backend->Name());
    const auto errors = problem.Check(&switching, {device.get(), plan.get()}, 8e-3, 5e-3);
    EXPECT_EQ(errors.problem, "") << backend->Name();
    EXPECT_LE(errors.output, 1.0) << backend->Name();
  }
  const AttentionSpec huge = Spec(1, 1, 100000);
  EXPECT_EQ(switching.Supports(huge, 16).reasons, backends.back()->Supports(huge, 16).reasons);
}

TEST(SwitchingBackend, PlansAreMadeAgainWithTheirCapacity) {
  const std::unique_ptr<Device> device = CreateCpuDevice();
  ThreadPool pool({.num_threads = 1});
  auto backends = UsableBackends({device.get(), &pool});
  ASSERT_GE(backends.size(), 2u);
  SwitchingBackend switching(std::move(backends[0]));
  Step step;
  const auto plan = switching.NewPlan(step.spec, {.max_seqs = 1, .max_tokens = 1}).value();
  switching.Use(std::move(backends[1]));
  EXPECT_TRUE(switching.Prepare(plan.get(), step.batch, *step.stream).ok());
  step.batch.num_tokens = 2;
  const Status status = switching.Prepare(plan.get(), step.batch, *step.stream);
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(status.error().message, HasSubstr("exceeds its plan"));
}

// Between a switch and the next Prepare() a plan is run by its own backend, which lives as long.
TEST(SwitchingBackend, KeepsTheBackendsOfItsPlans) {
  const std::unique_ptr<Device> device = CreateCpuDevice();
  ThreadPool pool({.num_threads = 1});
  auto backends = UsableBackends({device.get(), &pool});
  ASSERT_GE(backends.size(), 2u);
  std::shared_ptr<Backend> first = std::move(backends[0]);
  const std::weak_ptr<Backend> watch = first;
  SwitchingBackend switching(std::move(first));
  Step step;
  const auto plan = switching.NewPlan(step.spec, {.max_seqs = 1, .max_tokens = 1}).value();
  const auto run = [&] {
    return switching.Run(plan.get(), step.batch, step.cache, step.args, *step.stream).ok();
  };
  EXPECT_TRUE(switching.Prepare(plan.get(), step.batch, *step.stream).ok());
  switching.Use(std::move(backends[1]));
  EXPECT_FALSE(watch.expired());
  EXPECT_TRUE(run());
  EXPECT_TRUE(switching.Prepare(plan.get(), step.batch, *step.stream).ok());
  EXPECT_TRUE(watch.expired());
  EXPECT_TRUE(run());
}

}  // namespace
}  // namespace tessera::testing
