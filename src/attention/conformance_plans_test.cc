// Plans of every backend and policy that this machine can run: for one phase, for many steps, made
// from lengths that are upper bounds, and for steps that exceed them.
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "attention/testing/conformance.h"
#include "attention/testing/feature_cases.h"
#include "attention/testing/test_device.h"

namespace tessera::testing {
namespace {

// A plan for one phase computes its requests' rows and leaves those of others as they are.
TEST(ConformancePlans, PlansForOnePhase) {
  Conformance conformance;
  for (Phases phases : {Phases::kPrefill, Phases::kDecode}) {
    for (const std::vector<Sequence>& sequences :
         {Mixed(), std::vector<Sequence>{{1, 9}, {1, 3000}, {1, 1}}, {{5, 40}, {0, 7}, {33, 33}}}) {
      conformance.Check({.spec = Spec(4, 2, 64), .sequences = sequences, .padded_tokens = 2},
                        2 + kEmulated, phases);
    }
    // Shared prefixes are then not computed once, but each request's rows are right.
    conformance.Check({.spec = Spec(4, 2, 64),
                       .sequences = {{1, 700}, {5, 600}, {1, 530}, {40, 560}, {1, 513}},
                       .common_prefix = 512},
                      2 + kEmulated, phases);
  }
}

// The host's seq_lens may be upper bounds: what it planned by them moves to where the rows are.
TEST(ConformancePlans, HostLengthsAreUpperBounds) {
  Conformance conformance;
  const std::vector<Sequence> sequences = {{1, 3000}, {5, 300}, {0, 40}, {33, 90}, {1, 1}};
  for (int32_t slack : {1, 7, 300}) {
    for (int32_t window : {-1, 0, 23, 400}) {
      for (int32_t chunk : {0, 24}) {
        AttentionSpec spec = Spec(4, 1, 64);
        spec.window_left = window;
        spec.chunk_size = chunk;
        spec.output_dtype = DType::kFloat32;
        spec.sinks = chunk == 0;
        spec.batch_invariant = slack == 300;
        conformance.Check({.spec = spec, .sequences = sequences, .host_slack = slack},
                          2 + kEmulated);
      }
    }
  }
}

// Steps of one layer with one plan: more and fewer requests, other lengths and other tables.
TEST(ConformancePlans, APlanServesManySteps) {
  const std::unique_ptr<Device> cpu = CreateCpuDevice(), fenced = CreateFencedDevice();
  ThreadPool pool({.num_threads = 3, .pin = false});
  AttentionSpec spec = Spec(4, 1, 64);
  spec.output_dtype = DType::kFloat32;
  const std::vector<std::vector<Sequence>> steps = {
      Mixed(), {{1, 5000}, {1, 3}}, {}, {{64, 64}, {0, 0}, {1, 4000}}, {{1, 2}}, Mixed()};
  for (const Subject& subject : Subjects()) {
    std::vector<Device*> devices = {subject.DeviceOr(cpu.get())};
    if (subject.devices == Devices::kCpuAndFenced) devices.push_back(fenced.get());
    for (Device* device : devices) {
      const auto backend = subject.create({device, &pool}).value();
      if (!backend->Supports(spec, 16).ok()) continue;
      const auto plan = backend->NewPlan(spec, {.max_seqs = 9, .max_tokens = 111}).value();
      unsigned seed = 1;
      for (const std::vector<Sequence>& sequences : steps) {
        AttentionCase problem({.spec = spec, .sequences = sequences, .seed = seed++});
        const auto errors =
            problem.Check(backend.get(), {.device = device, .plan = plan.get()}, 8e-3, 5e-3);
        EXPECT_EQ(errors.problem, "") << subject.name << ", step " << seed;
        EXPECT_LE(errors.output, 1.0) << subject.name << ", step " << seed;
      }
    }
  }
}

TEST(ConformancePlans, StepsThatExceedTheirPlanAreRefused) {
  const std::unique_ptr<Device> device = CreateCpuDevice();
  ThreadPool pool({.num_threads = 1});
  const int32_t starts[] = {0, 2, 3}, lens[] = {2, 1};
  const AttentionBatch batch = OnHost({.num_seqs = 2,
                                       .num_tokens = 3,
                                       .max_query_len = 2,
                                       .max_seq_len = 2,
                                       .host = {.query_start_loc = starts, .seq_lens = lens}});
  const struct {
    PlanCapacity capacity;
    const char* says;
  } kCases[] = {
      {{.max_seqs = 1, .max_tokens = 3}, "2 requests and 3 tokens exceeds its plan"},
      {{.max_seqs = 2, .max_tokens = 2}, "2 requests and 3 tokens exceeds its plan"},
      {{.max_seqs = 2, .max_tokens = 3, .decode_only = true}, "made for decoding"},
      {{.max_seqs = 2, .max_tokens = 3}, ""},
  };
  for (const Subject& subject : Subjects()) {
    Device* const runs_on = subject.DeviceOr(device.get());
    const auto backend = subject.create({runs_on, &pool}).value();
    const std::unique_ptr<Stream> stream = runs_on->NewStream().value();
    for (const auto& c : kCases) {
      const auto plan = backend->NewPlan(Spec(2, 1, 64), c.capacity).value();
      const Status status = backend->Prepare(plan.get(), batch, *stream);
      ASSERT_EQ(status.ok(), c.says[0] == 0) << subject.name;
      if (status.ok()) continue;
      EXPECT_NE(status.error().message.find(c.says), std::string::npos) << status.error().message;
    }
  }
}

}  // namespace
}  // namespace tessera::testing
