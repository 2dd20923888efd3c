// A model without arithmetic: it keeps token ids in the KV cache and makes logits from what it
// finds there, so that every mistake of the scheduler or the runner shows as a wrong token.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/engine_parts.h"

namespace tessera::testing {

struct FakeModelOptions {
  int64_t vocab_size = 97;
  int32_t num_layers = 3;  // the last one of another spec than the others
  int64_t max_model_len = 64;
  std::vector<int32_t> eos_token_ids = {};
  bool batch_invariant = false;
  // Once it is true the device is lost: its stream always fails. Outlives the engine. Null: on a
  // fenced device, which lasts.
  const std::atomic<bool>* device_lost = nullptr;
  // On the emulated GPU, whose streams do nothing before somebody waits for them; kFailToken and
  // kMemoryToken mean nothing there. The test links simt_Ops.
  bool emulated_gpu = false;
};

// The bytes of one token in its cache: 3 layers, 2 heads, 2 + 3 floats.
constexpr int64_t kFakeTokenBytes = 3 * 2 * 5 * 4;

// Tokens with a meaning of their own, which the model never makes.
constexpr int32_t kFailToken = 90;    // in a step: Forward fails
constexpr int32_t kNanToken = 91;     // newest of a sequence: the row's logits are NaN
constexpr int32_t kMemoryToken = 92;  // in a step: std::bad_alloc on a worker

// Counts what the engine does with it.
struct FakeCounters {
  std::atomic<int64_t> steps{0};
  std::atomic<int64_t> plans{0};
  std::atomic<int64_t> max_rows{0};
  std::atomic<int64_t> max_sequences{0};
};

// The logits after `context`: in -8 to 8, differing from context to context.
std::vector<float> FakeLogits(std::span<const int32_t> context, int64_t vocab_size);

// The likeliest one.
int32_t FakeNextToken(std::span<const int32_t> context, int64_t vocab_size);

// The likeliest `count` ones after `context`, each after those before it; of the usual vocabulary.
std::vector<int32_t> FakeGreedy(std::vector<int32_t> context, int32_t count);

// `counters` outlives the engine.
EngineParts MakeFakeParts(const FakeModelOptions& options, FakeCounters* counters);

// Blocks of 4 tokens, steps of at most 32 tokens and 8 requests.
EngineOptions SmallOptions();

std::unique_ptr<Engine> MakeFakeEngine(const EngineOptions& options, FakeCounters* counters,
                                       const FakeModelOptions& model = {});

}  // namespace tessera::testing
