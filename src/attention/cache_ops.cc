#include "attention/cache_ops.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "tessera/packed_cache.h"

namespace tessera {

namespace {

// `count` elements from one type to another; a plain copy where they agree.
void ConvertRow(DType from, const char* source, DType to, char* destination, int32_t count) {
  if (from == to) {
    std::memcpy(destination, source, static_cast<size_t>(count) * SizeOf(from));
    return;
  }
  constexpr int32_t kChunk = 256;
  float values[kChunk];
  for (int32_t begin = 0; begin < count; begin += kChunk) {
    const int32_t n = std::min(kChunk, count - begin);
    ConvertToFloat(from, source + static_cast<size_t>(begin) * SizeOf(from), n, values);
    ConvertFromFloat(to, values, n, destination + static_cast<size_t>(begin) * SizeOf(to));
  }
}

// The largest value that the type's scale aims at.
float LargestOf(DType type) {
  switch (type) {
    case DType::kE4M3FN:
      return 448.0f;
    case DType::kE4M3FNUZ:
      return 240.0f;
    case DType::kE5M2:
      return 57344.0f;
    default:
      return 127.0f;
  }
}

// `values` / scale, where `scale` is chosen and stored if there is room for one of the row's own.
void QuantiseRow(DType type, float* values, int32_t count, float scale, char* own_scale,
                 char* destination) {
  if (own_scale != nullptr) {
    float largest = 0.0f;
    for (int32_t i = 0; i < count; ++i) largest = std::max(largest, std::abs(values[i]));
    // A smaller scale could be 0, and 0 / 0 no number.
    constexpr float kSmallestScale = 0x1p-100f;
    scale = largest > 0.0f && std::isfinite(largest)
                ? std::max(largest / LargestOf(type), kSmallestScale)
                : 1.0f;
    std::memcpy(own_scale, &scale, sizeof(scale));
  }
  for (int32_t i = 0; i < count; ++i) values[i] /= scale;
  ConvertFromFloat(type, values, count, destination);
}

char* At(const KvCache& cache, int64_t offset) {
  return static_cast<char*>(cache.data) + offset * static_cast<int64_t>(SizeOf(cache.dtype));
}

void HostQuantiseKv(const AttentionSpec& spec, const AttentionBatch& batch, const WriteKvArgs& args,
                    const KvCache& cache, ThreadPool* threads) {
  TESSERA_CHECK(cache.packing == KvPacking::kStandard,
                "quantised caches are of the standard layout");
  const int64_t element = static_cast<int64_t>(SizeOf(args.dtype));
  const int32_t tokens = batch.num_seqs > 0 ? batch.query_start_loc[batch.num_seqs] : 0;
  const bool own = spec.kv_scales == ScaleMode::kPerTokenHead;
  const int32_t head_scales = spec.kv_scales == ScaleMode::kPerHead;
  threads->ParallelFor(tokens, [&](int64_t token, int) {
    const int64_t slot = batch.slot_mapping[token];
    if (slot < 0) return;
    std::vector<float> row(static_cast<size_t>(std::max(spec.head_size, spec.value_size())));
    for (int32_t head = 0; head < spec.num_kv_heads; ++head) {
      const int64_t k = token * args.key_token_stride + head * args.key_head_stride;
      const int64_t v = token * args.value_token_stride + head * args.value_head_stride;
      const int64_t place = cache.KOffset(slot / cache.block_size, head, slot % cache.block_size);
      char* key = At(cache, place);
      ConvertToFloat(args.dtype, static_cast<const char*>(args.key) + k * element, spec.head_size,
                     row.data());
      QuantiseRow(cache.dtype, row.data(), spec.head_size,
                  own ? 1.0f : cache.k_scale[head * head_scales],
                  own ? key + cache.k_scale_offset : nullptr, key);
      ConvertToFloat(args.dtype, static_cast<const char*>(args.value) + v * element,
                     spec.value_size(), row.data());
      QuantiseRow(cache.dtype, row.data(), spec.value_size(),
                  own ? 1.0f : cache.v_scale[head * head_scales],
                  own ? key + cache.v_scale_offset : nullptr, At(cache, place + cache.v_offset));
    }
  });
}

// Element by element: packed caches belong to devices whose kernels write them themselves; this is
// the definition of what they write.
void HostWritePackedKv(const AttentionSpec& spec, const AttentionBatch& batch,
                       const WriteKvArgs& args, const KvCache& cache) {
  const int32_t tokens = batch.num_seqs > 0 ? batch.query_start_loc[batch.num_seqs] : 0;
  for (int64_t token = 0; token < tokens; ++token) {
    const int64_t slot = batch.slot_mapping[token];
    if (slot < 0) continue;
    const int64_t block = slot / cache.block_size, in_block = slot % cache.block_size;
    for (int64_t head = 0; head < spec.num_kv_heads; ++head) {
      const int64_t k = token * args.key_token_stride + head * args.key_head_stride;
      const int64_t v = token * args.value_token_stride + head * args.value_head_stride;
      for (int32_t i = 0; i < spec.head_size; ++i) {
        StoreFromFloat(cache.dtype, cache.data, KeyElement(spec, cache, block, head, in_block, i),
                       LoadAsFloat(args.dtype, args.key, k + i));
      }
      for (int32_t i = 0; i < spec.value_size(); ++i) {
        StoreFromFloat(cache.dtype, cache.data, ValueElement(spec, cache, block, head, in_block, i),
                       LoadAsFloat(args.dtype, args.value, v + i));
      }
    }
  }
}

}  // namespace

void HostWriteKv(const AttentionSpec& spec, const AttentionBatch& batch, const WriteKvArgs& args,
                 const KvCache& cache, ThreadPool* threads) {
  if (spec.shares_kv) return;
  if (spec.kv_scales != ScaleMode::kNone) return HostQuantiseKv(spec, batch, args, cache, threads);
  if (cache.packing != KvPacking::kStandard) return HostWritePackedKv(spec, batch, args, cache);
  const int64_t element = static_cast<int64_t>(SizeOf(args.dtype));
  const int32_t tokens = batch.num_seqs > 0 ? batch.query_start_loc[batch.num_seqs] : 0;
  constexpr int32_t kTokensPerTask = 64;
  threads->ParallelFor((tokens + kTokensPerTask - 1) / kTokensPerTask, [&](int64_t task, int) {
    const int32_t begin = static_cast<int32_t>(task) * kTokensPerTask;
    for (int32_t token = begin; token < std::min(tokens, begin + kTokensPerTask); ++token) {
      const int64_t slot = batch.slot_mapping[token];
      if (slot < 0) continue;
      for (int32_t head = 0; head < spec.num_kv_heads; ++head) {
        const int64_t k = token * args.key_token_stride + head * args.key_head_stride;
        const int64_t v = token * args.value_token_stride + head * args.value_head_stride;
        const int64_t place = cache.KOffset(slot / cache.block_size, head, slot % cache.block_size);
        ConvertRow(args.dtype, static_cast<const char*>(args.key) + k * element, cache.dtype,
                   At(cache, place), spec.head_size);
        if (cache.v_offset == 0) continue;
        ConvertRow(args.dtype, static_cast<const char*>(args.value) + v * element, cache.dtype,
                   At(cache, place + cache.v_offset), spec.value_size());
      }
    }
  });
}

void HostCopyBlocks(const AttentionSpec& spec, const KvCache& source, const KvCache& destination,
                    const std::vector<BlockPair>& pairs) {
  TESSERA_CHECK(source.dtype == destination.dtype && source.block_size == destination.block_size,
                "blocks are copied between caches of one shape");
  if (source.packing != KvPacking::kStandard || destination.packing != KvPacking::kStandard) {
    return ConvertBlocks(spec, source, destination, pairs);
  }
  const size_t element = SizeOf(source.dtype);
  for (const BlockPair& pair : pairs) {
    for (int32_t head = 0; head < spec.num_kv_heads; ++head) {
      for (int32_t token = 0; token < source.block_size; ++token) {
        const int64_t from = source.KOffset(pair.source, head, token);
        const int64_t to = destination.KOffset(pair.destination, head, token);
        std::memcpy(At(destination, to), At(source, from),
                    static_cast<size_t>(spec.head_size) * element);
        std::memcpy(At(destination, to + destination.v_offset), At(source, from + source.v_offset),
                    static_cast<size_t>(spec.value_size()) * element);
        if (spec.kv_scales != ScaleMode::kPerTokenHead) continue;
        std::memcpy(At(destination, to) + destination.k_scale_offset,
                    At(source, from) + source.k_scale_offset, sizeof(float));
        std::memcpy(At(destination, to) + destination.v_scale_offset,
                    At(source, from) + source.v_scale_offset, sizeof(float));
      }
    }
  }
}

}  // namespace tessera
