#include "attention/backends/portable/cpu_kernels.h"

#include <hwy/targets.h>

#include <algorithm>
#include <cctype>
#include <iterator>
#include <utility>

#include "attention/backends/portable/simd_kernels.h"
#include "attention/kernel/cpu/tiles_scalar.h"

namespace tessera {
namespace {

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
  std::vector<SimdKernel> simd = WideSimdKernels();
  std::ranges::move(ByteSimdKernels(), std::back_inserter(simd));
  std::ranges::stable_sort(simd, {}, &SimdKernel::target);

  std::vector<CpuKernel> kernels;
  for (SimdKernel& instance : simd) {
    for (char& c : instance.kernel.policy) c = static_cast<char>(std::tolower(c));
    kernels.push_back(std::move(instance.kernel));
  }
  AppendScalars(kernel::WideElements(), &kernels);
  AppendScalars(kernel::ByteElements(), &kernels);
  return kernels;
}

}  // namespace

std::vector<SimdKernel> CollectSimdKernels(
    std::span<void (*const)(std::vector<SimdKernel>*)> dispatch_table) {
  // The first entry chooses a target by itself where there are several; the others are the targets,
  // null where one was not compiled.
  if (dispatch_table.size() > 1) dispatch_table = dispatch_table.subspan(1);
  std::vector<SimdKernel> all;
  for (const auto append : dispatch_table) {
    std::vector<SimdKernel> kernels;
    if (append != nullptr) append(&kernels);
    if (kernels.empty() || (hwy::SupportedTargets() & kernels.front().target) == 0) continue;
    const auto twin = std::ranges::find(all, kernels.front().target, &SimdKernel::target);
    if (twin == all.end()) std::ranges::move(kernels, std::back_inserter(all));
  }
  return all;
}

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
