// bfloat16 caches by AVX512-BF16. AMD's Zen 5 adds two bfloat16 products as fast as one of float32;
// Intel's Sapphire Rapids takes four times as long, there float32 wins.
#if defined(__x86_64__)

#include "attention/backends/x86/block_rows.h"
#include "attention/backends/x86/kernel_instances.h"

TESSERA_TARGET_BEGIN_AVX512_BF16
namespace tessera::x86 {
namespace {

#include "attention/backends/x86/panel.inl"
//
#include "attention/backends/x86/bf16_family.inl"
//
#include "attention/backends/x86/many_rows.inl"

void RunMany(const kernel::KernelArgs& args, const kernel::WorkItem& item, float* memory) {
  ManyRows<BFloat16Family>(args, item, memory).Run();
}

int64_t Memory(int32_t head_size, int32_t value_size) {
  return std::max(Avx512Kernels(DType::kBFloat16).memory(head_size, value_size),
                  ManyRowsLayout<BFloat16Family>(head_size, value_size).words);
}

}  // namespace

Kernels Avx512Bf16Kernels() {
  Kernels kernels = Avx512Kernels(DType::kBFloat16);
  kernels.many_rows = &RunMany;
  kernels.max_rows = BFloat16Family::kMaxBlocks * kBlockRows;
  kernels.memory = &Memory;
  return kernels;
}

}  // namespace tessera::x86
TESSERA_TARGET_END

#endif
