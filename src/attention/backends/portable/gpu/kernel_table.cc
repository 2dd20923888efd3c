#include "attention/backends/portable/gpu/kernel_table.h"

#include "attention/kernel/gpu/tiles_simt.h"

namespace tessera {
namespace {

using kernel::lanes::Machine;
using kernel::lanes::SimtInstance;

template <Machine kMachine, class P, bool kFewRows, SimtInstance kInstance>
InstanceKernel Describe(const std::string& prefix, const char* name) {
  constexpr kernel::lanes::NvidiaShape kShape =
      kernel::lanes::ShapeOf(kMachine, kInstance, kFewRows, P::X, P::WAVE, P::kTransposes);
  using Tiles = kernel::lanes::SimtTiles<P, kInstance.cache, kInstance.head_size, kShape.shape,
                                         kInstance.general>;
  return {.name = prefix + (kFewRows ? "_few_" : "_many_") + name,
          .rows = Tiles::kRows,
          .wave = P::WAVE,
          .threads = Tiles::kThreads,
          .blocks = kShape.blocks,
          .shared_bytes = sizeof(typename Tiles::Shared)};
}

template <Machine kMachine, class Policy>
std::vector<Instance> Make() {
  std::vector<Instance> list;
  const auto append = [&]<SimtInstance kInstance>(const char* module, const char* name) {
    list.push_back(
        {module, kInstance,
         Describe<kMachine, typename Policy::Few, true, kInstance>(Policy::kName, name),
         Describe<kMachine, typename Policy::Many, false, kInstance>(Policy::kName, name)});
  };
  const char* module = nullptr;
#define TESSERA_APPEND_INSTANCE(name, cache, size, general, logits)                              \
  append.template operator()<SimtInstance{DType::cache, size, general, kernel::Logits::logits}>( \
      module, #name);
#define TESSERA_APPEND_MODULE(file, instances) \
  module = #file;                              \
  instances(TESSERA_APPEND_INSTANCE)
  TESSERA_SIMT_MODULES(TESSERA_APPEND_MODULE)
#undef TESSERA_APPEND_MODULE
#undef TESSERA_APPEND_INSTANCE
  return list;
}

}  // namespace

std::vector<Instance> MakeInstances(Machine machine, const std::string& policy) {
  using kernel::lanes::Mfma;
  using kernel::lanes::Mma;
  using kernel::lanes::Wmma;
  using kernel::lanes::Wmma11;
  if (machine == Machine::kNvidia) return Make<Machine::kNvidia, Mma>();
  if (machine == Machine::kAmd) {
    if (policy == "mfma") return Make<Machine::kAmd, Mfma>();
    return policy == "wmma11" ? Make<Machine::kAmd, Wmma11>() : Make<Machine::kAmd, Wmma>();
  }
  if (policy == "mfma") return Make<Machine::kEmulator, Mfma>();
  if (policy == "wmma") return Make<Machine::kEmulator, Wmma>();
  if (policy == "wmma11") return Make<Machine::kEmulator, Wmma11>();
  return Make<Machine::kEmulator, Mma>();
}

}  // namespace tessera
