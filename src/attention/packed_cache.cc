#include "tessera/packed_cache.h"

#include <cstring>
#include <string>

namespace tessera {

namespace {

int64_t ElementsOf16Bytes(DType dtype) { return 16 / static_cast<int64_t>(SizeOf(dtype)); }

void CopyElement(DType dtype, const char* source, int64_t from, char* destination, int64_t to) {
  const int64_t size = static_cast<int64_t>(SizeOf(dtype));
  std::memcpy(destination + to * size, source + from * size, static_cast<size_t>(size));
}

// The numbers that scale a token's K and V.
struct TokenScales {
  float key = 1.0f;
  float value = 1.0f;
};

TokenScales ScalesOf(const AttentionSpec& spec, const KvCache& cache, int64_t block, int64_t head,
                     int64_t token) {
  switch (spec.kv_scales) {
    case ScaleMode::kNone:
      return {};
    case ScaleMode::kPerTensor:
      return {cache.k_scale[0], cache.v_scale[0]};
    case ScaleMode::kPerHead:
      return {cache.k_scale[head], cache.v_scale[head]};
    case ScaleMode::kPerTokenHead:
      break;
  }
  const char* k =
      static_cast<const char*>(cache.data) + KeyElement(spec, cache, block, head, token, 0);
  TokenScales scales;
  std::memcpy(&scales.key, k + cache.k_scale_offset, sizeof(float));
  std::memcpy(&scales.value, k + cache.v_scale_offset, sizeof(float));
  return scales;
}

}  // namespace

const char* ToString(KvPacking packing) {
  switch (packing) {
    case KvPacking::kStandard:
      return "standard";
    case KvPacking::kXSplit:
      return "x-split";
    case KvPacking::kShuffle:
      return "shuffle";
  }
  return "unknown";
}

Status ValidatePacking(KvPacking packing, const KvCacheShape& shape, DType dtype) {
  if (packing == KvPacking::kStandard) return {};
  const int64_t x = ElementsOf16Bytes(dtype);
  const auto refuse = [&](const std::string& what) {
    return Unsupported(std::string("a cache of ") + ToString(dtype) + " cannot be packed as " +
                       ToString(packing) + ": " + what);
  };
  if (shape.token_scales) return refuse("scales by token and head have no place in it");
  if (shape.head_size % x != 0) {
    return refuse("head size " + std::to_string(shape.head_size) + " is no multiple of " +
                  std::to_string(x));
  }
  if (packing == KvPacking::kShuffle && shape.block_size % x != 0) {
    return refuse("block size " + std::to_string(shape.block_size) + " is no multiple of " +
                  std::to_string(x));
  }
  return {};
}

KvCache MakePackedKvCache(KvPacking packing, const KvCacheShape& shape, DType dtype, void* data) {
  if (packing == KvPacking::kStandard) return MakeKvCache(shape, dtype, data);
  TESSERA_CHECK(ValidatePacking(packing, shape, dtype).ok(), "a packing that does not fit");
  const int64_t keys = int64_t{shape.num_kv_heads} * shape.block_size * shape.head_size;
  return {.data = data,
          .dtype = dtype,
          .packing = packing,
          .num_blocks = shape.num_blocks,
          .block_size = shape.block_size,
          .block_stride = keys,
          .v_offset = shape.num_blocks * keys};
}

int64_t KeyElement(const AttentionSpec& spec, const KvCache& cache, int64_t block, int64_t head,
                   int64_t token, int64_t i) {
  if (cache.packing == KvPacking::kStandard) return cache.KOffset(block, head, token) + i;
  const int64_t size = spec.head_size, tokens = cache.block_size;
  const int64_t page = block * cache.block_stride + head * tokens * size;
  const int64_t x = ElementsOf16Bytes(cache.dtype);
  return page + (i / x * tokens + token) * x + i % x;
}

int64_t ValueElement(const AttentionSpec& spec, const KvCache& cache, int64_t block, int64_t head,
                     int64_t token, int64_t i) {
  if (cache.packing == KvPacking::kStandard) {
    return cache.KOffset(block, head, token) + cache.v_offset + i;
  }
  const int64_t size = spec.value_size(), tokens = cache.block_size;
  const int64_t page = cache.v_offset + (block * spec.num_kv_heads + head) * tokens * size;
  if (cache.packing == KvPacking::kXSplit) return page + i * tokens + token;
  const int64_t x = ElementsOf16Bytes(cache.dtype);
  return page + (token / x * size + i) * x + token % x;
}

void ConvertBlocks(const AttentionSpec& spec, const KvCache& source, const KvCache& destination,
                   const std::vector<BlockPair>& pairs) {
  TESSERA_CHECK(source.dtype == destination.dtype && source.block_size == destination.block_size,
                "blocks are converted between caches of one type and block size");
  TESSERA_CHECK(spec.kv_scales != ScaleMode::kPerTokenHead,
                "scales by token and head have no place in packed caches");
  const char* from = static_cast<const char*>(source.data);
  char* to = static_cast<char*>(destination.data);
  for (const BlockPair& pair : pairs) {
    for (int32_t head = 0; head < spec.num_kv_heads; ++head) {
      for (int32_t token = 0; token < source.block_size; ++token) {
        for (int32_t i = 0; i < spec.head_size; ++i) {
          CopyElement(source.dtype, from, KeyElement(spec, source, pair.source, head, token, i), to,
                      KeyElement(spec, destination, pair.destination, head, token, i));
        }
        for (int32_t i = 0; i < spec.value_size(); ++i) {
          CopyElement(source.dtype, from, ValueElement(spec, source, pair.source, head, token, i),
                      to, ValueElement(spec, destination, pair.destination, head, token, i));
        }
      }
    }
  }
}

void GatherCache(const AttentionSpec& spec, const KvCache& cache, const GatherArgs& args) {
  for (int32_t t = 0; t < args.count; ++t) {
    const int64_t block = args.blocks[(args.first + t) / cache.block_size];
    const int64_t token = (args.first + t) % cache.block_size;
    for (int32_t head = 0; head < spec.num_kv_heads; ++head) {
      const TokenScales scales = ScalesOf(spec, cache, block, head, token);
      const int64_t row = int64_t{t} * spec.num_kv_heads + head;
      for (int32_t i = 0; i < spec.head_size; ++i) {
        StoreFromFloat(
            args.dtype, args.key, row * spec.head_size + i,
            LoadAsFloat(cache.dtype, cache.data, KeyElement(spec, cache, block, head, token, i)) *
                scales.key);
      }
      for (int32_t i = 0; i < spec.value_size(); ++i) {
        StoreFromFloat(
            args.dtype, args.value, row * spec.value_size() + i,
            LoadAsFloat(cache.dtype, cache.data, ValueElement(spec, cache, block, head, token, i)) *
                scales.value);
      }
    }
  }
}

}  // namespace tessera
