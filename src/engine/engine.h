// The engine: requests in, tokens out. One thread steps (schedule, run the model, sample, emit);
// requests and tokens travel through queues, so every member function may be called from any
// thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/sampling_params.h"
#include "model/model.h"
#include "tessera/registry.h"

namespace tessera {

class Tokenizer;
class Ops;

struct EngineOptions {
  std::string model_directory;
  std::string attention_backend;   // as SelectionRequest::backend
  DType dtype = DType::kBFloat16;  // of arithmetic and KV cache
  int32_t block_size = 16;         // tokens in a KV block
  int64_t kv_cache_bytes = 0;      // 0: planned from free memory and the longest request
  int64_t max_model_len =
      0;  // 0: the checkpoint's; lowered, with a warning, where the cache cannot hold it
  int32_t max_batch_tokens = 2048;  // rows of one step: the budget of chunked prefill
  int32_t max_running = 256;        // requests in a step
  int num_threads = 0;              // 0: all cores
  bool batch_invariant = false;
  std::function<void(const std::string& phase, int64_t done, int64_t total)>
      progress;  // while loading
};

enum class FinishReason : uint8_t { kNone, kStop, kLength, kCancelled, kError };
// "stop", "length", "cancelled", "error"; "" for kNone.
const char* ToString(FinishReason reason);

struct TokenLogprob {
  int32_t token = -1;
  float logprob =
      0;  // natural log, of the model's own distribution (before temperature and penalties)
  int32_t rank = 0;                            // 1: the likeliest
  std::vector<std::pair<int32_t, float>> top;  // the likeliest alternatives, best first
};

struct Request {
  std::vector<int32_t> prompt;
  SamplingParams sampling;
};

// What a step made for one request. `text` is always whole characters.
struct RequestUpdate {
  uint64_t id = 0;
  std::string text;                    // new text, stop strings excluded
  std::vector<int32_t> tokens;         // new tokens
  std::vector<TokenLogprob> logprobs;  // of `tokens`, where asked for
  std::vector<TokenLogprob>
      prompt_logprobs;  // once, before the first token; entry 0 is a placeholder with token -1
  FinishReason finish = FinishReason::kNone;
  std::string error;          // with kError
  int32_t prompt_tokens = 0;  // with the last update
  int32_t output_tokens = 0;
};

// Called on the stepping thread; must not block.
using UpdateCallback = std::function<void(const RequestUpdate&)>;

struct EngineStats {
  int64_t steps = 0;
  int64_t prompt_tokens_computed = 0;
  int64_t tokens_generated = 0;
  int64_t preemptions = 0;
  int32_t waiting = 0;
  int32_t running = 0;
  int64_t blocks_total = 0;
  int64_t blocks_used = 0;
  double prefill_seconds = 0;  // of steps that held prompt tokens
  double decode_seconds = 0;   // of steps that held none
};

class Engine {
 public:
  static Result<std::unique_ptr<Engine>> Create(const EngineOptions& options);
  ~Engine();

  // Refuses at once what can never run (empty prompt, too long for the model or the cache, values
  // out of range).
  Result<uint64_t> Submit(Request request, UpdateCallback callback);

  // Ends a request at the next step with kCancelled. Unknown ids are ignored.
  void Cancel(uint64_t id);

  // Blocks until no request is waiting or running.
  void WaitIdle();

  EngineStats stats() const;
  const Model& model() const;
  const Tokenizer* tokenizer() const;  // null where the directory has none
  const Selection& attention() const;
  int64_t max_model_len() const;
  // What was decided or lowered on the way, for the start-up checklist: "KV cache: 1.2 GB, 8,192
  // blocks of 16 tokens".
  const std::vector<std::string>& notes() const;

 private:
  class Impl;
  explicit Engine(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace tessera
