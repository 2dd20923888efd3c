// SVE's vectors have no size at compile time, which the register panels of the policy need: Arm
// runs the NEON instances. AVX3_DL adds nothing that this kernel uses, and a CPU with SSSE3 alone
// is served by the scalar one.
#define HWY_DISABLED_TARGETS \
  (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_SSSE3 | HWY_AVX3_DL)

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "attention/backends/portable/cpu_kernels.cc"
#include "attention/backends/portable/cpu_kernels.h"

#include <hwy/foreach_target.h>  // IWYU pragma: keep
#include <hwy/highway.h>

#include "attention/kernel/cpu/tiles_simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tessera {
namespace HWY_NAMESPACE {

// Highway's own scalar fallback has no vectors of 16 bytes; the scalar policy takes its place.
#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128

void FillKernels(int64_t* target, std::vector<CpuKernel>*) { *target = 0; }

#else

template <class Element, kernel::Logits kLogits>
void RunItem(const kernel::KernelArgs& args, const kernel::WorkItem& item, void* memory) {
  using Tiles = kernel::HWY_NAMESPACE::SimdTiles<Element>;
  Tiles tiles(args, item, memory);
  kernel::HWY_NAMESPACE::Attend<Tiles, kLogits>(tiles, args, item);
}

template <class Element, kernel::Logits kLogits>
void Add(std::vector<CpuKernel>* kernels) {
  kernels->push_back({.policy = hwy::TargetName(HWY_TARGET),
                      .cache_dtype = Element::kDType,
                      .logits = kLogits,
                      .run = &RunItem<Element, kLogits>});
}

template <class... Elements>
void AddAll(kernel::ElementList<Elements...>, std::vector<CpuKernel>* kernels) {
  (Add<Elements, kernel::Logits::kScaled>(kernels), ...);
  (Add<Elements, kernel::Logits::kSoftCapped>(kernels), ...);
  (Add<Elements, kernel::Logits::kBiased>(kernels), ...);
}

void FillKernels(int64_t* target, std::vector<CpuKernel>* kernels) {
  *target = HWY_TARGET;
  AddAll(kernel::CacheElements(), kernels);
}

#endif

}  // namespace HWY_NAMESPACE
}  // namespace tessera
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

#include <algorithm>
#include <cctype>

#include "attention/kernel/cpu/tiles_scalar.h"

namespace tessera {

namespace {

HWY_EXPORT(FillKernels);

template <class Element, kernel::Logits kLogits>
void RunScalarItem(const kernel::KernelArgs& args, const kernel::WorkItem& item, void* memory) {
  kernel::scalar::ScalarTiles<Element> tiles(args, item, memory);
  kernel::scalar::Attend<kernel::scalar::ScalarTiles<Element>, kLogits>(tiles, args, item);
}

template <class Element>
void AppendScalar(std::vector<CpuKernel>* kernels) {
  using kernel::Logits;
  constexpr DType kType = Element::kDType;
  kernels->push_back({"scalar", kType, Logits::kScaled, &RunScalarItem<Element, Logits::kScaled>});
  kernels->push_back(
      {"scalar", kType, Logits::kSoftCapped, &RunScalarItem<Element, Logits::kSoftCapped>});
  kernels->push_back({"scalar", kType, Logits::kBiased, &RunScalarItem<Element, Logits::kBiased>});
}

template <class... Elements>
void AppendScalars(kernel::ElementList<Elements...>, std::vector<CpuKernel>* kernels) {
  (AppendScalar<Elements>(kernels), ...);
}

std::vector<CpuKernel> MakeKernels() {
  // The dispatch table's first entry chooses a target by itself where there are several; the others
  // are the targets, null where one was not compiled.
  const auto& table = HWY_DISPATCH_TABLE(FillKernels);
  constexpr size_t kEntries = sizeof(table) / sizeof(table[0]);
  struct Target {
    int64_t id;
    std::vector<CpuKernel> kernels;
  };
  std::vector<Target> targets;
  for (size_t i = kEntries > 1 ? 1 : 0; i < kEntries; ++i) {
    if (table[i] == nullptr) continue;
    Target target;
    table[i](&target.id, &target.kernels);
    const bool known = std::any_of(targets.begin(), targets.end(),
                                   [&](const Target& t) { return t.id == target.id; });
    if (!known && (hwy::SupportedTargets() & target.id) != 0) {
      targets.push_back(std::move(target));
    }
  }
  // Highway numbers better targets lower.
  std::sort(targets.begin(), targets.end(),
            [](const Target& a, const Target& b) { return a.id < b.id; });

  std::vector<CpuKernel> kernels;
  for (Target& target : targets) {
    for (CpuKernel& kernel : target.kernels) {
      for (char& c : kernel.policy) c = static_cast<char>(std::tolower(c));
      kernels.push_back(kernel);
    }
  }
  AppendScalars(kernel::CacheElements(), &kernels);
  return kernels;
}

}  // namespace

std::string ToString(const CpuKernel& kernel) {
  return kernel.policy + ", cache " + ToString(kernel.cache_dtype) + ", " + ToString(kernel.logits);
}

const std::vector<CpuKernel>& CpuKernels() {
  static const std::vector<CpuKernel> kernels = MakeKernels();
  return kernels;
}

std::vector<std::string> CpuPolicies() {
  std::vector<std::string> policies;
  for (const CpuKernel& kernel : CpuKernels()) {
    if (policies.empty() || policies.back() != kernel.policy) policies.push_back(kernel.policy);
  }
  return policies;
}

}  // namespace tessera
#endif  // HWY_ONCE
