#include "tessera/kv_cache.h"

namespace tessera {

namespace {

constexpr int64_t kScaleBytes = sizeof(float);  // of a type of 8 bits: as many elements

int64_t KeyElements(const KvCacheShape& shape) {
  return shape.head_size + (shape.token_scales ? kScaleBytes : 0);
}

int64_t ValueElements(const KvCacheShape& shape) {
  return (shape.head_size_v > 0 ? shape.head_size_v : shape.head_size) +
         (shape.token_scales ? kScaleBytes : 0);
}

int64_t Content(const KvCacheShape& shape) { return KeyElements(shape) + ValueElements(shape); }

}  // namespace

const char* ToString(KvOrder order) {
  switch (order) {
    case KvOrder::kBlockHeadToken:
      return "LBHT";
    case KvOrder::kBlockTokenHead:
      return "LBTH";
    case KvOrder::kBlockLayerHeadToken:
      return "BLHT";
    case KvOrder::kBlockLayerTokenHead:
      return "BLTH";
    case KvOrder::kBlockHeadLayerToken:
      return "BHLT";
    case KvOrder::kBlockTokenLayerHead:
      return "BTLH";
  }
  return "unknown";
}

int64_t KvCacheElements(const KvCacheShape& shape) {
  return shape.num_layers * shape.num_blocks * shape.block_size * shape.num_kv_heads *
         Content(shape);
}

KvCache MakeKvCache(const KvCacheShape& shape, DType dtype, void* data, int32_t layer) {
  TESSERA_CHECK(!shape.token_scales || SizeOf(dtype) == 1, "inline scales are for 8-bit caches");
  const int64_t content = Content(shape);
  const int64_t heads = shape.num_kv_heads, tokens = shape.block_size, layers = shape.num_layers;
  struct Strides {
    int64_t layer, block, head, token;
  } strides{};
  switch (shape.order) {
    case KvOrder::kBlockHeadToken:
      strides = {shape.num_blocks * heads * tokens, heads * tokens, tokens, 1};
      break;
    case KvOrder::kBlockTokenHead:
      strides = {shape.num_blocks * heads * tokens, heads * tokens, 1, heads};
      break;
    case KvOrder::kBlockLayerHeadToken:
      strides = {heads * tokens, layers * heads * tokens, tokens, 1};
      break;
    case KvOrder::kBlockLayerTokenHead:
      strides = {heads * tokens, layers * heads * tokens, 1, heads};
      break;
    case KvOrder::kBlockHeadLayerToken:
      strides = {tokens, layers * heads * tokens, layers * tokens, 1};
      break;
    case KvOrder::kBlockTokenLayerHead:
      strides = {heads, layers * heads * tokens, 1, layers * heads};
      break;
  }
  const int64_t offset = layer * strides.layer * content * static_cast<int64_t>(SizeOf(dtype));
  return {.data = data == nullptr ? nullptr : static_cast<char*>(data) + offset,
          .dtype = dtype,
          .num_blocks = shape.num_blocks,
          .block_size = shape.block_size,
          .block_stride = strides.block * content,
          .head_stride = strides.head * content,
          .token_stride = strides.token * content,
          .v_offset = KeyElements(shape),
          .k_scale_offset = shape.token_scales ? shape.head_size : 0,
          .v_scale_offset = shape.token_scales ? content - kScaleBytes : 0};
}

}  // namespace tessera
