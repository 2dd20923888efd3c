// The seam: an attention backend. Plain structs go in, nothing owns anything but the plan.
//
// Rules that every backend keeps, and that the conformance test checks for each one:
//  1. What it does not implement it refuses in Supports(), with a sentence; it never computes
//  something else.
//  2. It reads and writes the standard cache layout with any block size and any strides.
//  3. Cache memory past seq_len, or outside the window, may hold NaN: it never reaches the result.
//  4. query_len 0, seq_len 0, slot -1, a garbage tail of the block table, 2^31 and more elements:
//  all fine.
//  5. A row that sees no key, or none with a score above -infinity, gives 0, and lse = -infinity
//  (with sinks: the sink). lse is natural-log based. Sinks count once, also under split-KV.
//  6. Causal is bottom-right aligned; a window of w keeps w keys, the row's own among them.
//  7. With spec.batch_invariant the result of a request does not depend on what runs beside it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tessera/attention_batch.h"
#include "tessera/attention_spec.h"
#include "tessera/device.h"
#include "tessera/kv_cache.h"
#include "tessera/result.h"
#include "tessera/thread_pool.h"

namespace tessera {

// What a backend works with; it must outlive the backend.
struct BackendContext {
  DeviceInfo device;
  ThreadPool* threads = nullptr;  // CPU backends run on these; one Run() at a time
  // Selected backends end the program with a sentence where a caller hands in block ids, slots or
  // lengths that are out of range. Builds without NDEBUG always do.
  bool check_inputs = false;
};

// The answer of Probe() and Supports().
struct Support {
  std::vector<std::string> reasons;  // why not, all of them; empty: yes

  // Predicted cost where the answer is yes, for the choice among several backends:
  double decode_ns_per_key =
      0;  // of one query row over one key of one KV head, averaged over a long context
  double prefill_ns_per_key =
      0;  // of one query row of one head over one key, amortised over a long prompt

  bool ok() const { return reasons.empty(); }
};

// A step's plan: how its work is divided. Made once a step on the host, shared by all layers of one
// spec.
class AttentionPlan {
 public:
  virtual ~AttentionPlan() = default;
};

// What one layer's attention reads and writes. Strides count elements.
struct RunArgs {
  const void* query = nullptr;  // [num_tokens, num_heads, head_size] of spec.query_dtype
  int64_t query_token_stride = 0;
  int64_t query_head_stride = 0;

  void* output = nullptr;  // [num_tokens, num_heads, value_size] of spec.output_dtype
  int64_t output_token_stride = 0;
  int64_t output_head_stride = 0;

  float* lse = nullptr;  // [num_tokens, num_heads] contiguous, or null

  const float* alibi_slopes = nullptr;  // [num_heads], with spec.alibi
  const float* sinks = nullptr;         // [num_heads], with spec.sinks

  // With spec.query_query_bias: bias[seq * seq_stride + row * row_stride + column] is added to the
  // score of a request's row `row` with its own new token `column`; -infinity hides it. seq_stride
  // 0: one tree for all requests.
  const float* query_query_bias = nullptr;
  int64_t bias_seq_stride = 0;
  int64_t bias_row_stride = 0;

  float query_scale = 1.0f;   // of an fp8 query: stored value * scale = value
  float output_scale = 1.0f;  // with spec.fp8_output_scale

  // Keys and values of encoders, [num_tokens, num_kv_heads, size] of spec.cache_dtype.
  const void* key = nullptr;
  const void* value = nullptr;
  int64_t key_token_stride = 0;
  int64_t key_head_stride = 0;
  int64_t value_token_stride = 0;
  int64_t value_head_stride = 0;
};

// New keys and values for the cache.
struct WriteKvArgs {
  const void* key = nullptr;    // [num_tokens, num_kv_heads, head_size] of `dtype`
  const void* value = nullptr;  // [num_tokens, num_kv_heads, value_size] of `dtype`
  DType dtype = DType::kBFloat16;
  int64_t key_token_stride = 0;  // in elements; heads may be strided as well
  int64_t key_head_stride = 0;
  int64_t value_token_stride = 0;
  int64_t value_head_stride = 0;
};

struct BlockPair {
  int64_t source = 0;
  int64_t destination = 0;
};

// Thread-safe for one step at a time; plans may be made while a run is under way.
class Backend {
 public:
  virtual ~Backend() = default;

  // Lower case, stable: "reference", "portable".
  virtual std::string Name() const = 0;

  // Whether it can work on this device at all.
  virtual Support Probe(const DeviceInfo& device) const = 0;

  // Whether it computes this layer with blocks of this size. `spec` is valid.
  virtual Support Supports(const AttentionSpec& spec, int32_t block_size) const = 0;

  // `reuse` may hand back an earlier plan of this backend, whose memory is taken over.
  virtual std::unique_ptr<AttentionPlan> Plan(const AttentionSpec& spec,
                                              const AttentionBatch& batch,
                                              std::unique_ptr<AttentionPlan> reuse) = 0;

  // Puts the batch's new rows where slot_mapping says (vLLM's reshape_and_cache).
  virtual void WriteKv(const AttentionSpec& spec, const AttentionBatch& batch,
                       const WriteKvArgs& args, const KvCache& cache) = 0;

  // The attention of one layer. `plan` was made by this backend for this spec and batch.
  virtual void Run(const AttentionPlan& plan, const AttentionSpec& spec,
                   const AttentionBatch& batch, const KvCache& cache, const RunArgs& args) = 0;

  // Copies whole blocks inside a cache; sources and destinations do not overlap.
  virtual void CopyBlocks(const AttentionSpec& spec, const KvCache& cache,
                          const std::vector<BlockPair>& pairs) = 0;

  // Copies whole blocks between two caches of one shape (to host memory and back).
  virtual void SwapBlocks(const AttentionSpec& spec, const KvCache& source,
                          const KvCache& destination, const std::vector<BlockPair>& pairs) = 0;
};

}  // namespace tessera
