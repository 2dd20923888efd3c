// bfloat16 caches by AMX; items of few rows by kAvx512's decoding.
#if defined(__x86_64__)

#include <atomic>

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

void RunMany(const kernel::KernelArgs& args, const kernel::WorkItem& item, float* memory) {
  const TileRegisters registers;
  ManyRows<AmxFamily>(args, item, memory).Run();
}

int64_t Memory(int32_t head_size, int32_t value_size) {
  return std::max(Avx512Kernels(DType::kBFloat16).memory(head_size, value_size),
                  ManyRowsLayout<AmxFamily>(head_size, value_size).words);
}

}  // namespace

Kernels AmxKernels() {
  Kernels kernels = Avx512Kernels(DType::kBFloat16);
  kernels.many_rows = &RunMany;
  kernels.few_rows_limit = kAmxFewRowsLimit;
  kernels.max_rows = AmxFamily::kMaxBlocks * kBlockRows;
  kernels.memory = &Memory;
  return kernels;
}

}  // namespace tessera::x86
TESSERA_TARGET_END

#endif
