// Kernels of one group of instances. Each *.simt.cc file that includes this defines
// TESSERA_SIMT_GROUP, a list of simt_instances.h.
#include "attention/backends/portable/gpu/kernel_args.h"
#include "attention/kernel/gpu/simt_instances.h"
#include "attention/kernel/gpu/tiles_simt.h"
#include "device/gpu/simt.h"

namespace tessera::kernel::lanes {

#if defined(TESSERA_SIMT_CUDA)
constexpr Machine kMachine = Machine::kNvidia;
#elif defined(TESSERA_SIMT_HIP)
constexpr Machine kMachine = Machine::kAmd;
#else
constexpr Machine kMachine = Machine::kEmulator;
#endif

constexpr bool kIsFew = true;
constexpr bool kIsMany = false;

template <class P, bool kFewRows, SimtInstance kInstance>
struct InstanceKernel {
  static constexpr NvidiaShape kShape =
      ShapeOf(kMachine, kInstance, kFewRows, P::X, P::WAVE, P::kTransposes);
  using Tiles = SimtTiles<P, kInstance.cache, kInstance.head_size, kShape.shape, kInstance.general>;
  static constexpr Logits kLogits = kInstance.logits;
  static constexpr int kThreads = Tiles::kThreads;
  static constexpr int kBlocks = kShape.blocks;
};

// As RunBlock() wants it.
#define TESSERA_SIMT_KERNEL_Few SIMT_EARLY_KERNEL
#define TESSERA_SIMT_KERNEL_Many SIMT_KERNEL

#define TESSERA_SIMT_ONE(policy, Policy, rows, Rows, name, cache, size, general, logits) \
  using Kernel_##policy##_##rows##_##name =                                              \
      InstanceKernel<Policy::Rows, kIs##Rows,                                            \
                     SimtInstance{DType::cache, size, general, Logits::logits}>;         \
  TESSERA_SIMT_KERNEL_##Rows(policy##_##rows##_##name, AttentionKernelArgs,              \
                             (Kernel_##policy##_##rows##_##name::kThreads),              \
                             (Kernel_##policy##_##rows##_##name::kBlocks)) {             \
    RunBlock<Kernel_##policy##_##rows##_##name::Tiles,                                   \
             Kernel_##policy##_##rows##_##name::kLogits>(args.args, args.items);         \
  }

#define TESSERA_SIMT_MMA(name, cache, size, general, logits)               \
  TESSERA_SIMT_ONE(mma, Mma, few, Few, name, cache, size, general, logits) \
  TESSERA_SIMT_ONE(mma, Mma, many, Many, name, cache, size, general, logits)
#define TESSERA_SIMT_MFMA(name, cache, size, general, logits)                \
  TESSERA_SIMT_ONE(mfma, Mfma, few, Few, name, cache, size, general, logits) \
  TESSERA_SIMT_ONE(mfma, Mfma, many, Many, name, cache, size, general, logits)
#define TESSERA_SIMT_WMMA(name, cache, size, general, logits)                \
  TESSERA_SIMT_ONE(wmma, Wmma, few, Few, name, cache, size, general, logits) \
  TESSERA_SIMT_ONE(wmma, Wmma, many, Many, name, cache, size, general, logits)
#define TESSERA_SIMT_WMMA11(name, cache, size, general, logits)                  \
  TESSERA_SIMT_ONE(wmma11, Wmma11, few, Few, name, cache, size, general, logits) \
  TESSERA_SIMT_ONE(wmma11, Wmma11, many, Many, name, cache, size, general, logits)

#if defined(TESSERA_SIMT_CUDA)
TESSERA_SIMT_GROUP(TESSERA_SIMT_MMA)
#elif defined(TESSERA_SIMT_HIP) && defined(__GFX9__)
TESSERA_SIMT_GROUP(TESSERA_SIMT_MFMA)
#elif defined(TESSERA_SIMT_HIP) && defined(__GFX11__)
TESSERA_SIMT_GROUP(TESSERA_SIMT_WMMA11)
#elif defined(TESSERA_SIMT_HIP)
TESSERA_SIMT_GROUP(TESSERA_SIMT_WMMA)
#else
TESSERA_SIMT_GROUP(TESSERA_SIMT_MMA)
TESSERA_SIMT_GROUP(TESSERA_SIMT_MFMA)
TESSERA_SIMT_GROUP(TESSERA_SIMT_WMMA)
TESSERA_SIMT_GROUP(TESSERA_SIMT_WMMA11)

#define TESSERA_SIMT_ENTRIES(name, cache, size, general, logits)                               \
  SIMT_ENTRY(mma_few_##name), SIMT_ENTRY(mma_many_##name), SIMT_ENTRY(mfma_few_##name),        \
      SIMT_ENTRY(mfma_many_##name), SIMT_ENTRY(wmma_few_##name), SIMT_ENTRY(wmma_many_##name), \
      SIMT_ENTRY(wmma11_few_##name), SIMT_ENTRY(wmma11_many_##name),
SIMT_KERNELS(TESSERA_SIMT_GROUP(TESSERA_SIMT_ENTRIES));
#endif

}  // namespace tessera::kernel::lanes
