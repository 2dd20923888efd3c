// Caches of 8 bits.
#include "attention/backends/portable/simd_kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "attention/backends/portable/simd_kernels_byte.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
#include <hwy/highway.h>

#include "attention/backends/portable/simd_kernels-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tessera {
namespace HWY_NAMESPACE {
void AppendByte(std::vector<SimdKernel>* kernels) {
  AppendSimdKernels(kernel::ByteElements(), kernels);
}
}  // namespace HWY_NAMESPACE
}  // namespace tessera
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tessera {
namespace {
HWY_EXPORT(AppendByte);
}  // namespace

std::vector<SimdKernel> ByteSimdKernels() {
  return CollectSimdKernels(HWY_DISPATCH_TABLE(AppendByte));
}

}  // namespace tessera
#endif  // HWY_ONCE
