#include "attention/backends/portable/portable_backend.h"

#include <utility>
#include <vector>

#include "attention/backends/portable/cpu_kernels.h"
#include "attention/backends/portable/gpu/gpu_backend.h"
#include "attention/feature_check.h"
#include "attention/host_backend.h"
#include "attention/kernel/cpu/wide_memory.h"
#include "attention/planned_work.h"
#include "device/gpu/gpu_device.h"

namespace tessera {

namespace {

using kernel::WideMemory;

class PortableBackend : public HostBackend {
 public:
  PortableBackend(const BackendContext& context, std::string policy)
      : HostBackend(context), policy_(std::move(policy)) {}

  std::string Name() const override { return "portable"; }

  Support Supports(const AttentionSpec& spec, int32_t block_size) const override {
    Support support{.reasons = RefusalReasons(FeatureSet::All(), spec, block_size)};
    const double macs = spec.head_size + spec.value_size();
    support.decode_ns_per_key = policy_ == "scalar" ? macs : 0.1 * macs;
    support.prefill_ns_per_key = policy_ == "scalar" ? macs : 0.01 * macs;
    return support;
  }

  Result<std::unique_ptr<AttentionPlan>> NewPlan(const AttentionSpec& spec,
                                                 const PlanCapacity& capacity) override {
    TESSERA_ASSIGN_OR_RETURN(
        std::unique_ptr<PlannedWork> plan,
        NewPlannedWork(spec, capacity,
                       {.workers = threads_->num_threads(),
                        .max_rows = WideMemory::MaxRows(spec.head_size, spec.value_size()),
                        .key_step = WideMemory::kMaxKeys},
                       device_, WideMemory::Bytes(spec.head_size, spec.value_size())));
    return std::unique_ptr<AttentionPlan>(std::move(plan));
  }

  Status Prepare(AttentionPlan* plan, const AttentionBatch& batch, Stream& /*stream*/) override {
    return PrepareWork(batch, static_cast<PlannedWork*>(plan));
  }

  Status Run(AttentionPlan* plan, const AttentionBatch& batch, const KvCache& cache,
             const RunArgs& run_args, Stream& stream) override {
    const auto& work = *static_cast<const PlannedWork*>(plan);
    const CpuKernel& kernel = FindKernel(work.spec());
    const HostAccess access(stream);
    RunWork(MakeKernelArgs(batch, cache, run_args, work), work, threads_, kernel.run);
    return {};
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

  const std::string policy_;
};

}  // namespace

Result<std::unique_ptr<Backend>> CreatePortableBackend(const BackendContext& context,
                                                       const PortableOptions& options) {
  const std::vector<std::string> policies = CpuPolicies();
  std::string known;
  for (const std::string& policy : policies) {
    if (options.cpu_policy.empty() || options.cpu_policy == policy) {
      return std::unique_ptr<Backend>(std::make_unique<PortableBackend>(context, policy));
    }
    known += (known.empty() ? "" : ", ") + policy;
  }
  return InvalidArgument("this CPU has no kernel policy '" + options.cpu_policy + "'; it has " +
                         known);
}

Support ProbePortableBackend(const DeviceInfo& device) {
  return device.kind == DeviceKind::kCpu ? Support{} : ProbeGpuPortable(device);
}

Result<std::unique_ptr<Backend>> CreatePortableBackend(const BackendContext& context) {
  const DeviceInfo& device = context.device->info();
  if (IsGpu(*context.device)) return CreateGpuPortable(context);
  if (device.kind != DeviceKind::kCpu) {
    return Unsupported(std::string("this ") + ToString(device.kind) +
                       " device was not opened by OpenDevice(), and takes no kernels");
  }
  return CreatePortableBackend(context, {});
}

}  // namespace tessera
