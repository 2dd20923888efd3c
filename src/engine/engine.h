// The engine: requests in, tokens out. One thread steps (schedule, run the model, sample, emit);
// requests and tokens travel through queues, so every member function may be called from any
// thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/request.h"
#include "model/model.h"
#include "tessera/device.h"
#include "tessera/registry.h"

namespace tessera {

class Tokenizer;
struct EngineParts;
struct EngineView;

// The longest time that a request can be given: a clock's range is finite.
constexpr int kMaxTimeoutSeconds = 1'000'000;

// Whether a step is submitted before the one before it is collected. No answer depends on it.
enum class RunAhead : uint8_t {
  kAuto,  // on a device that computes in the background
  kOn,
  kOff,
};

struct EngineOptions {
  std::string model_directory;
  std::string device = "cpu";  // as OpenDevice()
  // If the device is lost, the model is loaded on this one, which is another: requests whose answer
  // has not begun start again there, the others end with the error. Empty: the engine ends instead.
  std::string fallback_device;
  std::string attention_backend;               // as SelectionRequest::backend
  std::vector<std::string> attention_plugins;  // paths of shared libraries with further backends
  DType dtype = DType::kBFloat16;              // of arithmetic and KV cache
  int32_t block_size = 16;                     // tokens in a KV block
  int64_t kv_cache_bytes = 0;  // 0: planned from free memory and the longest request
  // 0: the checkpoint's. Lowered, with a note, if the cache cannot hold it.
  int64_t max_model_len = 0;
  int32_t max_batch_tokens = 2048;  // rows of one step: the budget of chunked prefill
  int32_t max_running = 256;        // requests in a step; at most max_batch_tokens
  int num_threads = 0;              // 0: all cores
  bool batch_invariant = false;
  RunAhead run_ahead = RunAhead::kAuto;
  // Beginnings that requests have in common are computed once. Not for prompts whose log
  // probabilities are asked for.
  bool prefix_caching = true;
  int32_t speculative_tokens = 0;  // of requests that do not say (SamplingParams)
  double request_timeout = 0;      // seconds that a request may take, waiting included; 0: any time
  // While loading, from the loading thread; not while the fallback device takes over.
  std::function<void(const std::string& phase, int64_t done, int64_t total)> progress;
};

struct EngineStats {
  int64_t steps = 0;
  int64_t steps_ahead = 0;             // of these: submitted before the step before was collected
  int64_t prompt_tokens_computed = 0;  // recomputation after a preemption included
  int64_t prefix_cache_queries = 0;    // tokens of requests as they start to run
  int64_t prefix_cache_hits = 0;       // how many of these were in the cache
  int64_t tokens_generated = 0;
  int64_t preemptions = 0;
  int64_t drafts = 0;           // guesses of a step for one request: speculation
  int64_t draft_tokens = 0;     // tokens of these
  int64_t accepted_tokens = 0;  // how many of them were right
  int64_t timeouts = 0;         // requests that ended at their deadline
  int32_t waiting = 0;
  int32_t running = 0;
  int64_t blocks_total = 0;
  int64_t blocks_used = 0;
  double prefill_seconds = 0;  // of steps that held prompt tokens
  double decode_seconds = 0;   // of steps that held none
  int64_t decode_tokens = 0;   // that these latter steps generated
  // Of the stepping thread, in all steps: planning attention, queueing the model, and waiting for
  // the device; on a CPU running the model.
  double model_seconds = 0;
  double wait_seconds = 0;    // of these: waiting. None while steps are made: the host is too slow
  double sample_seconds = 0;  // of all steps: choosing tokens, log probabilities, or queueing that
  int64_t graph_replays = 0;  // steps that the device replayed from a recording
  std::string device;         // its name, "NVIDIA H200"
  // Why no step can succeed any more: the device was lost. Empty: it works. Requests end with this.
  std::string device_error;
  // Why the engine has turned to its fallback device: the first one was lost. Empty: it has not.
  std::string lost_device;
  bool falling_back = false;  // the model is being loaded there, and requests wait
  int64_t device_fallbacks =
      0;  // how often it has been loaded there; other counts begin again then
};

class Engine {
 public:
  static Result<std::unique_ptr<Engine>> Create(const EngineOptions& options);

  // From parts that the caller has made (engine/engine_parts.h); of `options`, those that the parts
  // decide are not looked at.
  static Result<std::unique_ptr<Engine>> Create(const EngineOptions& options, EngineParts parts);

  // Requests under way end with kCancelled.
  ~Engine();

  // Refuses at once what can never run (empty prompt, too long for the model or the cache, values
  // out of range). The callback may be called before this returns.
  Result<uint64_t> Submit(Request request, UpdateCallback callback);

  // What Submit() refuses, without submitting it; rules that are still to be made aside.
  Status Check(const Request& request) const;

  // For Request::rules of requests with the same lists. Refuses parameters out of range.
  Result<std::shared_ptr<const TokenRules>> MakeRules(const SamplingParams& params) const;

  // Ends a request at the next step with kCancelled. Unknown ids are ignored.
  void Cancel(uint64_t id);

  // Blocks until no request is waiting or running.
  void WaitIdle();

  EngineStats stats() const;
  // Calls `callback` once from the stepping thread, after the step under way: what the engine looks
  // like (engine/engine_view.h). Never, if the engine ends before. Costs O(blocks).
  void Inspect(std::function<void(const EngineView&)> callback);
  // Lets another attention backend, named as in EngineOptions, compute the layers of one kind (an
  // index into layer_kinds()) from the next step on. Requests under way continue with it. Refuses
  // one that cannot serve with all its reasons.
  Status UseAttentionBackend(size_t kind, const std::string& backend);
  const Model& model() const;
  const DeviceInfo& device() const;
  const Tokenizer* tokenizer() const;  // null if the directory has none
  const Selection& attention() const;  // of the first layer, at the start
  // Of each kind of layer, in order of their first: what such a layer is, and who computed it at
  // the start.
  const std::vector<AttentionSpec>& layer_kinds() const;
  const std::vector<Selection>& attention_by_kind() const;
  int64_t max_model_len() const;
  // What was decided or lowered on the way, for the start-up checklist: "KV cache: 1.2 GiB, 8,192
  // blocks of 16 tokens".
  const std::vector<std::string>& notes() const;

 private:
  class Impl;
  explicit Engine(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace tessera
