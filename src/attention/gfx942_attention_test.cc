// The attention kernel's machine code for gfx942 on the interpreter, against expectations in
// float64: every access is checked, also to within the arrays of the case.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "attention/host_backend.h"
#include "attention/planned_work.h"
#include "attention/testing/attention_case.h"
#include "attention/testing/gfx942_kernels.h"
#include "device/gpu/gfx942/launcher.h"
#include "device/gpu/gfx942/module.h"
#include "device/gpu/gfx942/packed_listing.h"
#include "device/gpu/gpu_device.h"

namespace tessera {

std::span<const KernelModule> Gfx942AttentionModules();

namespace testing {
namespace {

using ::testing::HasSubstr;

using Ranges = std::map<uint64_t, uint64_t>;  // begin, end

struct RecordedMemory final : Buffer::Owner {
  RecordedMemory(std::shared_ptr<Ranges> all, Buffer owned)
      : ranges(std::move(all)), buffer(std::move(owned)), begin(AddressOf(buffer)) {
    (*ranges)[begin] = begin + static_cast<uint64_t>(buffer.bytes());
  }
  ~RecordedMemory() override { ranges->erase(begin); }
  static uint64_t AddressOf(const Buffer& buffer) {
    return reinterpret_cast<uint64_t>(buffer.data());
  }
  const std::shared_ptr<Ranges> ranges;
  const Buffer buffer;
  const uint64_t begin;
};

// A CPU that remembers what is allocated.
class RecordingDevice final : public Device {
 public:
  const DeviceInfo& info() const override { return cpu_->info(); }
  Result<Buffer> Allocate(int64_t bytes, MemoryKind kind) override {
    TESSERA_ASSIGN_OR_RETURN(Buffer buffer, cpu_->Allocate(bytes, kind));
    void* const data = buffer.data();
    return Buffer(data, bytes, std::make_unique<RecordedMemory>(ranges, std::move(buffer)));
  }
  Result<std::unique_ptr<Stream>> NewStream() override { return cpu_->NewStream(); }
  int64_t free_bytes() const override { return cpu_->free_bytes(); }

  const std::shared_ptr<Ranges> ranges = std::make_shared<Ranges>();

 private:
  const std::unique_ptr<Device> cpu_ = CreateCpuDevice();
};

// The code object of gfx942 of module `index`.
std::unique_ptr<gfx942::Module> LoadModule(size_t index) {
  for (const KernelImage& image : Gfx942AttentionModules()[index].images) {
    if (std::string(image.arch) == "gfx942") {
      return gfx942::Module::Load(image.code, gfx942::UnpackListing(image.listing).value()).value();
    }
  }
  return nullptr;
}

class Gfx942Backend final : public HostBackend {
 public:
  Gfx942Backend(const BackendContext& context, RecordingDevice* device, gfx942::Module* module,
                std::string suffix)
      : HostBackend(context),
        launcher_(context.threads),
        recording_(device),
        module_(module),
        suffix_(std::move(suffix)) {}

  std::string Name() const override { return "gfx942"; }
  Support Supports(const AttentionSpec& /*spec*/, int32_t /*block_size*/) const override {
    return {};
  }
  Result<std::unique_ptr<AttentionPlan>> NewPlan(const AttentionSpec& spec,
                                                 const PlanCapacity& capacity) override {
    TESSERA_ASSIGN_OR_RETURN(std::unique_ptr<PlannedWork> plan,
                             NewPlannedWork(spec, capacity,
                                            {.workers = 16,
                                             .max_rows = kManyRows,
                                             .key_step = 64,
                                             .min_split_keys = 64,
                                             .invariant_split_keys = 128},
                                            device_, 0));
    return std::unique_ptr<AttentionPlan>(std::move(plan));
  }
  Status Prepare(AttentionPlan* plan, const AttentionBatch& batch, Stream& /*stream*/) override {
    return PrepareWork(batch, static_cast<PlannedWork*>(plan));
  }
  // What a launch finds wrong stays here, as it would in a stream.
  Status Run(AttentionPlan* plan, const AttentionBatch& batch, const KvCache& cache,
             const RunArgs& run_args, Stream& /*stream*/) override {
    status = LaunchAll(*static_cast<const PlannedWork*>(plan), batch, cache, run_args);
    return {};
  }

  Status status;

 private:
  Status LaunchAll(const PlannedWork& work, const AttentionBatch& batch, const KvCache& cache,
                   const RunArgs& run_args) {
    const kernel::KernelArgs args = MakeKernelArgs(batch, cache, run_args, work);
    std::vector<kernel::WorkItem> items;
    for (const kernel::WorkItem& item : work.work.items) {
      items.push_back(kernel::FitToLengths(args, item));
    }
    const auto many = std::stable_partition(
        items.begin(), items.end(),
        [](const kernel::WorkItem& item) { return item.row_count <= kFewRows; });
    const std::vector<kernel::WorkItem> few_items(items.begin(), many),
        many_items(many, items.end());
    TESSERA_RETURN_IF_ERROR(Launch("few_rows" + suffix_, few_items.size(), kAttentionThreads,
                                   AttentionArgs{args, few_items.data()}, few_items));
    TESSERA_RETURN_IF_ERROR(Launch("many_rows" + suffix_, many_items.size(), kAttentionThreads,
                                   AttentionArgs{args, many_items.data()}, many_items));
    const std::vector<kernel::MergeItem>& merges = work.work.merges;
    return Launch("merge", merges.size() * kBlocksPerMerge, kMergeThreads,
                  MergeArgs{args, merges.data()}, merges);
  }

  template <class Args, class Item>
  Status Launch(const std::string& name, size_t blocks, int32_t threads, const Args& args,
                const std::vector<Item>& items) {
    if (blocks == 0) return {};
    TESSERA_ASSIGN_OR_RETURN(const gfx942::Kernel* const kernel, module_->Find(name));
    gfx942::KernelLaunch launch{
        .kernel = kernel,
        .blocks = static_cast<int64_t>(blocks),
        .threads = threads,
        .arguments = {reinterpret_cast<const unsigned char*>(&args), sizeof(Args)}};
    for (const auto& [begin, end] : *recording_->ranges) launch.memory.push_back({begin, end});
    const auto begin = reinterpret_cast<uint64_t>(items.data());
    launch.memory.push_back({begin, begin + items.size() * sizeof(Item), false});
    return launcher_.Run(launch);
  }

  gfx942::Launcher launcher_;
  RecordingDevice* const recording_;
  gfx942::Module* const module_;
  const std::string suffix_;
};

class Gfx942AttentionTest : public ::testing::Test {
 protected:
  std::string Problem(const CaseOptions& options, gfx942::Module* module, double atol,
                      const std::string& suffix = "") {
    AttentionCase problem(options);
    Gfx942Backend backend({&device_, &pool_}, &device_, module, suffix);
    const auto errors = problem.Check(&backend, {.device = &device_}, atol, 5e-3);
    if (!backend.status.ok()) return backend.status.error().message;
    if (!errors.problem.empty()) return errors.problem;
    if (errors.output > 1.0) return "output is off by " + std::to_string(errors.worst_absolute);
    if (errors.lse > 1e-3) return "lse is off by " + std::to_string(errors.lse);
    return "";
  }

  ThreadPool pool_{{.num_threads = 2, .pin = false}};
  RecordingDevice device_;
};

AttentionSpec Spec(DType cache) {
  AttentionSpec spec{.num_heads = 4, .num_kv_heads = 2, .head_size = 128};
  spec.query_dtype = DType::kBFloat16;
  spec.cache_dtype = cache;
  spec.output_dtype = DType::kFloat32;
  return spec;
}
const std::vector<Sequence> kRagged = {{40, 200}, {1, 77}, {3, 3}, {1, 1}, {1, 300}, {5, 130}};

TEST_F(Gfx942AttentionTest, BFloat16OfFewAndManyRowsIsAsExpected) {
  const auto module = LoadModule(0);
  for (int32_t block_size : {16, 544}) {
    EXPECT_EQ(
        Problem({.spec = Spec(DType::kBFloat16), .sequences = kRagged, .block_size = block_size},
                module.get(), 8e-3),
        "");
  }
}

TEST_F(Gfx942AttentionTest, Fp8CacheOfFewAndManyRowsIsAsExpected) {
  const auto module = LoadModule(0);
  EXPECT_EQ(
      Problem({.spec = Spec(DType::kE4M3FN), .sequences = kRagged}, module.get(), 8e-3, "_fp8"),
      "");
}

TEST_F(Gfx942AttentionTest, DroppedBarrierIsARace) {
  const auto module = LoadModule(1);
  const std::string problem =
      Problem({.spec = Spec(DType::kBFloat16), .sequences = {{40, 200}}}, module.get(), 8e-3);
  EXPECT_THAT(problem, HasSubstr("a race in LDS"));
  EXPECT_THAT(problem, HasSubstr("kernel 'many_rows'"));
}

}  // namespace
}  // namespace testing
}  // namespace tessera
