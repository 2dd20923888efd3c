// Backends of the CPU on more threads than there are requests, and on fewer: what ThreadSanitizer
// watches. Left to conformance_test.cc: the wide range of cases, and the emulated policies, whose
// switches between stacks no thread checker follows.
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "attention/backends/portable/cpu_kernels.h"
#include "attention/backends/portable/portable_backend.h"
#include "attention/testing/attention_case.h"
#include "attention/testing/test_device.h"

namespace tessera::testing {
namespace {

std::vector<CaseOptions> Cases() {
  const AttentionSpec spec{.num_heads = 4, .num_kv_heads = 2, .head_size = 64};
  AttentionSpec single = spec;
  single.num_kv_heads = 1;
  return {
      {.spec = spec, .sequences = {{37, 130}, {1, 77}, {64, 64}, {0, 40}, {5, 300}, {1, 513}}},
      {.spec = single, .sequences = {{1, 3000}}},  // split over the threads, then merged
      {.spec = spec, .sequences = {{0, 0}}, .padded_tokens = 2},
  };
}

void Check(Backend* backend, Device* device, const std::string& name, double tolerance = 3e-5) {
  for (const CaseOptions& options : Cases()) {
    ASSERT_TRUE(backend->Supports(options.spec, options.block_size).ok()) << name;
    AttentionCase problem(options);
    for (int repetition = 0; repetition < 3; ++repetition) {
      const AttentionCase::Errors errors = problem.Check(backend, {device}, tolerance, 5e-3);
      EXPECT_EQ(errors.problem, "") << name << ": " << ToString(options);
      EXPECT_LE(errors.output, 1.0) << name << ": " << ToString(options);
    }
  }
}

class AttentionThreads : public ::testing::TestWithParam<int> {};

TEST_P(AttentionThreads, ComputeTheSame) {
  ThreadPool pool({.num_threads = GetParam(), .pin = false});
  const std::unique_ptr<Device> devices[] = {CreateCpuDevice(), CreateFencedDevice()};
  for (const std::unique_ptr<Device>& device : devices) {
    const BackendContext context{device.get(), &pool};
    for (const std::unique_ptr<Backend>& backend : UsableBackends(context)) {
      // With bfloat16 instructions x86 rounds probabilities to bfloat16.
      Check(backend.get(), device.get(), backend->Name(), backend->Name() == "x86" ? 8e-3 : 3e-5);
    }
    for (const std::string& policy : CpuPolicies()) {
      Check(CreatePortableBackend(context, {.cpu_policy = policy}).value().get(), device.get(),
            policy);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Teams, AttentionThreads, ::testing::Values(1, 2, 5));

}  // namespace
}  // namespace tessera::testing
