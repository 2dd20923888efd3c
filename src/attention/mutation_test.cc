// Is the conformance test worth anything? Each rule is broken once, in the portable kernel's own
// source by way of a tile policy that errs, and the problems of the conformance test must notice.
#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>
#include <memory>
#include <vector>

#include "attention/host_backend.h"
#include "attention/kernel/cpu/tiles_scalar.h"
#include "attention/planned_work.h"
#include "attention/testing/attention_case.h"
#include "attention/testing/feature_cases.h"
#include "tessera/registry.h"

namespace tessera::testing {
namespace {

enum class Mutation : uint8_t {
  kNone,
  kCausalOffByOne,
  kWindowOffByOne,
  kSinkInEveryPart,
  kSinkDropped,
  kKeyScaleDropped,
  kValueScaleDropped,
  kTokenKeyScaleDropped,
  kTokenValueScaleDropped,
  kOutputScaleDropped,
  kBlockTableOff,
  kLseInBase2,
  kOldSumsNotRescaled,
  kSoftCapDropped,
  kSlopeOfNeighbour,
  kBiasDropped,
  kSpansIgnored,
  kChunkOffByOne,
  kQueryScaleDropped,
  kCount,
};

constexpr const char* kNames[] = {"none",
                                  "causal mask off by one",
                                  "window off by one",
                                  "sink counted in every part",
                                  "sink dropped",
                                  "scale of K dropped",
                                  "scale of V dropped",
                                  "K's scale by token dropped",
                                  "V's scale by token dropped",
                                  "scale of the output dropped",
                                  "block table index off",
                                  "lse in base 2",
                                  "old sums not rescaled",
                                  "soft cap dropped",
                                  "ALiBi slope of the neighbour",
                                  "query-query bias dropped",
                                  "bidirectional spans ignored",
                                  "chunk size off by one",
                                  "scale of the query dropped"};
static_assert(std::size(kNames) == static_cast<size_t>(Mutation::kCount));

template <Mutation kMutation>
struct MutantOps : kernel::ScalarOps {
  using Right = kernel::ScalarOps;
  static float Tanh(float x) { return kMutation == Mutation::kSoftCapDropped ? x : Right::Tanh(x); }
  static float Gather(const float* table, int32_t i, int32_t count) {
    return kMutation == Mutation::kBiasDropped ? 0.0f : Right::Gather(table, i, count);
  }
  static bool InRange(int32_t i, int32_t begin, int32_t end) {
    if (kMutation == Mutation::kCausalOffByOne) --end;
    if (kMutation == Mutation::kWindowOffByOne) begin += begin > 0;
    return Right::InRange(i, begin, end);
  }
};

template <class Element, Mutation kInOps>
class MutantTiles : public kernel::scalar::ScalarTiles<Element> {
 public:
  using Base = kernel::scalar::ScalarTiles<Element>;
  using Ops = MutantOps<kInOps>;

  MutantTiles(Mutation mutation, const kernel::KernelArgs& args, const kernel::WorkItem& item,
              void* memory)
      : Base(args, item, memory), mutation_(mutation) {}

  void ScaleKeys(typename Base::Scores& s) {
    if (mutation_ != Mutation::kTokenKeyScaleDropped) Base::ScaleKeys(s);
  }
  void ScaleValues(typename Base::Scores& s) {
    if (mutation_ != Mutation::kTokenValueScaleDropped) Base::ScaleValues(s);
  }
  void ScaleRows(typename Base::Output& o, const typename Base::RowStats& factor) {
    if (mutation_ != Mutation::kOldSumsNotRescaled) Base::ScaleRows(o, factor);
  }
  void Finish(typename Base::Output& o, const typename Base::RowStats& m,
              const typename Base::RowStats& l, float scale) {
    typename Base::RowStats maximum = m;
    if (mutation_ == Mutation::kLseInBase2) {
      // (maximum + log2 sum) * ln 2 comes out without its last factor.
      for (size_t r = 0; r < std::size(maximum.v); ++r) {
        const float log_sum = std::log2(l.v[r]);
        maximum.v[r] = (m.v[r] + log_sum) / 0.69314718f - log_sum;
      }
    }
    Base::Finish(o, maximum, l, mutation_ == Mutation::kValueScaleDropped ? 1.0f : scale);
  }

 private:
  Mutation mutation_;
};

class MutantBackend : public HostBackend {
 public:
  MutantBackend(const BackendContext& context, Mutation mutation)
      : HostBackend(context), mutation_(mutation) {}
  std::string Name() const override { return kNames[static_cast<size_t>(mutation_)]; }
  Support Supports(const AttentionSpec&, int32_t) const override { return {}; }

  Result<std::unique_ptr<AttentionPlan>> NewPlan(const AttentionSpec& spec,
                                                 const PlanCapacity& capacity) override {
    return std::unique_ptr<AttentionPlan>(
        NewPlannedWork(spec, capacity,
                       {.workers = 4, .max_rows = 16, .key_step = 16, .min_split_keys = 32},
                       device_, kernel::WideMemory::Bytes(spec.head_size, spec.value_size()))
            .value());
  }

  Status Prepare(AttentionPlan* plan, const AttentionBatch& batch, Stream&) override {
    return PrepareWork(batch, static_cast<PlannedWork*>(plan));
  }

  Status Run(AttentionPlan* plan, const AttentionBatch& batch, const KvCache& cache,
             const RunArgs& run_args, Stream&) override {
    const auto& work = *static_cast<const PlannedWork*>(plan);
    const AttentionSpec& spec = work.spec();
    memory_ = work.worker_memory.data();
    kernel::KernelArgs args = MakeKernelArgs(batch, cache, run_args, work);
    const std::vector<int32_t> table = BreakArguments(spec, batch, cache, run_args, &args);
    for (kernel::WorkItem item : work.work.items) {
      if (mutation_ == Mutation::kSinkInEveryPart) item.first_part = 1;
      if (mutation_ == Mutation::kSinkDropped) item.first_part = 0;
      RunItem(spec, args, item);
    }
    for (const kernel::MergeItem& merge : work.work.merges) MergeRows(spec, args, merge);
    return {};
  }

 private:
  // What is broken before the kernel runs. Returns the memory of a broken block table.
  std::vector<int32_t> BreakArguments(const AttentionSpec& spec, const AttentionBatch& batch,
                                      const KvCache& cache, const RunArgs& run_args,
                                      kernel::KernelArgs* args) {
    if (mutation_ == Mutation::kKeyScaleDropped) args->key_scales = nullptr;
    if (mutation_ == Mutation::kOutputScaleDropped) args->inverse_output_scale = 1.0f;
    if (mutation_ == Mutation::kQueryScaleDropped) args->scale /= run_args.query_scale;
    if (mutation_ == Mutation::kSpansIgnored) args->mask.max_prefix_ranges = 0;
    if (mutation_ == Mutation::kChunkOffByOne && args->mask.chunk_size > 0) ++args->mask.chunk_size;
    if (mutation_ == Mutation::kSlopeOfNeighbour && args->alibi_slopes != nullptr) {
      slopes_.assign(args->alibi_slopes, args->alibi_slopes + spec.num_heads);
      std::rotate(slopes_.begin(), slopes_.begin() + 1, slopes_.end());
      args->alibi_slopes = slopes_.data();
    }
    std::vector<int32_t> table;
    if (mutation_ == Mutation::kBlockTableOff && args->block_table != nullptr) {
      table.assign(batch.device.block_table,
                   batch.device.block_table + batch.num_seqs * batch.block_table_stride);
      for (int32_t& block : table) block = block < 0 ? block : (block + 1) % cache.num_blocks;
      args->block_table = table.data();
    }
    return table;
  }

  void RunItem(const AttentionSpec& spec, const kernel::KernelArgs& args,
               const kernel::WorkItem& item) {
    switch (spec.cache_dtype) {
      case DType::kInt8:
        return RunElement<kernel::Int8Element>(spec, args, item);
      case DType::kE4M3FN:
        return RunElement<kernel::E4M3FNElement>(spec, args, item);
      case DType::kE4M3FNUZ:
        return RunElement<kernel::E4M3FNUZElement>(spec, args, item);
      default:
        return RunElement<kernel::BFloat16Element>(spec, args, item);
    }
  }

  template <class Element>
  void RunElement(const AttentionSpec& spec, const kernel::KernelArgs& args,
                  const kernel::WorkItem& item) {
    // Operations are static functions: what they break is fixed at compile time.
    switch (mutation_) {
      case Mutation::kCausalOffByOne:
        return RunTiles<MutantTiles<Element, Mutation::kCausalOffByOne>>(spec, args, item);
      case Mutation::kWindowOffByOne:
        return RunTiles<MutantTiles<Element, Mutation::kWindowOffByOne>>(spec, args, item);
      case Mutation::kSoftCapDropped:
        return RunTiles<MutantTiles<Element, Mutation::kSoftCapDropped>>(spec, args, item);
      case Mutation::kBiasDropped:
        return RunTiles<MutantTiles<Element, Mutation::kBiasDropped>>(spec, args, item);
      default:
        return RunTiles<MutantTiles<Element, Mutation::kNone>>(spec, args, item);
    }
  }

  template <class Tiles>
  void RunTiles(const AttentionSpec& spec, const kernel::KernelArgs& args,
                const kernel::WorkItem& item) {
    Tiles tiles(mutation_, args, item, memory_);
    switch (LogitsOf(spec)) {
      case kernel::Logits::kScaled:
        return kernel::scalar::Attend<Tiles, kernel::Logits::kScaled>(tiles, args, item);
      case kernel::Logits::kSoftCapped:
        return kernel::scalar::Attend<Tiles, kernel::Logits::kSoftCapped>(tiles, args, item);
      case kernel::Logits::kBiased:
        return kernel::scalar::Attend<Tiles, kernel::Logits::kBiased>(tiles, args, item);
    }
  }

  const Mutation mutation_;
  void* memory_ = nullptr;
  std::vector<float> slopes_;
};

// How many of the problems see a difference beyond the conformance test's own tolerance.
int Noticed(Backend* backend, Device* device, const std::vector<CaseOptions>& cases) {
  int noticed = 0;
  for (const CaseOptions& options : cases) {
    const bool narrow = SizeOf(options.spec.output_dtype) == 1;
    const auto errors = AttentionCase(options).Check(backend, {device}, narrow ? 2.3e-4 : 3e-5,
                                                     narrow ? 0.0631 : 1e-5);
    noticed += !errors.problem.empty() || !(errors.output <= 1.0) || !(errors.lse <= 1e-4);
  }
  return noticed;
}

TEST(Mutation, EveryBrokenRuleIsNoticed) {
  const std::unique_ptr<Device> device = CreateCpuDevice();
  ThreadPool pool({.num_threads = 1});
  const std::vector<CaseOptions> cases = FeatureCases();
  for (int i = 0; i < static_cast<int>(Mutation::kCount); ++i) {
    MutantBackend backend({device.get(), &pool}, static_cast<Mutation>(i));
    const int noticed = Noticed(&backend, device.get(), cases);
    std::cout << "  " << backend.Name() << ": noticed by " << noticed << " of " << cases.size()
              << " problems\n";
    if (i == 0) {
      EXPECT_EQ(noticed, 0);
    } else {
      EXPECT_GT(noticed, 0) << backend.Name();
    }
  }
}

}  // namespace
}  // namespace tessera::testing
