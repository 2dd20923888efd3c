#include "tessera/kv_cache.h"

namespace tessera {

namespace {

int64_t Content(const KvCacheShape& shape) {
  return int64_t{shape.head_size} + (shape.head_size_v > 0 ? shape.head_size_v : shape.head_size);
}

}  // namespace

int64_t KvCacheElements(const KvCacheShape& shape) {
  return shape.num_blocks * shape.block_size * shape.num_kv_heads * Content(shape);
}

KvCache MakeKvCache(const KvCacheShape& shape, DType dtype, void* data) {
  const int64_t content = Content(shape);
  const bool head_outside = shape.order == KvOrder::kBlockHeadToken;
  return {.data = data,
          .dtype = dtype,
          .num_blocks = shape.num_blocks,
          .block_size = shape.block_size,
          .block_stride = int64_t{shape.num_kv_heads} * shape.block_size * content,
          .head_stride = head_outside ? shape.block_size * content : content,
          .token_stride = head_outside ? content : shape.num_kv_heads * content,
          .v_offset = shape.head_size};
}

}  // namespace tessera
