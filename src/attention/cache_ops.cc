#include "attention/cache_ops.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "tessera/packed_cache.h"

namespace tessera {

namespace {

// `count` elements from one type to another; a plain copy if they agree.
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

// Calls use(first, values, count) for pieces of a row of `count` elements, converted to float32.
template <typename Use>
void ForEachPiece(DType type, const char* row, int32_t count, const Use& use) {
  constexpr int32_t kPiece = 256;
  float values[kPiece];
  for (int32_t first = 0; first < count; first += kPiece) {
    const int32_t n = std::min(kPiece, count - first);
    ConvertToFloat(type, row + static_cast<size_t>(first) * SizeOf(type), n, values);
    use(first, values, n);
  }
}

// One token's K or V under one head, as it comes and where it is kept.
struct QuantisedRow {
  DType from;
  const char* source;
  int32_t count;
  DType to;
  char* destination;
  float scale;      // the cache's
  char* own_scale;  // or where the row's own is kept, which is then chosen; else null
};

void QuantiseRow(const QuantisedRow& row) {
  float scale = row.scale;
  if (row.own_scale != nullptr) {
    float largest = 0.0f;
    ForEachPiece(row.from, row.source, row.count, [&](int32_t, const float* values, int32_t n) {
      for (int32_t i = 0; i < n; ++i) largest = std::max(largest, std::abs(values[i]));
    });
    // A smaller scale could be 0, and 0 / 0 no number.
    constexpr float kSmallestScale = 0x1p-100f;
    scale = largest > 0.0f && std::isfinite(largest)
                ? std::max(largest / LargestOf(row.to), kSmallestScale)
                : 1.0f;
    std::memcpy(row.own_scale, &scale, sizeof(scale));
  }
  ForEachPiece(row.from, row.source, row.count, [&](int32_t first, float* values, int32_t n) {
    for (int32_t i = 0; i < n; ++i) values[i] /= scale;
    ConvertFromFloat(row.to, values, n,
                     row.destination + static_cast<size_t>(first) * SizeOf(row.to));
  });
}

// The batch's query rows; the rest up to num_tokens is padding.
int32_t RowsOf(const AttentionBatch& batch) {
  return batch.num_seqs > 0 ? batch.device.query_start_loc[batch.num_seqs] : 0;
}

char* At(const KvCache& cache, int64_t offset) {
  return static_cast<char*>(cache.data) + offset * static_cast<int64_t>(SizeOf(cache.dtype));
}

void HostQuantiseKv(const AttentionSpec& spec, const AttentionBatch& batch, const WriteKvArgs& args,
                    const KvCache& cache, ThreadPool* threads) {
  TESSERA_CHECK(cache.packing == KvPacking::kStandard,
                "quantised caches are of the standard layout");
  const int64_t element = static_cast<int64_t>(SizeOf(args.dtype));
  const int32_t tokens = RowsOf(batch);
  const bool own = spec.kv_scales == ScaleMode::kPerTokenHead;
  const int32_t head_scales = spec.kv_scales == ScaleMode::kPerHead;
  threads->ParallelFor(tokens, [&](int64_t token, int) {
    const int64_t slot = batch.device.slot_mapping[token];
    if (slot < 0) return;
    for (int32_t head = 0; head < spec.num_kv_heads; ++head) {
      const int64_t k = token * args.key_token_stride + head * args.key_head_stride;
      const int64_t v = token * args.value_token_stride + head * args.value_head_stride;
      const int64_t place = cache.KOffset(slot / cache.block_size, head, slot % cache.block_size);
      char* key = At(cache, place);
      QuantiseRow({.from = args.dtype,
                   .source = static_cast<const char*>(args.key) + k * element,
                   .count = spec.head_size,
                   .to = cache.dtype,
                   .destination = key,
                   .scale = own ? 1.0f : cache.k_scale[head * head_scales],
                   .own_scale = own ? key + cache.k_scale_offset : nullptr});
      QuantiseRow({.from = args.dtype,
                   .source = static_cast<const char*>(args.value) + v * element,
                   .count = spec.value_size(),
                   .to = cache.dtype,
                   .destination = At(cache, place + cache.v_offset),
                   .scale = own ? 1.0f : cache.v_scale[head * head_scales],
                   .own_scale = own ? key + cache.v_scale_offset : nullptr});
    }
  });
}

// Element by element: packed caches belong to devices whose kernels write them themselves; this is
// the definition of what they write.
void HostWritePackedKv(const AttentionSpec& spec, const AttentionBatch& batch,
                       const WriteKvArgs& args, const KvCache& cache) {
  const int32_t tokens = RowsOf(batch);
  for (int64_t token = 0; token < tokens; ++token) {
    const int64_t slot = batch.device.slot_mapping[token];
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
  const int32_t tokens = RowsOf(batch);
  constexpr int32_t kTokensPerTask = 64;
  threads->ParallelFor((tokens + kTokensPerTask - 1) / kTokensPerTask, [&](int64_t task, int) {
    const int32_t begin = static_cast<int32_t>(task) * kTokensPerTask;
    for (int32_t token = begin; token < std::min(tokens, begin + kTokensPerTask); ++token) {
      const int64_t slot = batch.device.slot_mapping[token];
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

}  // namespace tessera
