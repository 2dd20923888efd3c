#include "attention/backends/x86/x86_backend.h"

#include <utility>

#include "attention/backends/x86/x86_kernels.h"
#include "attention/feature_check.h"
#include "attention/host_backend.h"
#include "attention/planned_work.h"

namespace tessera {

namespace {

using kernel::KernelArgs;
using kernel::WorkItem;
using x86::Family;

// The fastest that the machine can run; kAvx512 if it can run none, which the probe reports.
Family BestFamily(const DeviceInfo& cpu) {
  if (x86::MissingRequirements(Family::kAmx, cpu).empty()) return Family::kAmx;
  // Elsewhere VDPBF16PS is slower than float32.
  const bool amd = cpu.name.find("AMD") != std::string::npos;
  if (amd && x86::MissingRequirements(Family::kAvx512Bf16, cpu).empty()) return Family::kAvx512Bf16;
  return Family::kAvx512;
}

class X86Backend : public HostBackend {
 public:
  X86Backend(const BackendContext& context, Family family)
      : HostBackend(context), family_(family) {}

  std::string Name() const override { return "x86"; }

  Support Supports(const AttentionSpec& spec, int32_t block_size) const override {
    Support support{.reasons = RefusalReasons(FeatureSet::All(), spec, block_size)};
    // Decoding waits for memory. In prefill a matrix family multiplies 2 or 10 times as fast.
    const double macs = spec.head_size + spec.value_size();
    const bool matrix = spec.cache_dtype == DType::kBFloat16 || SizeOf(spec.cache_dtype) == 1;
    support.decode_ns_per_key = 0.05 * macs;
    support.prefill_ns_per_key = 0.006 * macs;
    if (matrix && family_ == Family::kAvx512Bf16) support.prefill_ns_per_key = 0.003 * macs;
    if (matrix && family_ == Family::kAmx) support.prefill_ns_per_key = 0.001 * macs;
    return support;
  }

  Result<std::unique_ptr<AttentionPlan>> NewPlan(const AttentionSpec& spec,
                                                 const PlanCapacity& capacity) override {
    const x86::Kernels kernels = x86::KernelsFor(family_, spec.cache_dtype);
    TESSERA_CHECK(kernels.few_rows != nullptr,
                  "a plan for a spec that Supports() refuses: " + ToString(spec));
    const int64_t floats = kernels.memory(spec.head_size, spec.value_size());
    TESSERA_ASSIGN_OR_RETURN(
        std::unique_ptr<PlannedWork> plan,
        NewPlannedWork(
            spec, capacity,
            {.workers = threads_->num_threads(), .max_rows = kernels.max_rows, .key_step = 256},
            device_, floats * int64_t{sizeof(float)}));
    return std::unique_ptr<AttentionPlan>(std::move(plan));
  }

  Status Prepare(AttentionPlan* plan, const AttentionBatch& batch, Stream& /*stream*/) override {
    return PrepareWork(batch, static_cast<PlannedWork*>(plan));
  }

  Status Run(AttentionPlan* plan, const AttentionBatch& batch, const KvCache& cache,
             const RunArgs& run_args, Stream& stream) override {
    const auto& work = *static_cast<const PlannedWork*>(plan);
    const x86::Kernels kernels = x86::KernelsFor(family_, work.spec().cache_dtype);
    const HostAccess access(stream);
    RunWork(MakeKernelArgs(batch, cache, run_args, work), work, threads_,
            [&](const KernelArgs& args, const WorkItem& item, void* memory) {
              const bool few = item.row_count <= kernels.few_rows_limit;
              (few ? kernels.few_rows : kernels.many_rows)(args, item, static_cast<float*>(memory));
            });
    return {};
  }

 private:
  const Family family_;
};

}  // namespace

Result<std::unique_ptr<Backend>> CreateX86Backend(const BackendContext& context,
                                                  const X86Options& options) {
  std::string known;
  for (Family family : x86::kFamilies) {
    if (options.family == x86::ToString(family)) {
      const std::vector<std::string> missing =
          x86::MissingRequirements(family, context.device->info());
      if (!missing.empty()) return Unsupported(options.family + ": " + missing.front());
      return std::unique_ptr<Backend>(std::make_unique<X86Backend>(context, family));
    }
    known += (known.empty() ? "" : ", ") + std::string(x86::ToString(family));
  }
  return InvalidArgument("the x86 backend has no family '" + options.family + "'; it has " + known);
}

Support ProbeX86Backend(const DeviceInfo& device) {
  if (device.kind != DeviceKind::kCpu) {
    return {.reasons = {"it computes on the CPU, and this device is " + device.name}};
  }
  return {.reasons = x86::MissingRequirements(BestFamily(device), device)};
}

Result<std::unique_ptr<Backend>> CreateX86Backend(const BackendContext& context) {
  return std::unique_ptr<Backend>(
      std::make_unique<X86Backend>(context, BestFamily(context.device->info())));
}

std::vector<std::string> X86Families() {
  std::vector<std::string> names;
  for (Family family : x86::kFamilies) names.emplace_back(x86::ToString(family));
  return names;
}

}  // namespace tessera
