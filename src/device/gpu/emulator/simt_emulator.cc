#include "device/gpu/emulator/simt_emulator.h"

#include <algorithm>
#include <exception>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "device/gpu/emulator/fiber.h"

namespace tessera::simt::emulator {

namespace {

constexpr size_t kStackBytes = size_t{128} << 10;

struct BlockState {
  struct GpuThread {
    Fiber* fiber = nullptr;
    bool ready = true;
    bool done = false;
    bool must_wait = false;  // for the kernels before
  };

  LaunchShape shape;
  const std::function<void()>* body = nullptr;
  std::vector<GpuThread> threads;
  std::vector<int> order;     // permuted running order
  std::vector<int> position;  // its inverse
  Fiber main;
  int block = 0;
  int current = 0;
  int live = 0;
  int at_barrier = 0;
  std::vector<int> arrived;     // lanes at a collective, by wave
  std::vector<const void*> in;  // by thread, valid while its wave is at a collective
  std::vector<void*> out;
  LaunchCounters counters;
  std::exception_ptr error;  // thrown by the kernel
  std::string failure;       // a broken rule
};

thread_local BlockState* state = nullptr;

Fiber* Current() { return state->threads[static_cast<size_t>(state->current)].fiber; }

// Abandons the block, whose failure has been written down: its fibers are never resumed. They are
// not unwound either, so nobody who calls this may own memory.
[[noreturn]] void Abandon() { Fiber::Leave(Current(), &state->main); }

// Chooses the thread to run after the current one, which may be itself. A block in which nobody can
// run is abandoned.
void ChooseNext() {
  BlockState& s = *state;
  const int n = s.shape.threads;
  const int position = s.position[static_cast<size_t>(s.current)];
  for (int k = 1; k <= n; ++k) {
    const int candidate = s.order[static_cast<size_t>((position + k) % n)];
    const auto& thread = s.threads[static_cast<size_t>(candidate)];
    if (!thread.ready || thread.done) continue;
    s.current = candidate;
    return;
  }
  s.failure = "deadlock: " + std::to_string(s.at_barrier) +
              " threads wait at a barrier, others at a wave collective or at nothing";
  Abandon();
}

void Yield() {
  Fiber* from = Current();
  ChooseNext();
  if (Current() == from) return;
  ++state->counters.switches;
  Fiber::Switch(from, Current());
}

void Entry() {
  BlockState& s = *state;
  Fiber* self = Current();
  try {
    (*s.body)();
  } catch (...) {
    s.error = std::current_exception();
    Abandon();
  }
  auto& thread = s.threads[static_cast<size_t>(s.current)];
  if (thread.must_wait) {
    s.failure = "a thread ends without having waited for the kernels before";
    Abandon();
  }
  thread.done = true;
  if (--s.live == 0) Fiber::Leave(self, &s.main);
  ChooseNext();
  Fiber::Leave(self, Current());
}

// Waves in random order, and lanes in random order inside each.
std::vector<int> RunningOrder(const LaunchShape& shape) {
  std::vector<int> order(static_cast<size_t>(shape.threads));
  std::iota(order.begin(), order.end(), 0);
  if (shape.seed == 0) return order;
  std::mt19937 random(shape.seed);
  std::vector<int> waves(static_cast<size_t>(shape.threads / shape.wave));
  std::iota(waves.begin(), waves.end(), 0);
  std::shuffle(waves.begin(), waves.end(), random);
  for (size_t w = 0; w < waves.size(); ++w) {
    const auto begin = order.begin() + static_cast<int64_t>(w) * shape.wave;
    std::iota(begin, begin + shape.wave, waves[w] * shape.wave);
    std::shuffle(begin, begin + shape.wave, random);
  }
  return order;
}

}  // namespace

LaunchCounters Launch(const LaunchShape& shape, const std::function<void()>& body) {
  BlockState s;
  s.shape = shape;
  s.body = &body;
  const size_t n = static_cast<size_t>(shape.threads);
  s.threads.resize(n);
  s.in.resize(n);
  s.out.resize(n);
  s.order = RunningOrder(shape);
  s.position.resize(n);
  for (size_t i = 0; i < n; ++i) s.position[static_cast<size_t>(s.order[i])] = static_cast<int>(i);
  // Stacks are the costly part of a launch: each OS thread keeps its own for the next one.
  thread_local std::vector<std::unique_ptr<Fiber>> fibers;
  while (fibers.size() < n) fibers.push_back(std::make_unique<Fiber>(kStackBytes));
  for (size_t i = 0; i < n; ++i) s.threads[i].fiber = fibers[i].get();
  state = &s;
  for (s.block = 0; s.block < shape.blocks && s.error == nullptr && s.failure.empty(); ++s.block) {
    s.live = shape.threads;
    s.at_barrier = 0;
    s.arrived.assign(static_cast<size_t>(shape.threads / shape.wave), 0);
    for (auto& thread : s.threads) {
      thread.ready = true;
      thread.done = false;
      thread.must_wait = false;
      thread.fiber->Prepare(&Entry);
    }
    s.current = s.order.front();
    Fiber::Switch(&s.main, s.threads[static_cast<size_t>(s.current)].fiber);
  }
  state = nullptr;
  if (s.error != nullptr) std::rethrow_exception(s.error);
  if (!s.failure.empty()) throw EmulationError(s.failure);
  return s.counters;
}

int Thread() { return state->current; }

int Block() { return state->block; }

void Barrier() {
  BlockState& s = *state;
  if (s.live != s.shape.threads) {
    s.failure = "a barrier is reached by " + std::to_string(s.live) + " of " +
                std::to_string(s.shape.threads) + " threads: the others have left the kernel";
    Abandon();
  }
  if (++s.at_barrier == s.live) {
    s.at_barrier = 0;
    ++s.counters.barriers;
    for (auto& thread : s.threads) thread.ready = true;
    return;
  }
  s.threads[static_cast<size_t>(s.current)].ready = false;
  Yield();
}

void Collective(const void* in, void* out, int wave, CollectiveOperation operation,
                const void* context) {
  BlockState& s = *state;
  const size_t current = static_cast<size_t>(s.current);
  const size_t w = current / static_cast<size_t>(wave);
  const size_t base = w * static_cast<size_t>(wave);
  s.in[current] = in;
  s.out[current] = out;
  if (++s.arrived[w] == wave) {
    s.arrived[w] = 0;
    ++s.counters.collectives;
    operation(context, &s.in[base], &s.out[base], wave);
    for (size_t i = 0; i < static_cast<size_t>(wave); ++i) s.threads[base + i].ready = true;
    return;
  }
  s.threads[current].ready = false;
  Yield();
}

float ShuffleXor(float value, int mask, int wave) {
  float result;
  Collective(
      &value, &result, wave,
      [](const void* context, const void* const* in, void* const* out, int lanes) {
        const int xor_mask = *static_cast<const int*>(context);
        for (int i = 0; i < lanes; ++i) {
          *static_cast<float*>(out[i]) = *static_cast<const float*>(in[i ^ xor_mask]);
        }
      },
      &mask);
  return result;
}

bool Any(bool condition, int wave) {
  bool result;
  Collective(
      &condition, &result, wave,
      [](const void*, const void* const* in, void* const* out, int lanes) {
        const bool any =
            std::any_of(in, in + lanes, [](const void* p) { return *static_cast<const bool*>(p); });
        for (int i = 0; i < lanes; ++i) *static_cast<bool*>(out[i]) = any;
      },
      nullptr);
  return result;
}

void BeginEarlyKernel() { state->threads[static_cast<size_t>(state->current)].must_wait = true; }

void WaitForEarlier() { state->threads[static_cast<size_t>(state->current)].must_wait = false; }

void Prefetch(const void* data, int64_t bytes) {
  if (reinterpret_cast<uintptr_t>(data) % 16 != 0 || bytes % 16 != 0) {
    state->failure = "a prefetch of " + std::to_string(bytes) + " bytes is not of whole pieces";
    Abandon();
  }
  const auto* const from = static_cast<const volatile unsigned char*>(data);
  for (int64_t i = 0; i < bytes; ++i) (void)from[i];
}

void* SharedMemory(size_t bytes) {
  alignas(16) static thread_local unsigned char memory[kSharedBytes];
  if (bytes > static_cast<size_t>(kSharedBytes)) {
    state->failure = "a block asks for " + std::to_string(bytes) + " bytes of shared memory";
    Abandon();
  }
  return memory;
}

}  // namespace tessera::simt::emulator
