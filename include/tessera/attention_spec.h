// AttentionSpec: what one attention layer is. Plain data, the same for every step; a backend's
// Supports() judges it.
#pragma once

#include <cstdint>
#include <string>

#include "tessera/dtype.h"
#include "tessera/result.h"

namespace tessera {

// Encoders keep no cache: their keys and values are those of RunArgs, and seq_lens are the query
// lengths. In cross attention seq_lens are the encoder's, which say nothing about the query's.
enum class AttentionType : uint8_t {
  kDecoder,      // self-attention over the paged cache
  kEncoder,      // self-attention over the batch's own keys and values
  kEncoderOnly,  // the same, for models without a decoder
  kCross,        // decoder queries over a cached encoder sequence; every row sees every key
};

enum class Causality : uint8_t {
  kCausal,      // bottom-right aligned: the last query row sees every key
  kFull,        // every row sees every key
  kPerRequest,  // AttentionBatch::causal decides
};

enum class Alibi : uint8_t {
  kNone,
  kPlain,  // score + slope * (key_pos - query_pos)
  kSqrt,   // score - slope * sqrt(query_pos - key_pos), 0 for keys to the right
};

// The scales of a quantised cache: stored value * scale = value.
enum class ScaleMode : uint8_t {
  kNone,
  kPerTensor,     // KvCache::k_scale and v_scale point to one number each
  kPerHead,       // they point to [num_kv_heads]
  kPerTokenHead,  // one float32 for each token and head, inline after its K and after its V;
                  // WriteKv() chooses it
};

struct AttentionSpec {
  int32_t num_heads = 0;     // query heads; a multiple of num_kv_heads
  int32_t num_kv_heads = 0;  // 1: multi-query attention
  int32_t head_size = 0;     // of queries and keys
  int32_t head_size_v = 0;   // of values and output; 0: head_size

  DType query_dtype = DType::kBFloat16;
  DType cache_dtype = DType::kBFloat16;
  DType output_dtype = DType::kBFloat16;

  float scale = 0.0f;  // multiplies q . k; 0: 1 / sqrt(head_size)
  AttentionType type = AttentionType::kDecoder;
  Causality causality = Causality::kCausal;

  // Keys a row sees to its left and right, itself excluded; -1: no limit. A model's "sliding window
  // of w" keeps w keys, the row's own among them: window_left = w - 1.
  int32_t window_left = -1;
  int32_t window_right = -1;
  // Chunked-local attention: positions n * chunk_size .. (n + 1) * chunk_size - 1 see each other
  // only; 0: off.
  int32_t chunk_size = 0;

  float soft_cap = 0.0f;  // s -> cap * tanh(s / cap), before the mask; 0: off
  Alibi alibi = Alibi::kNone;
  // One extra logit per query head, in the softmax's denominator only (RunArgs::sinks). It also
  // counts in the lse: that of a row without keys is the sink.
  bool sinks = false;
  // Bias added to the scores between the rows of one query (RunArgs::query_query_bias): trees of
  // speculative decoding.
  bool query_query_bias = false;
  // Bidirectional spans inside a sequence (AttentionBatch::prefix_ranges): PrefixLM, images.
  bool prefix_ranges = false;
  bool shares_kv = false;  // reads another layer's cache and writes none
  ScaleMode kv_scales = ScaleMode::kNone;
  bool fp8_output_scale =
      false;  // the output is fp8: the result / RunArgs::output_scale, saturated
  // A request's result must not depend on what runs beside it. The host's seq_lens must be exact
  // then: keys are divided in parts by them, and with upper bounds the sums differ in the last
  // bits.
  bool batch_invariant = false;

  int32_t value_size() const { return head_size_v > 0 ? head_size_v : head_size; }
  int32_t group_size() const { return num_heads / num_kv_heads; }  // query heads of one KV head
  float softmax_scale() const;
};

// Whether the numbers make sense at all (positive heads, a divisible group, finite scale ...);
// that the features can stand together; backends may assume it.
Status Validate(const AttentionSpec& spec);

// "32/8 heads of 128, bfloat16 (cache fp8_e4m3fn), causal, window 4096": for messages and tables.
std::string ToString(const AttentionSpec& spec);

}  // namespace tessera
