// Caches whose elements bfloat16 holds, by AVX512-BF16. AMD's Zen 5 adds two bfloat16 products as
// fast as one of float32; Intel's Sapphire Rapids takes four times as long, there float32 wins.
#if defined(__x86_64__)

#include <cmath>

#include "attention/backends/x86/block_rows.h"
#include "attention/backends/x86/kernel_instances.h"

TESSERA_TARGET_BEGIN_AVX512_BF16
namespace tessera::x86 {
namespace {

#include "attention/backends/x86/few_rows.inl"
//
#include "attention/backends/x86/vbmi_elements.inl"
//
#include "attention/backends/x86/panel.inl"
//
#include "attention/backends/x86/bf16_family.inl"
//
#include "attention/backends/x86/many_rows.inl"

template <class Cache>
void RunMany(const kernel::KernelArgs& args, const kernel::WorkItem& item, float* memory) {
  ManyRows<BFloat16Family<Cache>>(args, item, memory).Run();
}

template <class Cache>
void RunFewByFloats(const kernel::KernelArgs& args, const kernel::WorkItem& item, float* memory) {
  FewRows<Cache>(args, item, memory).Run();
}

template <class Cache>
void RunFewByDots(const kernel::KernelArgs& args, const kernel::WorkItem& item, float* memory) {
  if (BFloat16Words::Terms(static_cast<DType>(args.query_dtype)) == 1) {
    FewRows<Cache, BFloat16Words, 1>(args, item, memory).Run();
  } else {
    FewRows<Cache, BFloat16Words, 2>(args, item, memory).Run();
  }
}

template <class Cache>
int64_t Memory(int32_t head_size, int32_t value_size) {
  return std::max(FewRowsMemory(head_size, value_size),
                  ManyRowsLayout<BFloat16Family<Cache>>(head_size, value_size).words);
}

// `few` decodes, from elements that may be loaded otherwise than those of `Cache`.
template <class Cache>
Kernels Instances(RunItem few) {
  return {few, &RunMany<Cache>, kFewRowsLimit, BFloat16Family<Cache>::kMaxBlocks * kBlockRows,
          &Memory<Cache>};
}

}  // namespace

Kernels Avx512Bf16Kernels(DType cache_dtype) {
  switch (cache_dtype) {
    case DType::kBFloat16:
      return Instances<BFloat16Cache>(&RunFewByDots<BFloat16Cache>);
    case DType::kE4M3FN:
      return Instances<E4M3FNCache>(&RunFewByDots<VbmiByteFloatCache<DType::kE4M3FN>>);
    case DType::kE4M3FNUZ:
      return Instances<E4M3FNUZCache>(&RunFewByDots<VbmiByteFloatCache<DType::kE4M3FNUZ>>);
    case DType::kE5M2:
      return Instances<E5M2Cache>(&RunFewByDots<VbmiByteFloatCache<DType::kE5M2>>);
    case DType::kInt8:
      return Instances<Int8Cache>(Avx512Kernels(DType::kInt8).few_rows);
    default:
      return Avx512Kernels(cache_dtype);
  }
}

RunItem VbmiFewRows(DType cache_dtype) {
  switch (cache_dtype) {
    case DType::kE4M3FN:
      return &RunFewByFloats<VbmiByteFloatCache<DType::kE4M3FN>>;
    case DType::kE4M3FNUZ:
      return &RunFewByFloats<VbmiByteFloatCache<DType::kE4M3FNUZ>>;
    case DType::kE5M2:
      return &RunFewByFloats<VbmiByteFloatCache<DType::kE5M2>>;
    default:
      return Avx512Kernels(cache_dtype).few_rows;
  }
}

}  // namespace tessera::x86
TESSERA_TARGET_END

#endif
