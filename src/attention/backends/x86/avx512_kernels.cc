// Float32 arithmetic, for every cache.
#if defined(__x86_64__)

#include <cmath>

#include "attention/backends/x86/block_rows.h"
#include "attention/backends/x86/kernel_instances.h"

TESSERA_TARGET_BEGIN_AVX512
namespace tessera::x86 {
namespace {

#include "attention/backends/x86/few_rows.inl"
//
#include "attention/backends/x86/panel.inl"
//
#include "attention/backends/x86/float32_family.inl"
//
#include "attention/backends/x86/many_rows.inl"

template <class Cache>
void RunFew(const kernel::KernelArgs& args, const kernel::WorkItem& item, float* memory) {
  FewRows<Cache>(args, item, memory).Run();
}

template <class Cache>
void RunMany(const kernel::KernelArgs& args, const kernel::WorkItem& item, float* memory) {
  ManyRows<Float32Family<Cache>>(args, item, memory).Run();
}

template <class Cache>
int64_t Memory(int32_t head_size, int32_t value_size) {
  return std::max(FewRowsMemory(head_size, value_size),
                  ManyRowsLayout<Float32Family<Cache>>(head_size, value_size).words);
}

template <class Cache>
Kernels Instances() {
  return {&RunFew<Cache>, &RunMany<Cache>, kFewRowsLimit,
          Float32Family<Cache>::kMaxBlocks * kBlockRows, &Memory<Cache>};
}

}  // namespace

Kernels Avx512Kernels(DType cache_dtype) {
  switch (cache_dtype) {
    case DType::kFloat32:
      return Instances<Float32Cache>();
    case DType::kFloat16:
      return Instances<Float16Cache>();
    case DType::kBFloat16:
      return Instances<BFloat16Cache>();
    case DType::kE4M3FN:
      return Instances<E4M3FNCache>();
    case DType::kE4M3FNUZ:
      return Instances<E4M3FNUZCache>();
    case DType::kE5M2:
      return Instances<E5M2Cache>();
    case DType::kInt8:
      return Instances<Int8Cache>();
  }
  return {};
}

}  // namespace tessera::x86
TESSERA_TARGET_END

#endif
