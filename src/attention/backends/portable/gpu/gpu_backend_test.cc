// What the conformance test does not reach: graphs, refusals, and that the emulator notices errors.
#include "attention/backends/portable/gpu/gpu_backend.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>
#include <vector>

#include "attention/backends/portable/gpu/gpu_plan.h"
#include "attention/testing/attention_case.h"
#include "attention/testing/batch_invariance.h"
#include "attention/testing/graph_replay.h"
#include "device/gpu/rocm_emulated_device.h"
#include "device/gpu/simt_device.h"

extern "C" const tessera::HostKernel* tessera_simt_without_barrier(std::size_t* count);

namespace tessera {
namespace {

using ::testing::HasSubstr;

std::unique_ptr<GpuDevice> Open(const std::string& policy, unsigned seed = 1) {
  return OpenSimtDevice({.matrix_policy = policy, .seed = seed}).value();
}

AttentionSpec Spec(int32_t heads, int32_t kv_heads, int32_t head_size) {
  AttentionSpec spec;
  spec.num_heads = heads;
  spec.num_kv_heads = kv_heads;
  spec.head_size = head_size;
  return spec;
}

TEST(GpuBackend, CapturedStepServesOtherLengthsRequestsAndTables) {
  for (const char* policy : {"mma", "mfma", "wmma", "wmma11"}) {
    const auto device = Open(policy);
    const auto backend = CreateGpuPortable({device.get()}).value();
    // A group that a block of few rows holds, and one that it does not.
    for (const AttentionSpec& spec : {Spec(4, 2, 64), Spec(40, 1, 64)}) {
      EXPECT_EQ(testing::CheckGraphReplays(backend.get(), device.get(), spec), "") << policy;
      AttentionSpec invariant = spec;
      invariant.batch_invariant = true;
      EXPECT_EQ(testing::CheckGraphReplays(backend.get(), device.get(), invariant), "") << policy;
    }
  }
}

TEST(GpuBackend, CapturedStepServesSharedPrefixes) {
  for (const char* policy : {"mma", "mfma", "wmma", "wmma11"}) {
    const auto device = Open(policy);
    const auto backend = CreateGpuPortable({device.get()}).value();
    for (AttentionSpec spec : {Spec(4, 2, 64), Spec(40, 1, 64)}) {
      EXPECT_EQ(testing::CheckGraphReplays(backend.get(), device.get(), spec, true), "") << policy;
      spec.soft_cap = 20.0f;
      EXPECT_EQ(testing::CheckGraphReplays(backend.get(), device.get(), spec, true), "") << policy;
    }
  }
}

// A plan without room for shared prefixes has no items of them; one with room has them if a step
// has a prefix that is worth it.
TEST(GpuBackend, DecodePlansComputeSharedPrefixesOnceIfMadeForThem) {
  const auto device = Open("mma");
  const auto backend = CreateGpuPortable({device.get()}).value();
  const auto stream = device->NewStream().value();
  std::vector<int32_t> starts, lens(6, 700);
  for (int32_t seq = 0; seq <= 6; ++seq) starts.push_back(seq);
  AttentionBatch batch{.num_seqs = 6, .num_tokens = 6, .max_query_len = 1, .max_seq_len = 700};
  batch.host = {.query_start_loc = starts.data(), .seq_lens = lens.data()};
  for (const bool shared : {false, true}) {
    const PlanCapacity capacity{
        .max_seqs = 8, .max_tokens = 8, .decode_only = true, .shared_prefix = shared};
    const auto plan = backend->NewPlan(Spec(8, 2, 64), capacity).value();
    const auto& gpu_plan = static_cast<const GpuPlan&>(*plan);
    int64_t few = 0, many = 0;
    for (const int32_t prefix : {0, 640, 32}) {
      batch.common_prefix_len = prefix;
      ASSERT_TRUE(backend->Prepare(plan.get(), batch, *stream).ok());
      const auto& items = gpu_plan.work.items;
      EXPECT_EQ(std::any_of(items.begin(), items.end(),
                            [](const kernel::WorkItem& item) { return item.shared_prefix != 0; }),
                shared && prefix == 640);
      ASSERT_EQ(gpu_plan.passes().size(), 1u);
      const GpuPlan::Pass& pass = gpu_plan.passes().front();
      if (prefix == 0) {
        few = pass.few.count;
        many = pass.many.count;
      }
      EXPECT_EQ(pass.few.count, few);
      EXPECT_EQ(pass.many.count, many);
      EXPECT_EQ(many > 0, shared);
    }
  }
}

// The emulator's plans keep 64 partial rows at a time.
TEST(GpuBackend, PartialResultsOfALongBatchInvariantPromptTakeSeveralPasses) {
  const auto device = Open("mma");
  const auto backend = CreateGpuPortable({device.get()}).value();
  const auto stream = device->NewStream().value();
  const std::vector<int32_t> starts{0, 40, 41}, lens{600, 300};
  AttentionBatch batch{.num_seqs = 2, .num_tokens = 41, .max_query_len = 40, .max_seq_len = 600};
  batch.host = {.query_start_loc = starts.data(), .seq_lens = lens.data()};
  AttentionSpec spec = Spec(8, 2, 64);
  spec.batch_invariant = true;
  const auto plan = backend->NewPlan(spec, {.max_seqs = 2, .max_tokens = 64}).value();
  ASSERT_TRUE(backend->Prepare(plan.get(), batch, *stream).ok());
  const auto& gpu_plan = static_cast<const GpuPlan&>(*plan);
  EXPECT_GT(gpu_plan.passes().size(), 2u);
  int64_t items = 0, merges = 0;
  for (const GpuPlan::Pass& pass : gpu_plan.passes()) {
    items += pass.few.count + pass.many.count;
    merges += pass.merges.count;
  }
  EXPECT_EQ(items, static_cast<int64_t>(gpu_plan.work.items.size()));
  EXPECT_EQ(merges, static_cast<int64_t>(gpu_plan.work.merges.size()));
  int64_t most_rows = 0;  // of a tile's parts
  for (const kernel::MergeItem& merge : gpu_plan.work.merges) {
    most_rows = std::max(most_rows, int64_t{merge.parts} * merge.row_count);
  }
  EXPECT_LE(gpu_plan.work.partial_rows, std::max(int64_t{64}, most_rows));
}

TEST(GpuBackend, BatchInvariantRowsAreTheSameBitsInEveryChunk) {
  for (const char* policy : {"mma", "mfma", "wmma", "wmma11"}) {
    const auto device = Open(policy);
    const auto backend = CreateGpuPortable({device.get()}).value();
    for (const AttentionSpec& spec : testing::InvariantSpecs(64)) {
      EXPECT_EQ(testing::CheckBatchInvariance(backend.get(), device.get(), spec), "")
          << policy << ToString(spec);
    }
  }
}

// The compiler may round a product and a sum at once, in one kernel and not in another: machine
// code shows what it did.
TEST(GpuBackend, BatchInvariantRowsAreTheSameBitsInMachineCode) {
  const auto device = OpenRocmEmulatedDevice();
  if (!device.ok()) {
    std::cout << "  NOT TESTED here: " << device.error().message << "\n";
    return;
  }
  const auto backend = CreateGpuPortable({device->get()}).value();
  for (const AttentionSpec& spec : testing::InvariantSpecs(64)) {
    EXPECT_EQ(testing::CheckBatchInvariance(backend.get(), device->get(), spec), "")
        << ToString(spec);
  }
}

// Loads the kernels of a double: those without the barrier, under the same names.
class DeviceWithBrokenKernels final : public GpuDevice {
 public:
  explicit DeviceWithBrokenKernels(std::unique_ptr<GpuDevice> good) : good_(std::move(good)) {}
  const DeviceInfo& info() const override { return good_->info(); }
  Result<Buffer> Allocate(int64_t bytes, MemoryKind kind) override {
    return good_->Allocate(bytes, kind);
  }
  Result<std::unique_ptr<Stream>> NewStream() override { return good_->NewStream(); }
  int64_t free_bytes() const override { return good_->free_bytes(); }
  const std::string& matrix_policy() const override { return good_->matrix_policy(); }
  Result<std::unique_ptr<GpuModule>> Load(std::span<const KernelImage> images) override {
    std::size_t count = 0;
    const HostKernel* const kernels = tessera_simt_without_barrier(&count);
    const KernelImage broken{.arch = "simt", .functions = {kernels, count}};
    for (const KernelImage& image : images) {
      if (std::string(image.arch) != "simt") continue;
      const std::string first = image.functions.front().name;
      if (first == kernels[0].name) return good_->Load({&broken, 1});
    }
    return good_->Load(images);
  }

 private:
  const std::unique_ptr<GpuDevice> good_;
};

TEST(GpuBackend, EmulatorNoticesADroppedBarrier) {
  testing::CaseOptions options{.spec = Spec(2, 1, 64), .sequences = {{40, 200}}};
  options.spec.output_dtype = DType::kFloat32;
  testing::AttentionCase problem(options);
  auto device = Open("mma");
  const auto good = CreateGpuPortable({device.get()}).value();
  const auto right = problem.Check(good.get(), {device.get()}, 8e-3, 0);
  EXPECT_TRUE(right.problem.empty() && right.output <= 1.0) << right.problem << right.output;
  DeviceWithBrokenKernels double_of_it(Open("mma"));
  const auto broken = CreateGpuPortable({&double_of_it}).value();
  const auto errors = problem.Check(broken.get(), {&double_of_it}, 8e-3, 0);
  EXPECT_FALSE(errors.problem.empty() && errors.output <= 1.0);
}

TEST(GpuBackend, RefusesPackedCachesAndUnsuitableKeysBeforeAnythingIsLaunched) {
  const auto device = Open("mma");
  const auto backend = CreateGpuPortable({device.get()}).value();
  const auto stream = device->NewStream().value();
  const auto plan = backend->NewPlan(Spec(2, 1, 64), {.max_seqs = 1, .max_tokens = 1}).value();
  KvCache cache;
  cache.packing = KvPacking::kXSplit;
  Status status = backend->Run(plan.get(), {}, cache, {}, *stream);
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(status.error().message, HasSubstr("standard layout"));
  EXPECT_FALSE(backend->WriteKv(*plan, {}, {}, cache, *stream).ok());
  cache.packing = KvPacking::kStandard;
  status = backend->WriteKv(*plan, {}, {.dtype = DType::kE5M2}, cache, *stream);
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(status.error().message, HasSubstr("fp8_e5m2"));
  EXPECT_TRUE(stream->Synchronize().ok());
}

TEST(GpuBackend, ProbeTellsWhatTheBuildLacks) {
  DeviceInfo device;
  device.kind = DeviceKind::kCuda;
  device.arch = "sm_75";
  const Support support = ProbeGpuPortable(device);
  ASSERT_EQ(support.reasons.size(), 1u);
  EXPECT_THAT(support.reasons[0], HasSubstr("sm_75"));
  device.arch = "simt";
  EXPECT_TRUE(ProbeGpuPortable(device).ok());
}

}  // namespace
}  // namespace tessera
