// What tests of GPU kernels share: bfloat16 arrays of the host, and launches on the emulator.
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <random>
#include <vector>

#include "device/gpu/emulator/simt_emulator.h"
#include "tessera/dtype.h"

namespace tessera::ops_gpu {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

inline float RoundToBFloat16(float v) { return BFloat16ToFloat(FloatToBFloat16(v)); }

// [rows, cols] with a stride, elements of `type`; what lies between rows is NaN.
struct HostMatrix {
  HostMatrix(DType dtype, int64_t row_count, int64_t col_count, int64_t row_stride)
      : type(dtype),
        rows(row_count),
        cols(col_count),
        stride(row_stride),
        bytes(static_cast<size_t>((row_count * row_stride + 16)) * SizeOf(dtype) + 32) {
    for (int64_t i = 0; i < rows * stride + 16; ++i) StoreFromFloat(type, data(), i, kNan);
  }
  // From the offset on that a test of unaligned rows wants.
  void* data() { return bytes.data() + offset * static_cast<int64_t>(SizeOf(type)); }
  float At(int64_t row, int64_t col) { return LoadAsFloat(type, data(), row * stride + col); }
  void Set(int64_t row, int64_t col, float v) {
    StoreFromFloat(type, data(), row * stride + col, v);
  }
  void Fill(unsigned seed, float scale = 1.0f) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0.0f, scale);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < cols; ++c) Set(r, c, normal(random));
    }
  }

  DType type;
  int64_t rows, cols, stride;
  int64_t offset = 0;
  std::vector<char> bytes;
};

inline std::vector<float> RandomFloats(int64_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, 1.0f);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& v : values) v = normal(random);
  return values;
}

inline void Emulate(int64_t blocks, int threads, int wave, const std::function<void()>& body) {
  simt::emulator::Launch(
      {.blocks = static_cast<int>(blocks), .threads = threads, .wave = wave, .seed = 5}, body);
}

inline int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace tessera::ops_gpu
