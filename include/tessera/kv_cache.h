// KvCache: one layer's paged cache of keys and values. A view: it owns nothing.
//
// The logical index is [block, kv_head, token, content]; content is K (head_size elements) then V
// (value_size elements), each contiguous. Everything else is stride, so that one type covers every
// physical order of layer, block, head and token (vLLM's NHD and HND among them), blocks of hybrid
// models with padding, and K and V planes that lie apart.
#pragma once

#include <cstdint>
#include <vector>

#include "tessera/attention_spec.h"
#include "tessera/dtype.h"
#include "tessera/result.h"

namespace tessera {

// Formats that are no permutation of the logical index carry a tag of their own; packed_cache.h
// converts them. Backends read and write the standard one.
enum class KvPacking : uint8_t {
  kStandard,
  kXSplit,   // vLLM's paged attention: K [block, head, size/x, token, x], V [block, head, size,
             // token]
  kShuffle,  // AITER's: the same K, V [block, head, token/x, size, x]
};

struct KvCache {
  void* data = nullptr;  // element (0, 0, 0, 0) of K
  DType dtype = DType::kBFloat16;
  KvPacking packing = KvPacking::kStandard;

  int64_t num_blocks = 0;
  int32_t block_size = 0;  // tokens in a block; any positive number

  // In elements of dtype.
  int64_t block_stride = 0;
  int64_t head_stride = 0;
  int64_t token_stride = 0;
  // From a token's K to its V. 0: V is the beginning of K (MLA), and only K is written.
  int64_t v_offset = 0;

  // Scales of a quantised cache: stored value * scale = value. One float (per tensor) or
  // [num_kv_heads] (per head).
  const float* k_scale = nullptr;
  const float* v_scale = nullptr;
  // Scales by token and head: bytes from a token's first element of K to the float32 that scales
  // its K, and to that of its V (vLLM's inline form: K, its scale, V, its scale).
  int64_t k_scale_offset = 0;
  int64_t v_scale_offset = 0;

  // Offset of K's first element of (block, head, token); V's is v_offset further.
  int64_t KOffset(int64_t block, int64_t head, int64_t token) const {
    return block * block_stride + head * head_stride + token * token_stride;
  }
};

// The order of the axes in memory, outermost first; content is always innermost. Where the layer
// stands after the first place, the layers of a model are interleaved in one allocation.
enum class KvOrder : uint8_t {
  kBlockHeadToken,       // vLLM's HND
  kBlockTokenHead,       // vLLM's NHD
  kBlockLayerHeadToken,  // a block of all layers in one piece: one transfer moves it
  kBlockLayerTokenHead,
  kBlockHeadLayerToken,
  kBlockTokenLayerHead,
};

const char* ToString(KvOrder order);  // "LBHT": layer, block, head, token

// One layer's standard cache over memory of KvCacheElements() elements.
struct KvCacheShape {
  int64_t num_blocks = 0;
  int32_t block_size = 16;
  int32_t num_kv_heads = 0;
  int32_t head_size = 0;
  int32_t head_size_v = 0;  // 0: head_size
  KvOrder order = KvOrder::kBlockHeadToken;
  int32_t num_layers = 1;     // that share the memory
  bool token_scales = false;  // room for ScaleMode::kPerTokenHead; for types of 8 bits
};

// Elements of all layers.
int64_t KvCacheElements(const KvCacheShape& shape);

// The cache of one layer in memory of KvCacheElements() elements.
KvCache MakeKvCache(const KvCacheShape& shape, DType dtype, void* data, int32_t layer = 0);

}  // namespace tessera
