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
//  8. Between Prepare() and the step's end nothing waits for the device, allocates, or follows an
//  address of the device on the host. Backends that compute on a CPU do so under a HostAccess.
//
// One step of one layer:
//
//   TESSERA_ASSIGN_OR_RETURN(auto plan, backend.NewPlan(spec, {.max_seqs = 8, .max_tokens = 64}));
//   TESSERA_RETURN_IF_ERROR(backend.Prepare(plan.get(), batch, stream));   // once for all layers
//   TESSERA_RETURN_IF_ERROR(backend.WriteKv(*plan, batch, written, cache, stream));
//   TESSERA_RETURN_IF_ERROR(backend.Run(plan.get(), batch, cache, args, stream));
//   TESSERA_RETURN_IF_ERROR(stream.Synchronize());
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
  Device* device = nullptr;
  ThreadPool* threads = nullptr;  // CPU backends run on these; one Run() at a time
  // Selected backends refuse a caller's block ids, slots or lengths that are out of range with a
  // sentence. Builds without NDEBUG always do.
  bool check_inputs = false;
};

// The answer of BackendEntry::probe and Backend::Supports().
struct Support {
  std::vector<std::string> reasons;  // why not, all of them; empty: yes

  // Predicted cost if the answer is yes, for the choice among several backends:
  double decode_ns_per_key =
      0;  // of one query row over one key of one KV head, averaged over a long context
  double prefill_ns_per_key =
      0;  // of one query row of one head over one key, amortised over a long prompt

  bool ok() const { return reasons.empty(); }
};

// Which requests a plan computes.
enum class Phases : uint8_t {
  kBoth,
  kPrefill,  // those with more than one new token
  kDecode,   // those with exactly one
};

// Whether a plan for `phases` computes the rows of a request with so many new tokens.
constexpr bool Includes(Phases phases, int32_t query_len) {
  return phases == Phases::kBoth || (query_len == 1) == (phases == Phases::kDecode);
}

// How large a plan's steps may be.
struct PlanCapacity {
  int32_t max_seqs = 0;
  int32_t max_tokens = 0;
  // At most one row for each request: such steps may be captured in a graph, which then serves
  // every later step of the plan.
  bool decode_only = false;
  // With decode_only: room to compute what a step's requests have in common once, by
  // AttentionBatch::common_prefix_len, which otherwise is not looked at. Steps without serve too.
  bool shared_prefix = false;
  // The plan computes only these requests' rows and leaves the output and lse of all others as they
  // are: two plans of two backends then serve one batch. WriteKv() writes every row all the same.
  Phases phases = Phases::kBoth;
};

// Fails if the batch exceeds the capacity: for Backend::Prepare().
Status CheckCapacity(const PlanCapacity& capacity, const AttentionBatch& batch);

// How a step's work is divided, and scratch memory for partial results: made once, prepared once a
// step, shared by all layers of one spec that run one after another in one stream.
class AttentionPlan {
 public:
  explicit AttentionPlan(const AttentionSpec& spec) : spec_(spec) {}
  virtual ~AttentionPlan() = default;
  const AttentionSpec& spec() const { return spec_; }
  // Changes if what a graph recorded of this plan no longer holds (another backend's memory).
  virtual uint64_t version() const { return 0; }

 private:
  const AttentionSpec spec_;
};

// What one layer's attention reads and writes, in memory of the device. Strides count elements.
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

// New keys and values for the cache, in memory of the device.
struct WriteKvArgs {
  const void* key = nullptr;    // [num_tokens, num_kv_heads, head_size] of `dtype`
  const void* value = nullptr;  // [num_tokens, num_kv_heads, value_size] of `dtype`
  DType dtype = DType::kBFloat16;
  int64_t key_token_stride = 0;  // in elements; heads may be strided as well
  int64_t key_head_stride = 0;
  int64_t value_token_stride = 0;
  int64_t value_head_stride = 0;
};

// Used by one thread at a time, Name() and Supports() aside.
class Backend {
 public:
  virtual ~Backend() = default;

  // Lower case, stable: "reference", "portable".
  virtual std::string Name() const = 0;

  // Whether it computes this layer with blocks of this size. `spec` is valid.
  virtual Support Supports(const AttentionSpec& spec, int32_t block_size) const = 0;

  // Allocates work lists and partial results, whose addresses stay. `spec` is one that Supports()
  // accepts. Fails if memory runs out.
  virtual Result<std::unique_ptr<AttentionPlan>> NewPlan(const AttentionSpec& spec,
                                                         const PlanCapacity& capacity) = 0;

  // Divides a step's work, on the host; what kernels need of that is copied in `stream`. Not
  // captured in graphs. Entries that the step leaves unused become empty items, so that a captured
  // grid may run over them. Fails if the batch exceeds the plan's capacity.
  virtual Status Prepare(AttentionPlan* plan, const AttentionBatch& batch, Stream& stream) = 0;

  // Puts the batch's new rows where slot_mapping says (vLLM's reshape_and_cache), quantised where
  // the cache is. Operations may write plain caches themselves: the layout is one.
  //
  // The Status of this and Run() says what the caller got wrong, before anything is launched; what
  // the device gets wrong stays in the stream.
  virtual Status WriteKv(const AttentionPlan& plan, const AttentionBatch& batch,
                         const WriteKvArgs& args, const KvCache& cache, Stream& stream) = 0;

  // The attention of one layer. `plan` was prepared for `batch` by this backend.
  virtual Status Run(AttentionPlan* plan, const AttentionBatch& batch, const KvCache& cache,
                     const RunArgs& args, Stream& stream) = 0;
};

}  // namespace tessera
