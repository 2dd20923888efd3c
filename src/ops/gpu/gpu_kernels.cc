#include "ops/gpu/gpu_kernels.h"

#include <span>
#include <utility>

#include "ops/gpu/kernels/matmul_few.h"
#include "ops/gpu/kernels/matmul_one.h"
#include "ops/gpu/kernels/matmul_tile.h"
#include "ops/gpu/kernels/norm.h"
#include "ops/gpu/kernels/qk_norm_rope.h"
#include "ops/gpu/kernels/rows.h"
#include "ops/gpu/kernels/sample_choose.h"

namespace tessera {

std::span<const KernelModule> OpsModules();  // written by the build

namespace ops_gpu {
namespace {

// Bytes of shared memory by MatmulKernel.
template <class P, DType kWeight>
std::array<int64_t, kMatmulKernels> SharedBytes() {
  return {sizeof(typename FewRowsShape<P, kWeight, 16>::Memory),
          sizeof(typename FewRowsShape<P, kWeight, 32>::Memory),
          sizeof(typename Tile<P, kWeight, SmallTile<P, kWeight>()>::Memory),
          sizeof(typename Tile<P, kWeight, BigTile<P, kWeight>()>::Memory),
          sizeof(typename Tile<P, kWeight, Ordered(SmallTile<P, kWeight>())>::Memory),
          sizeof(typename Tile<P, kWeight, Ordered(BigTile<P, kWeight>())>::Memory),
          sizeof(OneRowMemory)};
}
template <class P>
std::array<std::array<int64_t, kMatmulKernels>, 3> SharedBytesByType() {
  return {SharedBytes<P, DType::kFloat32>(), SharedBytes<P, DType::kFloat16>(),
          SharedBytes<P, DType::kBFloat16>()};
}

constexpr const char* kMatmulNames[kMatmulKernels] = {
    "few16", "few32", "tile64", "tile128", "tile64_ordered", "tile128_ordered", "one"};
constexpr DType kWeightTypes[] = {DType::kFloat32, DType::kFloat16, DType::kBFloat16};

struct Wanted {
  std::string name;
  LaunchableKernel* kernel;
  int32_t threads;
  int64_t shared_bytes;
};

template <int kWave>
void AppendOfWave(GpuKernels* k, std::vector<Wanted>* wanted) {
  const std::string wave = "_" + std::to_string(kWave);
  const int64_t choose = sizeof(ChooseMemory<kWave>), stats = sizeof(StatsMemory<kWave>);
  wanted->insert(wanted->end(),
                 {{"norm_block" + wave, &k->norm_block, kNormThreads, sizeof(NormMemory<kWave>)},
                  {"norm_wave" + wave, &k->norm_wave, kNormThreads, 0},
                  {"qk_norm_rope" + wave, &k->qk_norm_rope, kRopeThreads, 0},
                  {"sample_stats" + wave, &k->sample_stats, kStatsThreads, stats},
                  {"sample_original_stats" + wave, &k->sample_original_stats, kStatsThreads, stats},
                  {"sample_choose" + wave, &k->sample_choose, kChooseThreads, choose},
                  {"sample_logprobs" + wave, &k->sample_logprobs, kChooseThreads, choose}});
}

std::vector<Wanted> WantedKernels(GpuKernels* k, const std::string& policy) {
  std::vector<Wanted> wanted = {{"activate", &k->activate, kRowThreads, 0},
                                {"gather", &k->gather, kRowThreads, 0},
                                {"fill_bias", &k->fill_bias, kRowThreads, 0},
                                {"resolve_ids", &k->resolve_ids, kRowThreads, 0},
                                {"sample_edit", &k->sample_edit, kEditThreads, 0},
                                {"sample_restore", &k->sample_restore, kEditThreads, 0},
                                {"matmul_sum_splits", &k->matmul_sum_splits, kMatmulThreads, 0}};
  policy == "mfma" ? AppendOfWave<64>(k, &wanted) : AppendOfWave<32>(k, &wanted);
  const auto bytes = policy == "mma"      ? SharedBytesByType<kernel::MmaM16N8K16>()
                     : policy == "mfma"   ? SharedBytesByType<kernel::Mfma16x16x16>()
                     : policy == "wmma11" ? SharedBytesByType<kernel::WmmaReplicated>()
                                          : SharedBytesByType<kernel::Wmma16x16x16>();
  for (size_t kind = 0; kind < kMatmulKernels; ++kind) {
    for (size_t type = 0; type < 3; ++type) {
      wanted.push_back({std::string("matmul_") + kMatmulNames[kind] + "_" + policy + "_" +
                            ToString(kWeightTypes[type]),
                        &k->matmul[kind][type], kMatmulThreads, bytes[type][kind]});
    }
  }
  return wanted;
}

}  // namespace

Result<std::unique_ptr<GpuKernels>> GpuKernels::Load(GpuDevice* device) {
  auto kernels = std::make_unique<GpuKernels>();
  for (const KernelModule& module : OpsModules()) {
    TESSERA_ASSIGN_OR_RETURN(std::unique_ptr<GpuModule> loaded, device->Load(module.images));
    kernels->modules.push_back(std::move(loaded));
  }
  const std::string& policy = device->matrix_policy();
  for (const Wanted& wanted : WantedKernels(kernels.get(), policy)) {
    Result<GpuKernel> found = NotFound("there are no modules");
    for (const auto& module : kernels->modules) {
      found = module->Find(wanted.name, wanted.shared_bytes);
      if (found.ok()) break;
    }
    if (!found.ok()) return found.error();
    wanted.kernel->kernel = *found;
    wanted.kernel->shape = {.threads = wanted.threads,
                            .wave = policy == "mfma" ? 64 : 32,
                            .shared_bytes = wanted.shared_bytes};
  }
  return kernels;
}

}  // namespace ops_gpu
}  // namespace tessera
