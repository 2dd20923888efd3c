#include "attention/backends/portable/gpu/gpu_backend.h"

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "attention/backends/portable/gpu/gpu_plan.h"
#include "attention/backends/portable/gpu/kernel_args.h"
#include "attention/kernel/gpu/simt_support.h"

namespace tessera {

std::span<const KernelModule> PortableModules();  // what the build compiled

namespace {

using kernel::lanes::Machine;

Machine MachineOf(const GpuDevice& device) {
  if (device.info().arch == "simt") return Machine::kEmulator;
  return device.matrix_policy() == "mma" ? Machine::kNvidia : Machine::kAmd;
}

PlannerOptions OptionsOf(Machine machine, int32_t max_rows) {
  if (machine == Machine::kEmulator) {
    // As on a GPU: many blocks at a time, few rows in each; small enough for tests to split.
    return {.max_rows = max_rows,
            .key_step = 32,
            .min_split_keys = 64,
            .invariant_split_keys = 128,
            .max_partial_rows = 64};
  }
  // Measured on an H200: what a key of 512 bytes takes to read, 128 rows of products take half as
  // long again; 40 keys until an item's first ones have arrived; 2 for each row of a partial
  // result.
  return {.max_rows = max_rows,
          .key_step = 64,
          .min_split_keys = 128,
          .load_cost = 176,
          .item_cost = 7000,
          .whole_waves = true,
          .merge_cost = 360,
          .invariant_split_keys = 512};
}

// Rates that the kernels come near to, for the choice among backends.
struct Rates {
  double bytes_per_ns;
  double macs_per_ns;
};

Rates RatesOf(const DeviceInfo& info) {
  if (info.arch == "simt") return {1e-3, 1e-3};
  if (info.arch.starts_with("sm_9")) return {3000, 250000};
  if (info.arch == "gfx942") return {3000, 150000};
  return {1000, 60000};
}

class GpuPortableBackend final : public Backend {
 public:
  static Result<std::unique_ptr<Backend>> Create(GpuDevice* device) {
    auto backend = std::unique_ptr<GpuPortableBackend>(new GpuPortableBackend(device));
    TESSERA_ASSIGN_OR_RETURN(GpuModule* const module, backend->Load("cache_kernels"));
    TESSERA_ASSIGN_OR_RETURN(backend->merge_, module->Find("merge", 0));
    TESSERA_ASSIGN_OR_RETURN(backend->write_, module->Find("write_kv", kWriteSharedBytes));
    return std::unique_ptr<Backend>(std::move(backend));
  }

  std::string Name() const override { return "portable"; }

  Support Supports(const AttentionSpec& spec, int32_t block_size) const override {
    Support support{.reasons = kernel::lanes::SimtRefusalReasons(spec, block_size)};
    const double elements = spec.head_size + spec.value_size();
    const Rates rates = RatesOf(device_->info());
    support.decode_ns_per_key =
        elements * static_cast<double>(SizeOf(spec.cache_dtype)) / rates.bytes_per_ns;
    support.prefill_ns_per_key = elements / rates.macs_per_ns;
    return support;
  }

  Result<std::unique_ptr<AttentionPlan>> NewPlan(const AttentionSpec& spec,
                                                 const PlanCapacity& capacity) override {
    const Instance* const instance = FindInstance(spec);
    if (instance == nullptr) return Unsupported("no kernel computes " + ToString(spec));
    TESSERA_ASSIGN_OR_RETURN(GpuModule* const module, Load(instance->module));
    // One kernel for all rows, if a row must not depend on how many there are.
    LoadedKernel few{spec.batch_invariant ? instance->many : instance->few, {}};
    LoadedKernel many{instance->many, {}};
    for (LoadedKernel* const kernel : {&few, &many}) {
      TESSERA_ASSIGN_OR_RETURN(kernel->kernel,
                               module->Find(kernel->info.name, kernel->info.shared_bytes));
    }
    TESSERA_ASSIGN_OR_RETURN(std::unique_ptr<GpuPlan> plan,
                             GpuPlan::Create(spec, capacity, OptionsOf(machine_, many.info.rows),
                                             device_, few, many, device_->info().num_units));
    return std::unique_ptr<AttentionPlan>(std::move(plan));
  }

  Status Prepare(AttentionPlan* plan, const AttentionBatch& batch, Stream& stream) override {
    return static_cast<GpuPlan*>(plan)->Prepare(batch, static_cast<GpuStream&>(stream));
  }

  Status WriteKv(const AttentionPlan& plan, const AttentionBatch& batch, const WriteKvArgs& args,
                 const KvCache& cache, Stream& stream) override;

  Status Run(AttentionPlan* plan, const AttentionBatch& batch, const KvCache& cache,
             const RunArgs& run_args, Stream& stream) override {
    TESSERA_RETURN_IF_ERROR(CheckPacking(cache));
    const auto& work = *static_cast<const GpuPlan*>(plan);
    const kernel::KernelArgs args = MakeKernelArgs(batch, cache, run_args, work);
    auto& gpu = static_cast<GpuStream&>(stream);
    for (const GpuPlan::Pass& pass : work.passes()) {
      LaunchItems(gpu, work.many, {args, pass.many.data}, pass.many.count);
      LaunchItems(gpu, work.few, {args, pass.few.data}, pass.few.count);
      gpu.Launch(merge_,
                 {.blocks = pass.merges.count * kernel::kBlocksPerMerge,
                  .threads = kernel::kMergeThreads,
                  .wave = kernel::kMergeThreads},
                 kernel::MergeKernelArgs{args, pass.merges.data});
    }
    return {};
  }

 private:
  static constexpr int64_t kWriteSharedBytes = sizeof(float) * kernel::kWriteThreads;

  explicit GpuPortableBackend(GpuDevice* device)
      : device_(device),
        machine_(MachineOf(*device)),
        instances_(MakeInstances(machine_, device->matrix_policy())) {}

  static Status CheckPacking(const KvCache& cache) {
    if (cache.packing == KvPacking::kStandard) return {};
    return Unsupported("the portable backend reads and writes KV caches of the standard layout");
  }

  static void LaunchItems(GpuStream& stream, const LoadedKernel& kernel,
                          const kernel::AttentionKernelArgs& args, int64_t items) {
    stream.Launch(kernel.kernel,
                  {.blocks = items,
                   .threads = kernel.info.threads,
                   .wave = kernel.info.wave,
                   .shared_bytes = kernel.info.shared_bytes},
                  args);
  }

  const Instance* FindInstance(const AttentionSpec& spec) const {
    for (const Instance& instance : instances_) {
      if (Takes(instance.instance, spec)) return &instance;
    }
    return nullptr;
  }

  // The module of this name, loaded once.
  Result<GpuModule*> Load(const std::string& name) {
    std::unique_ptr<GpuModule>& module = modules_[name];
    for (const KernelModule& built : PortableModules()) {
      if (module != nullptr || name != built.name) continue;
      TESSERA_ASSIGN_OR_RETURN(module, device_->Load(built.images));
    }
    TESSERA_CHECK(module != nullptr, "a module that was not built: " + name);
    return module.get();
  }

  GpuDevice* const device_;
  const Machine machine_;
  const std::vector<Instance> instances_;
  std::map<std::string, std::unique_ptr<GpuModule>> modules_;
  GpuKernel merge_, write_;
};

Status GpuPortableBackend::WriteKv(const AttentionPlan& plan, const AttentionBatch& batch,
                                   const WriteKvArgs& args, const KvCache& cache, Stream& stream) {
  const AttentionSpec& spec = plan.spec();
  if (spec.shares_kv) return {};
  TESSERA_RETURN_IF_ERROR(CheckPacking(cache));
  if (SizeOf(args.dtype) == 1 && args.dtype != cache.dtype) {
    return Unsupported(std::string("new keys of type ") + ToString(args.dtype) +
                       " cannot be written to a KV cache of type " + ToString(cache.dtype) +
                       "; give them as float32, float16 or bfloat16");
  }
  const bool head_scales =
      spec.kv_scales == ScaleMode::kPerTensor || spec.kv_scales == ScaleMode::kPerHead;
  const bool own_scales = spec.kv_scales == ScaleMode::kPerTokenHead;
  static_cast<GpuStream&>(stream).Launch(
      write_,
      {.blocks = batch.num_seqs > 0 ? int64_t{batch.num_tokens} * spec.num_kv_heads : 0,
       .threads = kernel::kWriteThreads,
       .wave = kernel::kWriteThreads,
       .shared_bytes = kWriteSharedBytes},
      kernel::WriteKernelArgs{
          .key = args.key,
          .value = args.value,
          .key_token_stride = args.key_token_stride,
          .key_head_stride = args.key_head_stride,
          .value_token_stride = args.value_token_stride,
          .value_head_stride = args.value_head_stride,
          .query_start_loc = batch.device.query_start_loc,
          .slot_mapping = batch.device.slot_mapping,
          .num_seqs = batch.num_seqs,
          .num_kv_heads = spec.num_kv_heads,
          .cache = cache.data,
          .block_stride = cache.block_stride,
          .head_stride = cache.head_stride,
          .token_stride = cache.token_stride,
          .value_offset = cache.v_offset,
          .block_size = cache.block_size,
          .key_size = spec.head_size,
          .value_size = spec.value_size(),
          .key_scales = head_scales ? cache.k_scale : nullptr,
          .value_scales = head_scales ? cache.v_scale : nullptr,
          .scale_head_stride = spec.kv_scales == ScaleMode::kPerHead,
          .key_scale_offset = own_scales ? cache.k_scale_offset : 0,
          .value_scale_offset = own_scales ? cache.v_scale_offset : 0,
          .new_dtype = static_cast<uint8_t>(args.dtype),
          .cache_dtype = static_cast<uint8_t>(cache.dtype),
      });
  return {};
}

}  // namespace

Support ProbeGpuPortable(const DeviceInfo& device) {
  std::string built;
  for (const KernelImage& image : PortableModules().front().images) {
    if (RunsCode(device.arch, image.arch)) return {};
    built += (built.empty() ? "" : ", ") + std::string(image.arch);
  }
  return {.reasons = {std::string("this build has no instance of its kernel for ") +
                      ToString(device.kind) + " devices" +
                      (device.arch.empty() ? "" : " of architecture " + device.arch) +
                      (built.empty() ? "" : " (it has " + built + ")")}};
}

Result<std::unique_ptr<Backend>> CreateGpuPortable(const BackendContext& context) {
  TESSERA_CHECK(IsGpu(*context.device), "a device that the probe refuses");
  return GpuPortableBackend::Create(static_cast<GpuDevice*>(context.device));
}

}  // namespace tessera
