// Caches of 16 bits and more.
#include "attention/backends/portable/simd_kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "attention/backends/portable/simd_kernels_wide.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
#include <hwy/highway.h>

#include "attention/backends/portable/simd_kernels-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tessera {
namespace HWY_NAMESPACE {
void AppendWide(std::vector<SimdKernel>* kernels) {
  AppendSimdKernels(kernel::WideElements(), kernels);
}
}  // namespace HWY_NAMESPACE
}  // namespace tessera
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tessera {
namespace {
HWY_EXPORT(AppendWide);
}  // namespace

std::vector<SimdKernel> WideSimdKernels() {
  return CollectSimdKernels(HWY_DISPATCH_TABLE(AppendWide));
}

}  // namespace tessera
#endif  // HWY_ONCE
