#include "attention/backends/portable/emulated_backend.h"

#include <algorithm>
#include <utility>

#include "attention/host_backend.h"
#include "attention/kernel/gpu/merge_simt.h"
#include "attention/kernel/gpu/simt_instances.h"
#include "attention/kernel/gpu/tiles_simt.h"
#include "attention/planned_work.h"

namespace tessera {

namespace {

using kernel::KernelArgs;
using kernel::WorkItem;
using kernel::lanes::BlockShape;
using kernel::lanes::SimtInstance;

// One compiled instance.
struct EmulatedKernel {
  const char* policy;
  SimtInstance instance;
  int32_t rows;
  int32_t wave;
  int32_t threads;
  void (*run_block)(const KernelArgs& args, const WorkItem* items);
};

constexpr int32_t kStepKeys = 32;

template <class P, SimtInstance kInstance, BlockShape kShape>
EmulatedKernel MakeKernel() {
  using Tiles =
      kernel::lanes::SimtTiles<P, kInstance.cache, kInstance.head_size, kShape, kInstance.general>;
  return {P::kName, kInstance,       Tiles::kRows,
          P::WAVE,  Tiles::kThreads, &kernel::lanes::RunBlock<Tiles, kInstance.logits>};
}

// For each instance waves that divide the keys, then waves that divide the rows.
template <class P>
void AppendPolicy(std::vector<EmulatedKernel>* kernels) {
  constexpr int kStages = P::kTransposes ? 2 : 1;  // as GPUs use them
  constexpr int kWaveKeys = P::X < 32 ? 16 : 32;
  constexpr BlockShape kFewRows{
      .row_waves = 1, .key_waves = 2, .wave_keys = kWaveKeys, .stages = kStages};
  constexpr BlockShape kMostRows{.row_waves = P::X < 32 && !P::kTransposes ? 4 : 2,
                                 .row_tiles = P::kTransposes ? 2 : 1,
                                 .stages = kStages};
  kernel::lanes::ForEachSimtInstance([&]<SimtInstance kInstance>() {
    kernels->push_back(MakeKernel<P, kInstance, kFewRows>());
    kernels->push_back(MakeKernel<P, kInstance, kMostRows>());
  });
}

const std::vector<EmulatedKernel>& Kernels() {
  static const std::vector<EmulatedKernel> kernels = [] {
    std::vector<EmulatedKernel> list;
    AppendPolicy<kernel::MmaM16N8K16>(&list);
    AppendPolicy<kernel::Mfma32x32x8>(&list);
    AppendPolicy<kernel::Mfma16x16x16>(&list);
    AppendPolicy<kernel::Wmma16x16x16>(&list);
    return list;
  }();
  return kernels;
}

class EmulatedBackend : public HostBackend {
 public:
  EmulatedBackend(const BackendContext& context, std::string policy, unsigned seed)
      : HostBackend(context), policy_(std::move(policy)), seed_(seed) {}

  std::string Name() const override { return "emulated:" + policy_; }

  Support Probe(const DeviceInfo&) const override { return {}; }

  Support Supports(const AttentionSpec& spec, int32_t block_size) const override {
    return {.reasons = kernel::lanes::SimtRefusalReasons(spec, block_size)};
  }

  std::unique_ptr<AttentionPlan> Plan(const AttentionSpec& spec, const AttentionBatch& batch,
                                      std::unique_ptr<AttentionPlan> reuse) override {
    // As on a GPU: many blocks at a time, few rows in each.
    return PlanStep(spec, batch,
                    {.workers = 16,
                     .max_rows = FindKernel(spec, kManyRows).rows,
                     .key_step = kStepKeys,
                     .min_split_keys = 2 * kStepKeys,
                     .invariant_split_keys = 4 * kStepKeys},
                    std::move(reuse));
  }

  void Run(const AttentionPlan& plan, const AttentionSpec& spec, const AttentionBatch& batch,
           const KvCache& cache, const RunArgs& run_args) override {
    auto& work = const_cast<PlannedWork&>(static_cast<const PlannedWork&>(plan));
    const KernelArgs args = MakeKernelArgs(spec, batch, cache, run_args, &work);
    std::vector<WorkItem> items = work.work.items;
    const auto many = std::stable_partition(items.begin(), items.end(), [&](const WorkItem& item) {
      return item.row_count <= FindKernel(spec, 1).rows;
    });
    Launch(FindKernel(spec, 1), args, {items.begin(), many});
    Launch(FindKernel(spec, kManyRows), args, {many, items.end()});
    const std::vector<kernel::MergeItem>& merges = work.work.merges;
    constexpr int kBlocksPerMerge = 2, kThreads = 32;
    simt::emulator::Launch(
        {.blocks = static_cast<int>(merges.size()) * kBlocksPerMerge,
         .threads = kThreads,
         .seed = seed_},
        [&] { kernel::lanes::MergeBlock(args, merges.data(), kBlocksPerMerge, kThreads); });
  }

 private:
  static constexpr int32_t kManyRows = 64;  // at most what every policy has

  void Launch(const EmulatedKernel& kernel, const KernelArgs& args,
              const std::vector<WorkItem>& items) const {
    simt::emulator::Launch({.blocks = static_cast<int>(items.size()),
                            .threads = kernel.threads,
                            .wave = kernel.wave,
                            .seed = seed_},
                           [&] { kernel.run_block(args, items.data()); });
  }

  // The kernel that suits the spec best among those that hold so many rows, fewest first.
  const EmulatedKernel& FindKernel(const AttentionSpec& spec, int32_t rows) const {
    for (const EmulatedKernel& kernel : Kernels()) {
      if (kernel.policy == policy_ && kernel.rows >= rows && Takes(kernel.instance, spec)) {
        return kernel;
      }
    }
    TESSERA_CHECK(false, "a spec that Supports() refuses: " + ToString(spec));
    return Kernels().front();
  }

  std::string policy_;
  unsigned seed_;
};

}  // namespace

std::vector<std::string> EmulatedPolicies() {
  std::vector<std::string> policies;
  for (const EmulatedKernel& kernel : Kernels()) {
    if (policies.empty() || policies.back() != kernel.policy) policies.emplace_back(kernel.policy);
  }
  return policies;
}

std::unique_ptr<Backend> CreateEmulatedBackend(const BackendContext& context,
                                               const std::string& policy, unsigned seed) {
  return std::make_unique<EmulatedBackend>(context, policy, seed);
}

}  // namespace tessera
