#include "attention/backends/portable/portable_backend.h"

#include <cstdlib>
#include <new>
#include <utility>
#include <vector>

#include "attention/backends/portable/cpu_kernels.h"
#include "attention/feature_check.h"
#include "attention/host_backend.h"
#include "attention/kernel/cpu/wide_memory.h"
#include "attention/planned_work.h"

namespace tessera {

namespace {

using kernel::KernelArgs;
using kernel::MergeItem;
using kernel::WideMemory;
using kernel::WorkItem;

const FeatureSet& Features() {
  static const FeatureSet features{
      .query_dtypes = {DType::kFloat32, DType::kFloat16, DType::kBFloat16, DType::kE4M3FN,
                       DType::kE4M3FNUZ, DType::kE5M2},
      .cache_dtypes = {DType::kFloat32, DType::kFloat16, DType::kBFloat16, DType::kE4M3FN,
                       DType::kE4M3FNUZ, DType::kE5M2, DType::kInt8},
      .output_dtypes = {DType::kFloat32, DType::kFloat16, DType::kBFloat16, DType::kE4M3FN,
                        DType::kE4M3FNUZ, DType::kE5M2},
      .max_head_size = 1024,
      .per_request_causality = true,
      .window = true,
      .chunks = true,
      .soft_cap = true,
      .alibi = true,
      .sinks = true,
      .query_query_bias = true,
      .prefix_ranges = true,
      .encoder = true,
      .cross = true,
      .scale_modes = {ScaleMode::kNone, ScaleMode::kPerTensor, ScaleMode::kPerHead,
                      ScaleMode::kPerTokenHead},
      .fp8_output = true,
  };
  return features;
}

struct FreeDeleter {
  void operator()(void* p) const { std::free(p); }
};
using AlignedMemory = std::unique_ptr<void, FreeDeleter>;

AlignedMemory AllocateAligned(int64_t bytes) {
  constexpr size_t kAlignment = 64;
  void* p = std::aligned_alloc(
      kAlignment, (static_cast<size_t>(bytes) + kAlignment - 1) / kAlignment * kAlignment);
  if (p == nullptr) throw std::bad_alloc();
  return AlignedMemory(p);
}

// The work of a step, in one or two kernel calls.
struct PortablePlan : AttentionPlan {
  std::vector<std::unique_ptr<PlannedWork>> calls;
};

class PortableBackend : public HostBackend {
 public:
  PortableBackend(const BackendContext& context, std::string policy, PortableMode mode)
      : HostBackend(context), policy_(std::move(policy)), mode_(mode) {}

  std::string Name() const override { return "portable"; }

  Support Probe(const DeviceInfo& device) const override {
    if (device.kind == DeviceKind::kCpu) return {};
    return {.reasons = {std::string("this build has no instance of its kernel for ") +
                        ToString(device.kind) + " devices"}};
  }

  Support Supports(const AttentionSpec& spec, int32_t block_size) const override {
    Support support{.reasons = RefusalReasons(Features(), spec, block_size)};
    const double macs = spec.head_size + spec.value_size();
    support.decode_ns_per_key = policy_ == "scalar" ? macs : 0.1 * macs;
    support.prefill_ns_per_key = policy_ == "scalar" ? macs : 0.01 * macs;
    return support;
  }

  std::unique_ptr<AttentionPlan> Plan(const AttentionSpec& spec, const AttentionBatch& batch,
                                      std::unique_ptr<AttentionPlan> reuse) override {
    auto plan = reuse != nullptr
                    ? std::unique_ptr<PortablePlan>(static_cast<PortablePlan*>(reuse.release()))
                    : std::make_unique<PortablePlan>();
    PlannerOptions options{.workers = threads_->num_threads(),
                           .max_rows = WideMemory::MaxRows(spec.head_size, spec.value_size()),
                           .key_step = WideMemory::kMaxKeys};
    plan->calls.resize(mode_ == PortableMode::kSplit ? 2 : 1);
    if (mode_ == PortableMode::kUnified) {
      plan->calls[0] = PlanStep(spec, batch, options, std::move(plan->calls[0]));
      return plan;
    }
    options.phases = Phases::kDecode;
    plan->calls[1] = PlanStep(spec, batch, options, std::move(plan->calls[1]));
    options.phases = Phases::kPrefill;
    options.split_keys = false;
    plan->calls[0] = PlanStep(spec, batch, options, std::move(plan->calls[0]));
    return plan;
  }

  void Run(const AttentionPlan& plan, const AttentionSpec& spec, const AttentionBatch& batch,
           const KvCache& cache, const RunArgs& run_args) override {
    const CpuKernel& kernel = FindKernel(spec);
    ReserveMemory(spec);
    for (const std::unique_ptr<PlannedWork>& work : static_cast<const PortablePlan&>(plan).calls) {
      // The plan is constant but for the partial results, which are this run's scratch memory.
      const KernelArgs args = MakeKernelArgs(spec, batch, cache, run_args, work.get());
      const std::vector<WorkItem>& items = work->work.items;
      threads_->ParallelFor(static_cast<int64_t>(items.size()), [&](int64_t i, int worker) {
        kernel.run(args, items[static_cast<size_t>(i)], memory_[static_cast<size_t>(worker)].get());
      });
      const std::vector<MergeItem>& merges = work->work.merges;
      threads_->ParallelFor(static_cast<int64_t>(merges.size()), [&](int64_t i, int) {
        MergeRows(spec, args, merges[static_cast<size_t>(i)]);
      });
    }
  }

 private:
  const CpuKernel& FindKernel(const AttentionSpec& spec) const {
    for (const CpuKernel& kernel : CpuKernels()) {
      if (kernel.policy == policy_ && kernel.cache_dtype == spec.cache_dtype &&
          kernel.logits == LogitsOf(spec)) {
        return kernel;
      }
    }
    TESSERA_CHECK(false, "Run() of a spec that Supports() refuses: " + ToString(spec));
    return CpuKernels().front();
  }

  void ReserveMemory(const AttentionSpec& spec) {
    const int64_t bytes = WideMemory::Bytes(spec.head_size, spec.value_size());
    if (bytes <= memory_bytes_) return;
    memory_.clear();
    memory_bytes_ = 0;  // for the case that an allocation throws
    for (int i = 0; i < threads_->num_threads(); ++i) memory_.push_back(AllocateAligned(bytes));
    memory_bytes_ = bytes;
  }

  std::string policy_;
  PortableMode mode_;
  std::vector<AlignedMemory> memory_;  // one piece a thread
  int64_t memory_bytes_ = 0;
};

}  // namespace

Result<std::unique_ptr<Backend>> CreatePortableBackend(const BackendContext& context,
                                                       const PortableOptions& options) {
  const std::vector<std::string> policies = CpuPolicies();
  std::string known;
  for (const std::string& policy : policies) {
    if (options.cpu_policy.empty() || options.cpu_policy == policy) {
      return std::unique_ptr<Backend>(
          std::make_unique<PortableBackend>(context, policy, options.mode));
    }
    known += (known.empty() ? "" : ", ") + policy;
  }
  return InvalidArgument("this CPU has no kernel policy '" + options.cpu_policy + "'; it has " +
                         known);
}

std::unique_ptr<Backend> CreatePortableBackend(const BackendContext& context) {
  return std::make_unique<PortableBackend>(context, CpuPolicies().front(), PortableMode::kUnified);
}

}  // namespace tessera
