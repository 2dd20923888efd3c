// The vector policy's instances of one instruction set.
#if defined(TESSERA_ATTENTION_SIMD_KERNELS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TESSERA_ATTENTION_SIMD_KERNELS_INL_H_
#undef TESSERA_ATTENTION_SIMD_KERNELS_INL_H_
#else
#define TESSERA_ATTENTION_SIMD_KERNELS_INL_H_
#endif

#include <hwy/highway.h>

#include <vector>

#include "attention/backends/portable/simd_kernels.h"
#include "attention/kernel/cpu/tiles_simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tessera {
namespace HWY_NAMESPACE {

// Highway's own scalar fallback has no vectors of 16 bytes; the scalar policy takes its place.
#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128

template <class Elements>
void AppendSimdKernels(Elements, std::vector<SimdKernel>*) {}

#else

template <class Element, kernel::Logits kLogits>
void RunItem(const kernel::KernelArgs& args, const kernel::WorkItem& item, void* memory) {
  using Tiles = kernel::HWY_NAMESPACE::SimdTiles<Element>;
  Tiles tiles(args, item, memory);
  kernel::HWY_NAMESPACE::Attend<Tiles, kLogits>(tiles, args, item);
}

template <class Element, kernel::Logits kLogits>
void Append(std::vector<SimdKernel>* kernels) {
  kernels->push_back({HWY_TARGET,
                      {.policy = hwy::TargetName(HWY_TARGET),
                       .cache_dtype = Element::kDType,
                       .logits = kLogits,
                       .run = &RunItem<Element, kLogits>}});
}

template <class... Elements>
void AppendSimdKernels(kernel::ElementList<Elements...>, std::vector<SimdKernel>* kernels) {
  (Append<Elements, kernel::Logits::kScaled>(kernels), ...);
  (Append<Elements, kernel::Logits::kSoftCapped>(kernels), ...);
  (Append<Elements, kernel::Logits::kBiased>(kernels), ...);
}

#endif

}  // namespace HWY_NAMESPACE
}  // namespace tessera
HWY_AFTER_NAMESPACE();

#endif  // per target
