#include "attention/phase_split.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "attention/testing/attention_case.h"
#include "attention/testing/test_device.h"

namespace tessera {
namespace {

using testing::AttentionCase;
using testing::CaseOptions;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// The phases of the plans that a backend was asked for, and the requests of the batches it got.
struct Log {
  std::vector<Phases> plans;
  std::vector<int32_t> num_seqs;
};

class Recorder final : public Backend {
 public:
  Recorder(std::unique_ptr<Backend> inner, Log* log) : inner_(std::move(inner)), log_(log) {}

  std::string Name() const override { return inner_->Name(); }
  Support Supports(const AttentionSpec& spec, int32_t block_size) const override {
    return inner_->Supports(spec, block_size);
  }
  Result<std::unique_ptr<AttentionPlan>> NewPlan(const AttentionSpec& spec,
                                                 const PlanCapacity& capacity) override {
    log_->plans.push_back(capacity.phases);
    return inner_->NewPlan(spec, capacity);
  }
  Status Prepare(AttentionPlan* plan, const AttentionBatch& batch, Stream& stream) override {
    log_->num_seqs.push_back(batch.num_seqs);
    return inner_->Prepare(plan, batch, stream);
  }
  Status WriteKv(const AttentionPlan& plan, const AttentionBatch& batch, const WriteKvArgs& args,
                 const KvCache& cache, Stream& stream) override {
    return inner_->WriteKv(plan, batch, args, cache, stream);
  }
  Status Run(AttentionPlan* plan, const AttentionBatch& batch, const KvCache& cache,
             const RunArgs& args, Stream& stream) override {
    return inner_->Run(plan, batch, cache, args, stream);
  }

 private:
  std::unique_ptr<Backend> inner_;
  Log* log_;
};

class PhaseSplitTest : public ::testing::Test {
 protected:
  std::unique_ptr<Backend> Split() {
    return CreatePhaseSplit(
        std::make_unique<Recorder>(testing::CreateByName("portable", context_), &prefill_),
        std::make_unique<Recorder>(testing::CreateByName("reference", context_), &decode_));
  }

  static AttentionSpec Spec() {
    AttentionSpec spec{.num_heads = 4, .num_kv_heads = 2, .head_size = 32};
    spec.query_dtype = DType::kFloat32;
    spec.cache_dtype = DType::kFloat32;
    spec.output_dtype = DType::kFloat32;
    return spec;
  }

  const std::unique_ptr<Device> device_ = CreateFencedDevice();
  ThreadPool pool_{{.num_threads = 2, .pin = false}};
  BackendContext context_{device_.get(), &pool_};
  Log prefill_, decode_;
};

TEST_F(PhaseSplitTest, EachPhaseGoesToItsBackendAndNothingElseChanges) {
  AttentionSpec bias = Spec();
  bias.query_query_bias = true;
  AttentionSpec spans = Spec();
  spans.prefix_ranges = true;
  AttentionSpec by_request = Spec();
  by_request.causality = Causality::kPerRequest;
  AttentionSpec slopes = Spec();
  slopes.alibi = Alibi::kPlain;
  slopes.sinks = true;
  AttentionSpec encoder = Spec();
  encoder.type = AttentionType::kEncoder;
  encoder.causality = Causality::kFull;
  for (const AttentionSpec& spec : {Spec(), bias, spans, by_request, slopes, encoder}) {
    SCOPED_TRACE(ToString(spec));
    CaseOptions options;
    options.spec = spec;
    options.sequences = {{1, 9}, {5, 40}, {1, 1}, {1, 100}, {3, 3}, {7, 21}, {0, 4}, {1, 17}};
    if (spec.type == AttentionType::kEncoder) {
      for (testing::Sequence& sequence : options.sequences) sequence.seq_len = sequence.query_len;
    }
    options.query_padding = 3;
    options.padded_tokens = 2;
    prefill_ = decode_ = {};
    const std::unique_ptr<Backend> backend = Split();
    ASSERT_TRUE(backend->Supports(spec, 16).ok());
    AttentionCase problem(options);
    const AttentionCase::Errors errors = problem.Check(backend.get(), {device_.get()}, 1e-4, 1e-4);
    EXPECT_EQ(errors.problem, "");
    EXPECT_LE(errors.output, 1.0);
    EXPECT_LE(errors.lse, 1e-3);
    EXPECT_THAT(prefill_.plans, ElementsAre(Phases::kPrefill));
    EXPECT_THAT(decode_.plans, ElementsAre(Phases::kDecode));
    EXPECT_THAT(prefill_.num_seqs, ElementsAre(8));
    EXPECT_THAT(decode_.num_seqs, ElementsAre(8));
  }
}

TEST_F(PhaseSplitTest, OnePlanServesStepsOfOtherDivisions) {
  const std::unique_ptr<Backend> backend = Split();
  const auto plan = backend->NewPlan(Spec(), {.max_seqs = 3, .max_tokens = 6}).value();
  for (const std::vector<testing::Sequence>& sequences :
       {std::vector<testing::Sequence>{{1, 9}, {5, 40}}, {{4, 4}}, {{1, 1}, {2, 2}, {1, 3}}, {}}) {
    AttentionCase problem({.spec = Spec(), .sequences = sequences});
    const auto errors =
        problem.Check(backend.get(), {.device = device_.get(), .plan = plan.get()}, 1e-4, 1e-4);
    EXPECT_EQ(errors.problem, "");
    EXPECT_LE(errors.output, 1.0);
  }
  EXPECT_EQ(prefill_.plans.size(), 1u);
  EXPECT_EQ(decode_.plans.size(), 1u);
}

TEST_F(PhaseSplitTest, PlansThatOnlyDecodeAreTheDecodeBackendsAlone) {
  const std::unique_ptr<Backend> backend = Split();
  const auto plan =
      backend->NewPlan(Spec(), {.max_seqs = 3, .max_tokens = 3, .decode_only = true}).value();
  AttentionCase problem({.spec = Spec(), .sequences = {{1, 9}, {0, 5}, {1, 40}}});
  const auto errors =
      problem.Check(backend.get(), {.device = device_.get(), .plan = plan.get()}, 1e-4, 1e-4);
  EXPECT_EQ(errors.problem, "");
  EXPECT_LE(errors.output, 1.0);
  EXPECT_TRUE(prefill_.plans.empty());
}

TEST_F(PhaseSplitTest, RefusesWhatOneOfThemRefusesAndBatchInvariance) {
  const std::unique_ptr<Backend> backend = Split();
  EXPECT_EQ(backend->Name(), "prefill=portable,decode=reference");
  AttentionSpec spec = Spec();
  spec.batch_invariant = true;
  EXPECT_THAT(backend->Supports(spec, 16).reasons, ElementsAre(HasSubstr("invariance")));
  const Support support = backend->Supports(Spec(), 0);
  EXPECT_THAT(support.reasons, ::testing::Contains(::testing::StartsWith("prefill: ")));
  EXPECT_THAT(support.reasons, ::testing::Contains(::testing::StartsWith("decode: ")));
}

}  // namespace
}  // namespace tessera
