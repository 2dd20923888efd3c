#include "attention/phase_split.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "attention/testing/attention_case.h"
#include "tessera/registry.h"

namespace tessera {
namespace {

using testing::AttentionCase;
using testing::CaseOptions;
using ::testing::HasSubstr;

std::unique_ptr<Backend> Create(const std::string& name, const BackendContext& context) {
  for (const BackendEntry& entry : BackendEntries()) {
    if (entry.name == name) return entry.create(context);
  }
  return nullptr;
}

// What reached a backend: [batches][query lengths].
using Log = std::vector<std::vector<int32_t>>;

class Recorder final : public Backend {
 public:
  Recorder(std::unique_ptr<Backend> inner, Log* log) : inner_(std::move(inner)), log_(log) {}

  std::string Name() const override { return inner_->Name(); }
  Support Probe(const DeviceInfo& device) const override { return inner_->Probe(device); }
  Support Supports(const AttentionSpec& spec, int32_t block_size) const override {
    return inner_->Supports(spec, block_size);
  }
  std::unique_ptr<AttentionPlan> Plan(const AttentionSpec& spec, const AttentionBatch& batch,
                                      std::unique_ptr<AttentionPlan> reuse) override {
    std::vector<int32_t> lengths;
    for (int32_t seq = 0; seq < batch.num_seqs; ++seq) lengths.push_back(batch.QueryLen(seq));
    log_->push_back(std::move(lengths));
    return inner_->Plan(spec, batch, std::move(reuse));
  }
  void WriteKv(const AttentionSpec& spec, const AttentionBatch& batch, const WriteKvArgs& args,
               const KvCache& cache) override {
    inner_->WriteKv(spec, batch, args, cache);
  }
  void Run(const AttentionPlan& plan, const AttentionSpec& spec, const AttentionBatch& batch,
           const KvCache& cache, const RunArgs& args) override {
    inner_->Run(plan, spec, batch, cache, args);
  }
  void CopyBlocks(const AttentionSpec& spec, const KvCache& cache,
                  const std::vector<BlockPair>& pairs) override {
    inner_->CopyBlocks(spec, cache, pairs);
  }
  void SwapBlocks(const AttentionSpec& spec, const KvCache& source, const KvCache& destination,
                  const std::vector<BlockPair>& pairs) override {
    inner_->SwapBlocks(spec, source, destination, pairs);
  }

 private:
  std::unique_ptr<Backend> inner_;
  Log* log_;
};

class PhaseSplitTest : public ::testing::Test {
 protected:
  std::unique_ptr<Backend> Split() {
    return CreatePhaseSplit(std::make_unique<Recorder>(Create("portable", context_), &prefills_),
                            std::make_unique<Recorder>(Create("reference", context_), &decodes_));
  }

  static AttentionSpec Spec() {
    AttentionSpec spec{.num_heads = 4, .num_kv_heads = 2, .head_size = 32};
    spec.query_dtype = DType::kFloat32;
    spec.cache_dtype = DType::kFloat32;
    spec.output_dtype = DType::kFloat32;
    return spec;
  }

  ThreadPool pool_{{.num_threads = 2, .pin = false}};
  BackendContext context_{DetectCpu(), &pool_};
  Log prefills_, decodes_;
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
    prefills_.clear();
    decodes_.clear();
    const std::unique_ptr<Backend> backend = Split();
    ASSERT_TRUE(backend->Supports(spec, 16).ok());
    AttentionCase problem(options);
    const AttentionCase::Errors errors = problem.Check(backend.get(), 1e-4, 1e-4);
    EXPECT_EQ(errors.problem, "");
    EXPECT_LE(errors.output, 1.0);
    EXPECT_LE(errors.lse, 1e-3);
    EXPECT_EQ(prefills_, (Log{{5}, {3, 7}}));
    EXPECT_EQ(decodes_, (Log{{1}, {1, 1}, {0, 1}}));
  }
}

TEST_F(PhaseSplitTest, PlansAreUsedAgainAcrossOtherDivisions) {
  const std::unique_ptr<Backend> backend = Split();
  std::unique_ptr<AttentionPlan> plan;
  for (const std::vector<testing::Sequence>& sequences :
       {std::vector<testing::Sequence>{{1, 9}, {5, 40}}, {{4, 4}}, {{1, 1}, {2, 2}, {1, 3}}, {}}) {
    CaseOptions options;
    options.spec = Spec();
    options.sequences = sequences;
    const AttentionCase problem(options);
    plan = backend->Plan(options.spec, problem.batch(), std::move(plan));
  }
  EXPECT_EQ(prefills_.size(), 3u);
  EXPECT_EQ(decodes_.size(), 3u);
}

TEST_F(PhaseSplitTest, RefusesWhatOneOfThemRefusesAndBatchInvariance) {
  const std::unique_ptr<Backend> backend = Split();
  EXPECT_EQ(backend->Name(), "prefill=portable,decode=reference");
  AttentionSpec spec = Spec();
  spec.batch_invariant = true;
  EXPECT_THAT(backend->Supports(spec, 16).reasons, ::testing::ElementsAre(HasSubstr("invariance")));
  const Support support = backend->Supports(Spec(), 0);
  EXPECT_THAT(support.reasons, ::testing::Contains(::testing::StartsWith("prefill: ")));
  EXPECT_THAT(support.reasons, ::testing::Contains(::testing::StartsWith("decode: ")));
}

}  // namespace
}  // namespace tessera
