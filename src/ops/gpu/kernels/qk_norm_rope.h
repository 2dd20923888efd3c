// Queries, keys and values of a layer in one pass: per-head norms, rotation in place, and the write
// of keys and values to a plain cache. A wave takes one head of one token.
//
// A lane turns whole pairs (i, i + half), so that no lane reads what another one writes. The cache
// gets the rotated bfloat16, converted: what WriteKv would leave there.
#pragma once

#include <cstdint>

#include "device/gpu/simt.h"
#include "ops/gpu/kernels/elements.h"
#include "ops/gpu/kernels/reduce.h"

namespace tessera::ops_gpu {

struct QkNormRopeKernelArgs {
  uint16_t* qkv;
  int64_t stride;
  int64_t tokens;
  int32_t num_heads, num_kv_heads, head_size, value_size;
  int32_t heads;  // of a token that there is work for: all but those of V if it is not written
  const float* q_norm;
  const float* k_norm;
  float norm_eps;
  int32_t rotary_size;
  const float* cos;
  const float* sin;
  const int32_t* positions;
  void* cache = nullptr;  // null: nothing is written
  int32_t cache_dtype = 0;
  int32_t block_size = 1;
  int64_t block_stride = 0, head_stride = 0, token_stride = 0, v_offset = 0;
  const int64_t* slot_mapping;
  int32_t pairs = 0;  // elements lie in words of two: sizes and strides are even
};

constexpr int kRopeThreads = 256;

// f(index) for the first of kStep neighbouring elements of [begin, end), over the wave.
template <int kWave, int kStep, class F>
SIMT_DEVICE void ForEachOfWave(int begin, int end, const F& f) {
  for (int i = begin + simt::Thread() % kWave * kStep; i < end; i += kWave * kStep) f(i);
}

// kStep elements of a head, 1 or 2.
template <int kStep>
struct FewFloats {
  float v[kStep];
};
template <int kStep>
SIMT_DEVICE FewFloats<kStep> LoadFew(const uint16_t* p) {
  if constexpr (kStep == 2) {
    const uint32_t word = simt::LoadWord(p);
    return {{simt::FromBits(word << 16), simt::FromBits(word & 0xffff0000u)}};
  } else {
    return {{FromBFloat16(*p)}};
  }
}
template <int kStep>
SIMT_DEVICE FewFloats<kStep> StoreFew(uint16_t* p, const FewFloats<kStep>& f) {
  if constexpr (kStep == 2) {
    const uint32_t word = simt::PackBFloat16(f.v[0], f.v[1]);
    simt::StoreWord(p, word);
    return {{simt::FromBits(word << 16), simt::FromBits(word & 0xffff0000u)}};
  } else {
    *p = ToBFloat16(f.v[0]);
    return {{FromBFloat16(*p)}};
  }
}

// Where a head's elements go in the cache.
struct CacheRow {
  void* data;
  int64_t offset;  // of the first element
  DType dtype;
  template <int kStep>
  SIMT_METHOD void Store(int index, const FewFloats<kStep>& f) const {
    if (data == nullptr) return;
    SIMT_UNROLL
    for (int i = 0; i < kStep; ++i) {
      kernel::lanes::StoreElement(dtype, data, offset + index + i, f.v[i]);
    }
  }
};

// `norm`: null for none. `rotary`: 0 for none.
template <int kWave, int kStep>
SIMT_DEVICE void TurnHead(const QkNormRopeKernelArgs& args, uint16_t* head, const float* norm,
                          int rotary, int64_t position, const CacheRow& cache) {
  float scale = 1.0f;
  if (norm != nullptr) {
    float squares = 0.0f;
    ForEachOfWave<kWave, kStep>(0, args.head_size, [&](int i) {
      const auto f = LoadFew<kStep>(head + i);
      for (int j = 0; j < kStep; ++j) squares += f.v[j] * f.v[j];
    });
    squares = WaveReduce<kWave>(squares, Sum());
    scale = 1.0f / simt::Sqrt(squares / static_cast<float>(args.head_size) + args.norm_eps);
  }
  const int half = rotary / 2;
  const float* const cos = args.cos + position * half;
  const float* const sin = args.sin + position * half;
  ForEachOfWave<kWave, kStep>(0, half, [&](int i) {
    auto a = LoadFew<kStep>(head + i), b = LoadFew<kStep>(head + half + i);
    SIMT_UNROLL
    for (int j = 0; j < kStep; ++j) {
      if (norm != nullptr) {
        a.v[j] *= scale * norm[i + j];
        b.v[j] *= scale * norm[half + i + j];
      }
      const float c = cos[i + j], s = sin[i + j];
      const float turned = a.v[j] * c - b.v[j] * s;
      b.v[j] = b.v[j] * c + a.v[j] * s;
      a.v[j] = turned;
    }
    cache.Store(i, StoreFew(head + i, a));
    cache.Store(half + i, StoreFew(head + half + i, b));
  });
  if (norm == nullptr && cache.data == nullptr) return;
  ForEachOfWave<kWave, kStep>(rotary, args.head_size, [&](int i) {
    auto a = LoadFew<kStep>(head + i);
    if (norm != nullptr) {
      SIMT_UNROLL
      for (int j = 0; j < kStep; ++j) a.v[j] *= scale * norm[i + j];
      a = StoreFew(head + i, a);
    }
    cache.Store(i, a);
  });
}

template <int kWave, int kStep>
SIMT_DEVICE void QkNormRopeHead(const QkNormRopeKernelArgs& args, int64_t token, int head) {
  const int key = head - args.num_heads, value = key - args.num_kv_heads;
  int32_t position = 0;
  int64_t slot = -1;
  uint32_t loaded = 0;
  if (args.rotary_size > 0 && value < 0) {
    position = args.positions[token];
    // The first angles come to the multiprocessor's cache before the head is there to be turned.
    const int half = args.rotary_size / 2, first = simt::Thread() % kWave * 2;
    if (first < half) {
      const int64_t angle = int64_t{position} * half + first;
      loaded = simt::Bits(args.cos[angle]) | simt::Bits(args.sin[angle]);
    }
  }
  if (args.cache != nullptr && key >= 0) slot = args.slot_mapping[token];
  loaded |= static_cast<uint32_t>(slot);
  simt::WaitForEarlier(static_cast<int32_t>(loaded & 0x7fffffffu));
  simt::LetNextBegin();

  CacheRow cache = {nullptr, 0, static_cast<DType>(args.cache_dtype)};
  if (slot >= 0) {
    cache.data = args.cache;
    cache.offset = slot / args.block_size * args.block_stride +
                   (value >= 0 ? value : key) * args.head_stride +
                   slot % args.block_size * args.token_stride + (value >= 0 ? args.v_offset : 0);
  }
  uint16_t* row = args.qkv + token * args.stride;
  if (value < 0) {
    TurnHead<kWave, kStep>(args, row + int64_t{head} * args.head_size,
                           key < 0 ? args.q_norm : args.k_norm, args.rotary_size, position, cache);
    return;
  }
  if (cache.data == nullptr) return;
  row += int64_t{args.num_heads + args.num_kv_heads} * args.head_size +
         int64_t{value} * args.value_size;
  ForEachOfWave<kWave, kStep>(0, args.value_size,
                              [&](int i) { cache.Store(i, LoadFew<kStep>(row + i)); });
}

// For a SIMT_EARLY_KERNEL.
template <int kWave>
SIMT_DEVICE void QkNormRopeBlock(const QkNormRopeKernelArgs& args) {
  const int64_t unit = int64_t{simt::Block()} * (kRopeThreads / kWave) + simt::Thread() / kWave;
  const int64_t token = unit / args.heads;
  if (token >= args.tokens) {
    simt::WaitForEarlier();
    return;
  }
  const int head = static_cast<int>(unit % args.heads);
  if (args.pairs != 0) {
    QkNormRopeHead<kWave, 2>(args, token, head);
  } else {
    QkNormRopeHead<kWave, 1>(args, token, head);
  }
}

}  // namespace tessera::ops_gpu
