#include "attention/backends/x86/x86_backend.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "attention/backends/x86/x86_kernels.h"
#include "attention/feature_check.h"
#include "attention/host_backend.h"
#include "attention/planned_work.h"
#include "base/memory.h"

namespace tessera {

namespace {

using kernel::KernelArgs;
using kernel::MergeItem;
using kernel::WorkItem;
using x86::Family;

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

// The fastest that the machine can run; kAvx512 where it can run none, which Probe() tells.
Family BestFamily(const DeviceInfo& cpu) {
  if (x86::Obstacles(Family::kAmx, cpu).empty()) return Family::kAmx;
  // Elsewhere VDPBF16PS is slower than float32.
  const bool amd = cpu.name.find("AMD") != std::string::npos;
  if (amd && x86::Obstacles(Family::kAvx512Bf16, cpu).empty()) return Family::kAvx512Bf16;
  return Family::kAvx512;
}

class X86Backend : public HostBackend {
 public:
  X86Backend(const BackendContext& context, Family family)
      : HostBackend(context), family_(family) {}

  std::string Name() const override { return "x86"; }

  Support Probe(const DeviceInfo& device) const override {
    if (device.kind != DeviceKind::kCpu) {
      return {
          .reasons = {std::string("it computes on the CPU, and this device is ") + device.name}};
    }
    return {.reasons = x86::Obstacles(family_, device)};
  }

  Support Supports(const AttentionSpec& spec, int32_t block_size) const override {
    Support support{.reasons = RefusalReasons(Features(), spec, block_size)};
    // Decoding waits for memory. In prefill a matrix family multiplies 2 or 10 times as fast.
    const double macs = spec.head_size + spec.value_size();
    const bool matrix = spec.cache_dtype == DType::kBFloat16 || SizeOf(spec.cache_dtype) == 1;
    support.decode_ns_per_key = 0.05 * macs;
    support.prefill_ns_per_key = 0.006 * macs;
    if (matrix && family_ == Family::kAvx512Bf16) support.prefill_ns_per_key = 0.003 * macs;
    if (matrix && family_ == Family::kAmx) support.prefill_ns_per_key = 0.001 * macs;
    return support;
  }

  std::unique_ptr<AttentionPlan> Plan(const AttentionSpec& spec, const AttentionBatch& batch,
                                      std::unique_ptr<AttentionPlan> reuse) override {
    return PlanStep(spec, batch,
                    {.workers = threads_->num_threads(),
                     .max_rows = x86::KernelsFor(family_, spec.cache_dtype).max_rows,
                     .key_step = 256},
                    std::move(reuse));
  }

  void Run(const AttentionPlan& plan, const AttentionSpec& spec, const AttentionBatch& batch,
           const KvCache& cache, const RunArgs& run_args) override {
    // The plan is constant but for the partial results, which are this run's scratch memory.
    auto& work = const_cast<PlannedWork&>(static_cast<const PlannedWork&>(plan));
    const KernelArgs args = MakeKernelArgs(spec, batch, cache, run_args, &work);
    const x86::Kernels kernels = x86::KernelsFor(family_, spec.cache_dtype);
    TESSERA_CHECK(kernels.few_rows != nullptr,
                  "Run() of a spec that Supports() refuses: " + ToString(spec));
    const int64_t stride = ReserveMemory(kernels, spec);

    const std::vector<WorkItem>& items = work.work.items;
    threads_->ParallelFor(static_cast<int64_t>(items.size()), [&](int64_t i, int worker) {
      const WorkItem& item = items[static_cast<size_t>(i)];
      float* memory = memory_.As<float>() + worker * stride;
      const bool few = item.row_count <= kernels.few_rows_limit;
      (few ? kernels.few_rows : kernels.many_rows)(args, item, memory);
    });
    const std::vector<MergeItem>& merges = work.work.merges;
    threads_->ParallelFor(static_cast<int64_t>(merges.size()), [&](int64_t i, int) {
      MergeRows(spec, args, merges[static_cast<size_t>(i)]);
    });
  }

 private:
  // Makes room for every thread; the distance between theirs, in floats.
  int64_t ReserveMemory(const x86::Kernels& kernels, const AttentionSpec& spec) {
    // No thread's lines beside another's.
    constexpr int64_t kPage = 1024;
    const int64_t floats =
        (kernels.memory(spec.head_size, spec.value_size()) + kPage - 1) / kPage * kPage;
    const int64_t bytes = floats * static_cast<int64_t>(sizeof(float)) * threads_->num_threads();
    if (bytes > memory_.size()) {
      memory_ = AlignedBuffer();
      Result<AlignedBuffer> memory = AlignedBuffer::Allocate(bytes);
      if (!memory.ok()) throw std::bad_alloc();
      memory_ = std::move(memory).value();
    }
    return floats;
  }

  Family family_;
  AlignedBuffer memory_;  // a piece for each thread
};

}  // namespace

Result<std::unique_ptr<Backend>> CreateX86Backend(const BackendContext& context,
                                                  const X86Options& options) {
  std::string known;
  for (Family family : x86::kFamilies) {
    if (options.family == x86::ToString(family)) {
      const std::vector<std::string> obstacles = x86::Obstacles(family, context.device);
      if (!obstacles.empty()) return Unsupported(options.family + ": " + obstacles.front());
      return std::unique_ptr<Backend>(std::make_unique<X86Backend>(context, family));
    }
    known += (known.empty() ? "" : ", ") + std::string(x86::ToString(family));
  }
  return InvalidArgument("the x86 backend has no family '" + options.family + "'; it has " + known);
}

std::unique_ptr<Backend> CreateX86Backend(const BackendContext& context) {
  return std::make_unique<X86Backend>(context, BestFamily(context.device));
}

std::vector<std::string> X86Families() {
  std::vector<std::string> names;
  for (Family family : x86::kFamilies) names.emplace_back(x86::ToString(family));
  return names;
}

}  // namespace tessera
