// Caches whose elements bfloat16 holds, by AMX; items of few rows in float32.
#if defined(__x86_64__)

#include <atomic>
#include <cmath>

#include "attention/backends/x86/block_rows.h"
#include "attention/backends/x86/kernel_instances.h"

TESSERA_TARGET_BEGIN_AMX
namespace tessera::x86 {
namespace {

#include "attention/backends/x86/panel.inl"
//
#include "attention/backends/x86/bf16_family.inl"
//
#include "attention/backends/x86/amx_family.inl"
//
#include "attention/backends/x86/many_rows.inl"

template <class Cache>
void RunMany(const kernel::KernelArgs& args, const kernel::WorkItem& item, float* memory) {
  const TileRegisters registers;
  ManyRows<AmxFamily<Cache>>(args, item, memory).Run();
}

template <class Cache>
int64_t Memory(int32_t head_size, int32_t value_size) {
  return std::max(Avx512Kernels(Cache::kDType).memory(head_size, value_size),
                  ManyRowsLayout<AmxFamily<Cache>>(head_size, value_size).words);
}

template <class Cache>
Kernels Instances() {
  Kernels kernels = Avx512Kernels(Cache::kDType);
  kernels.few_rows = VbmiFewRows(Cache::kDType);
  kernels.many_rows = &RunMany<Cache>;
  kernels.few_rows_limit = kAmxFewRowsLimit;
  kernels.max_rows = AmxFamily<Cache>::kMaxBlocks * kBlockRows;
  kernels.memory = &Memory<Cache>;
  return kernels;
}

}  // namespace

Kernels AmxKernels(DType cache_dtype) {
  switch (cache_dtype) {
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
    default:
      return Avx512Kernels(cache_dtype);
  }
}

}  // namespace tessera::x86
TESSERA_TARGET_END

#endif
