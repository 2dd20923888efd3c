#include "attention/testing/conformance.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>

#include "attention/backends/portable/cpu_kernels.h"
#include "attention/backends/portable/portable_backend.h"
#include "attention/backends/x86/x86_backend.h"
#include "device/gpu/rocm_emulated_device.h"
#include "device/gpu/simt_device.h"
#include "tessera/registry.h"

namespace tessera::testing {
namespace {

// Families that this machine cannot run are reported, not silently skipped.
std::vector<std::string> RunnableX86Families() {
  static const std::vector<std::string> families = [] {
    const std::unique_ptr<Device> device = CreateCpuDevice();
    ThreadPool pool({.num_threads = 1});
    const BackendContext context{device.get(), &pool};
    std::vector<std::string> runnable;
    for (const std::string& family : X86Families()) {
      const auto backend = CreateX86Backend(context, {.family = family});
      if (backend.ok()) {
        runnable.push_back(family);
      } else {
        std::cout << "  NOT TESTED here: x86:" << backend.error().message << "\n";
      }
    }
    return runnable;
  }();
  return families;
}

struct EmulatedGpu {
  std::string name;
  std::unique_ptr<GpuDevice> device;
};

const std::vector<EmulatedGpu>& EmulatedGpus() {
  static const std::vector<EmulatedGpu> gpus = [] {
    std::vector<EmulatedGpu> all;
    for (const char* policy : {"mma", "mfma", "wmma", "wmma11"}) {
      for (unsigned seed : {0u, 1u}) {
        all.push_back({std::string("simt-emulated:") + policy + (seed == 0 ? "" : ", shuffled"),
                       OpenSimtDevice({.matrix_policy = policy, .seed = seed}).value()});
      }
    }
    TESSERA_CHECK(all.size() == kEmulated, "the header says how many there are");
    auto rocm = OpenRocmEmulatedDevice();
    if (rocm.ok()) {
      all.push_back({"rocm-emulated", std::move(rocm).value()});
    } else {
      std::cout << "  NOT TESTED here: " << rocm.error().message << "\n";
    }
    return all;
  }();
  return gpus;
}

bool HasTurn(const Subject& subject, size_t turn) {
  const char* const given = std::getenv("TESSERA_TEST_EMULATED");
  const std::string wanted = given != nullptr ? given : "turns";
  if (subject.emulated == nullptr || wanted == "all") return true;
  if (wanted != "turns") return subject.name.ends_with(wanted);
  return subject.emulated == EmulatedGpus()[turn % EmulatedGpus().size()].device.get();
}

struct Tolerance {
  double atol;
  double rtol;
  double lse;
};

// Float32 arithmetic, half a unit in the last place of the output, and for matrix units
// probabilities rounded to bfloat16 (or to float16, beside a cache of that): not above what vLLM
// allows (1.5e-2 / 1e-2).
Tolerance ToleranceOf(const AttentionSpec& spec, bool matrix) {
  double atol = 3e-5, rtol = 1e-5;  // float32 scores of magnitude 20 carry that much
  if (matrix) atol = spec.cache_dtype == DType::kFloat16 ? 1e-3 : 8e-3;
  // There even the largest probability, which else is 1, is rounded: its product with the scale.
  if (matrix && spec.kv_scales == ScaleMode::kPerTokenHead) atol = 1.5e-2;
  if (spec.output_dtype == DType::kFloat16) rtol += 6e-4;
  if (spec.output_dtype == DType::kBFloat16) rtol += 4e-3;
  if (spec.output_dtype == DType::kE5M2) rtol += 0.126;  // half a unit of two bits of mantissa
  if (SizeOf(spec.output_dtype) == 1)
    rtol += 0.063, atol += 2e-4;  // of three; the smallest numbers
  return {atol, rtol, 1e-4};
}

}  // namespace

std::vector<Subject> Subjects() {
  std::vector<Subject> subjects;
  const BackendEntry* portable = nullptr;
  for (const BackendEntry& entry : BackendEntries()) {
    if (entry.name == "portable") portable = &entry;
    // Below, with each of its families.
    if (entry.name == "x86") continue;
    subjects.push_back({entry.name, entry.create, Devices::kCpuAndFenced});
  }
  for (const std::string& family : RunnableX86Families()) {
    subjects.push_back({"x86:" + family,
                        [family](const BackendContext& context) {
                          return CreateX86Backend(context, {.family = family});
                        },
                        Devices::kCpuAndFenced,
                        family == "avx512"
                            ? std::vector<DType>{}
                            : std::vector{DType::kBFloat16, DType::kE4M3FN, DType::kE4M3FNUZ,
                                          DType::kE5M2, DType::kInt8}});
  }
  for (const std::string& policy : CpuPolicies()) {
    subjects.push_back({"portable:" + policy, [policy](const BackendContext& context) {
                          return CreatePortableBackend(context, {.cpu_policy = policy});
                        }});
  }
  for (const EmulatedGpu& gpu : EmulatedGpus()) {
    subjects.push_back({.name = "portable on " + gpu.name,
                        .create = portable->create,
                        .matrix_caches = {DType::kFloat16, DType::kBFloat16, DType::kE4M3FN,
                                          DType::kE4M3FNUZ, DType::kE5M2, DType::kInt8},
                        .emulated = gpu.device.get()});
  }
  return subjects;
}

Conformance::Conformance(int threads, bool fenced_only)
    : pool_({.num_threads = threads, .pin = false}), fenced_only_(fenced_only) {}

void Conformance::Check(const CaseOptions& options, int at_least, Phases phases) {
  if (cases_++ % stride_ != 0) return;
  AttentionCase problem(options);
  int checked = 0;
  ++turn_;
  for (const Subject& subject : Subjects()) {
    const auto check = [&](Device* device, const std::string& name) {
      return CheckOn(device, name, subject, options, phases, &problem);
    };
    if (subject.emulated != nullptr) {
      checked += check(subject.emulated, subject.name);
      continue;
    }
    if (fenced_only_ || subject.devices == Devices::kCpuAndFenced) {
      const bool supported = check(fenced_.get(), subject.name + " on fenced");
      if (fenced_only_) checked += supported;
    }
    if (!fenced_only_) checked += check(cpu_.get(), subject.name);
  }
  EXPECT_GE(checked, at_least) << ToString(options);
  checked_ += checked;
}

bool Conformance::CheckOn(Device* device, const std::string& name, const Subject& subject,
                          const CaseOptions& options, Phases phases, AttentionCase* problem) {
  const std::unique_ptr<Backend> backend = subject.create({device, &pool_}).value();
  const Support support = backend->Supports(options.spec, options.block_size);
  if (!support.ok()) {
    for (const std::string& reason : support.reasons) EXPECT_FALSE(reason.empty());
    return false;
  }
  if (!HasTurn(subject, turn_)) return true;
  const std::vector<DType>& matrix = subject.matrix_caches;
  const bool rounds =
      std::find(matrix.begin(), matrix.end(), options.spec.cache_dtype) != matrix.end();
  const Tolerance tolerance = ToleranceOf(options.spec, rounds);
  const auto errors = problem->Check(backend.get(), {.device = device, .phases = phases},
                                     tolerance.atol * options.value_size, tolerance.rtol);
  EXPECT_EQ(errors.problem, "") << name << ": " << ToString(options);
  EXPECT_LE(errors.output, 1.0) << name << ": " << ToString(options) << "; absolute "
                                << errors.worst_absolute;
  EXPECT_LE(errors.lse, tolerance.lse) << name << ": " << ToString(options);
  double& worst = worst_[name + " -> " + tessera::ToString(options.spec.output_dtype)];
  worst = std::max(worst, errors.worst_absolute);
  return true;
}

void Conformance::PrintWorst() const {
  for (const auto& [name, error] : worst_) {
    std::cout << "  largest error, " << name << ": " << error << "\n";
  }
}

const std::vector<Sequence>& Mixed() {
  static const std::vector<Sequence> sequences = {{37, 130}, {1, 77}, {64, 64}, {1, 1},  {0, 40},
                                                  {5, 300},  {0, 0},  {2, 2},   {1, 513}};
  return sequences;
}

}  // namespace tessera::testing
