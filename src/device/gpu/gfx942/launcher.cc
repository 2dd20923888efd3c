#include "device/gpu/gfx942/launcher.h"

#include <algorithm>

#include "device/gpu/gfx942/memory_access.h"

namespace tessera::gfx942 {
namespace {

// No number as a float, and far away as an address or an index.
constexpr uint32_t kNeverSet = 0x7fc0deadu;
// A wave that runs longer than this does not end: our kernels need some hundred thousand.
constexpr uint64_t kMostInstructions = uint64_t{1} << 32;

}  // namespace

struct Launcher::Worker {
  Workgroup group;
  std::vector<Wave> waves;
  std::unique_ptr<AddressMap> memory;
  uint64_t instructions = 0;

  void Begin(const KernelLaunch& launch, uint64_t arguments, int64_t block) {
    const KernelFacts& facts = launch.kernel->facts;
    const int count = (launch.threads + kLanes - 1) / kLanes;
    if (static_cast<int>(waves.size()) < count) waves.resize(static_cast<size_t>(count));
    group.lds.Reset(facts.lds_bytes + launch.lds_bytes, count);
    group.memory = memory.get();
    group.waves = count;
    group.code_base = launch.kernel->image;
    for (int id = 0; id < count; ++id) {
      Wave& wave = waves[static_cast<size_t>(id)];
      wave.group = &group;
      wave.id = id;
      wave.state = WaveState::kRunning;
      wave.next = 0;
      wave.scc = false;
      wave.count = 0;
      std::fill_n(wave.v(0), facts.vectors * kLanes, kNeverSet);
      std::fill_n(wave.v(kAccumulators), facts.accumulators * kLanes, kNeverSet);
      wave.s.fill(kNeverSet);
      const int threads = std::min(launch.threads - id * kLanes, kLanes);
      wave.SetScalar64(kExec, ~uint64_t{0} >> (kLanes - threads));
      if (facts.argument_pointer) wave.SetScalar64(0, arguments);
      size_t scalar = static_cast<size_t>(facts.user_scalars);
      if (facts.workgroup_id[0]) wave.s[scalar++] = static_cast<uint32_t>(block);
      if (facts.workgroup_id[1]) wave.s[scalar++] = 0;
      if (facts.workgroup_id[2]) wave.s[scalar++] = 0;
      for (int l = 0; l < kLanes; ++l) wave.v(0)[l] = static_cast<uint32_t>(id * kLanes + l);
    }
  }

  // To the wave's end or to a barrier.
  void RunWave(const Kernel& kernel, Wave& wave, int64_t block) {
    const Instruction* const code = kernel.code.data();
    uint64_t count = 0;
    try {
      while (wave.state == WaveState::kRunning) {
        const Instruction& instruction = code[wave.next++];
        instruction.run(wave, instruction);
        if (++count > kMostInstructions) throw Fault{"the wave does not end"};
      }
    } catch (const Fault& fault) {
      const auto at = static_cast<size_t>(wave.next - 1);
      throw Fault{"kernel '" + kernel.name + "' failed on the gfx942 interpreter: " +
                  fault.message + " (instruction '" + std::string(kernel.texts[at]) + "' at " +
                  Hexadecimal(kernel.code[at].address) + ", wave " + std::to_string(wave.id) +
                  " of workgroup " + std::to_string(block) + ")"};
    }
    instructions += count;
  }

  void RunBlock(const KernelLaunch& launch, uint64_t arguments, int64_t block) {
    Begin(launch, arguments, block);
    const auto count = static_cast<size_t>(group.waves);
    for (size_t ended = 0; ended < count;) {
      for (size_t id = 0; id < count; ++id) {
        Wave& wave = waves[id];
        if (wave.state != WaveState::kRunning) continue;
        RunWave(*launch.kernel, wave, block);
        if (wave.state == WaveState::kEnded) ++ended;
      }
      // Those that have ended do not count at a barrier.
      group.lds.Barrier();
      for (size_t id = 0; id < count; ++id) {
        if (waves[id].state == WaveState::kAtBarrier) waves[id].state = WaveState::kRunning;
      }
    }
  }
};

Launcher::Launcher(ThreadPool* pool) : pool_(pool) {
  for (int i = 0; i < pool->num_threads(); ++i) workers_.push_back(std::make_unique<Worker>());
}

Launcher::~Launcher() = default;

Status Launcher::Run(const KernelLaunch& launch) {
  const Kernel& kernel = *launch.kernel;
  const auto refuse = [&](const std::string& why) {
    return InvalidArgument("kernel '" + kernel.name + "' cannot be launched: " + why);
  };
  if (static_cast<int64_t>(launch.arguments.size()) != kernel.facts.argument_bytes) {
    return refuse("it takes " + std::to_string(kernel.facts.argument_bytes) +
                  " bytes of arguments, not " + std::to_string(launch.arguments.size()));
  }
  if (launch.threads < 1 || launch.threads > kMaxThreads || launch.blocks < 0) {
    return refuse(std::to_string(launch.blocks) + " workgroups of " +
                  std::to_string(launch.threads) + " threads");
  }
  if (kernel.facts.lds_bytes + launch.lds_bytes > kMaxLdsBytes || launch.lds_bytes < 0) {
    return refuse("it would need " + std::to_string(kernel.facts.lds_bytes + launch.lds_bytes) +
                  " bytes of LDS, of " + std::to_string(kMaxLdsBytes));
  }
  // Scalar loads of arguments may come in larger pieces than the last argument.
  std::vector<uint64_t> arguments(launch.arguments.size() / 8 + 9);
  std::copy(launch.arguments.begin(), launch.arguments.end(),
            reinterpret_cast<unsigned char*>(arguments.data()));
  const auto begin = reinterpret_cast<uint64_t>(arguments.data());
  std::vector<AddressRange> memory = launch.memory;
  memory.push_back({begin, begin + 8 * arguments.size(), false});
  memory.push_back({kernel.image, kernel.image + kernel.image_bytes, false});
  for (const auto& worker : workers_) worker->memory = std::make_unique<AddressMap>(memory);
  try {
    pool_->ParallelFor(launch.blocks, [&](int64_t block, int worker) {
      workers_[static_cast<size_t>(worker)]->RunBlock(launch, begin, block);
    });
  } catch (const Fault& fault) {
    return Internal(fault.message);
  }
  return {};
}

uint64_t Launcher::instructions() const {
  uint64_t sum = 0;
  for (const auto& worker : workers_) sum += worker->instructions;
  return sum;
}

}  // namespace tessera::gfx942
