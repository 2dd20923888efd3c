#include "device/matrix_rate.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "device/cpu/amx_permission.h"
#include "tessera/device.h"

#if defined(__x86_64__)
#if defined(__GNUC__) && !defined(__clang__)
// GCC 12 takes the undefined vectors of its own intrinsics for a mistake.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#define TESSERA_UNROLL _Pragma("GCC unroll 12")
#else
#include <immintrin.h>
#define TESSERA_UNROLL _Pragma("unroll")
#endif
#endif

namespace tessera {
namespace {

// Computes for some hundred microseconds and returns the number of operations. What is computed
// lands in `sink` [1], so that nothing is left out.
using Work = double (*)(float* sink);

constexpr int kRounds = 40000;
constexpr int kSums = 12;  // independent ones, to hide the latency of an addition

#if defined(__x86_64__)

__attribute__((target("avx2,fma"))) double WorkAvx2(float* sink) {
  const __m256 factor = _mm256_set1_ps(0.999f), addend = _mm256_set1_ps(1e-3f);
  __m256 sums[kSums];
  TESSERA_UNROLL
  for (int i = 0; i < kSums; ++i) sums[i] = _mm256_set1_ps(static_cast<float>(i));
  for (int round = 0; round < kRounds; ++round) {
    TESSERA_UNROLL
    for (int i = 0; i < kSums; ++i) sums[i] = _mm256_fmadd_ps(sums[i], factor, addend);
  }
  TESSERA_UNROLL
  for (int i = 1; i < kSums; ++i) sums[0] = _mm256_add_ps(sums[0], sums[i]);
  *sink = _mm256_cvtss_f32(sums[0]);
  return 2.0 * kRounds * kSums * 8;
}

__attribute__((target("avx512f"))) double WorkAvx512(float* sink) {
  const __m512 factor = _mm512_set1_ps(0.999f), addend = _mm512_set1_ps(1e-3f);
  __m512 sums[kSums];
  TESSERA_UNROLL
  for (int i = 0; i < kSums; ++i) sums[i] = _mm512_set1_ps(static_cast<float>(i));
  for (int round = 0; round < kRounds; ++round) {
    TESSERA_UNROLL
    for (int i = 0; i < kSums; ++i) sums[i] = _mm512_fmadd_ps(sums[i], factor, addend);
  }
  TESSERA_UNROLL
  for (int i = 1; i < kSums; ++i) sums[0] = _mm512_add_ps(sums[0], sums[i]);
  *sink = _mm512_cvtss_f32(sums[0]);
  return 2.0 * kRounds * kSums * 16;
}

__attribute__((target("avx512f,avx512bf16"))) double WorkBFloat16(float* sink) {
  const __m512i factor = _mm512_set1_epi16(0x3f80), addend = _mm512_set1_epi16(0x3a00);
  __m512 sums[kSums];
  TESSERA_UNROLL
  for (int i = 0; i < kSums; ++i) sums[i] = _mm512_set1_ps(static_cast<float>(i));
  for (int round = 0; round < kRounds; ++round) {
    TESSERA_UNROLL
    for (int i = 0; i < kSums; ++i) {
      sums[i] = _mm512_dpbf16_ps(sums[i], (__m512bh)factor, (__m512bh)addend);
    }
  }
  TESSERA_UNROLL
  for (int i = 1; i < kSums; ++i) sums[0] = _mm512_add_ps(sums[0], sums[i]);
  *sink = _mm512_cvtss_f32(sums[0]);
  return 4.0 * kRounds * kSums * 16;
}

__attribute__((target("amx-tile,amx-bf16"))) double WorkAmx(float* sink) {
  struct alignas(64) {
    uint8_t palette = 1;
    uint8_t start_row = 0;
    uint8_t reserved[14] = {};
    uint16_t bytes_per_row[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  } const config;
  constexpr int kSteps = 8, kTile = 1024 / sizeof(float), kAmxRounds = 300;
  alignas(64) float a[kSteps * 2 * kTile] = {}, b[kSteps * 2 * kTile] = {};
  asm volatile("" ::"r"(a), "r"(b) : "memory");
  _tile_loadconfig(&config);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int round = 0; round < kAmxRounds; ++round) {
    for (int k = 0; k < kSteps; ++k) {
      _tile_loadd(4, a + k * 2 * kTile, 64);
      _tile_loadd(6, b + k * 2 * kTile, 64);
      _tile_dpbf16ps(0, 4, 6);
      _tile_loadd(7, b + (k * 2 + 1) * kTile, 64);
      _tile_dpbf16ps(1, 4, 7);
      _tile_loadd(5, a + (k * 2 + 1) * kTile, 64);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
  }
  _tile_stored(0, a, 64);
  _tile_release();
  *sink = a[0];
  return 2.0 * 16 * 16 * 32 * 4 * kSteps * kAmxRounds;
}

Work FindWork(MultiplyKind kind) {
  const DeviceInfo cpu = DetectCpu();
  switch (kind) {
    case MultiplyKind::kFloat32:
      return cpu.Has("avx512f") ? WorkAvx512 : cpu.Has("fma") ? WorkAvx2 : nullptr;
    case MultiplyKind::kBFloat16:
      return cpu.Has("avx512_bf16") ? WorkBFloat16 : nullptr;
    case MultiplyKind::kAmx:
      return cpu.Has("amx_bf16") && RequestAmx() ? WorkAmx : nullptr;
  }
  return nullptr;
}

#elif defined(__GNUC__)

typedef float Float4 __attribute__((vector_size(16)));

// With the build's own instruction set: NEON on Arm.
double WorkFloat4(float* sink) {
  const Float4 factor = Float4{} + 0.999f, addend = Float4{} + 1e-3f;
  Float4 sums[kSums] = {};
  for (int i = 0; i < kSums; ++i) sums[i] += static_cast<float>(i);
  for (int round = 0; round < kRounds; ++round) {
    for (int i = 0; i < kSums; ++i) sums[i] = sums[i] * factor + addend;
  }
  for (int i = 1; i < kSums; ++i) sums[0] += sums[i];
  *sink = sums[0][0];
  return 2.0 * kRounds * kSums * 4;
}

Work FindWork(MultiplyKind kind) { return kind == MultiplyKind::kFloat32 ? WorkFloat4 : nullptr; }

#endif

struct alignas(128) WorkerResult {
  double operations = 0;
  float sink = 0;
};

}  // namespace

const char* ToString(MultiplyKind kind) {
  switch (kind) {
    case MultiplyKind::kFloat32:
      return "float32";
    case MultiplyKind::kBFloat16:
      return "bfloat16 dots";
    case MultiplyKind::kAmx:
      return "AMX";
  }
  return "unknown";
}

double MeasureMultiplyRate(ThreadPool& pool, MultiplyKind kind) {
  const Work work = FindWork(kind);
  if (work == nullptr) return 0;
  constexpr int kRuns = 15, kCalls = 20;
  std::vector<WorkerResult> results(static_cast<size_t>(pool.num_threads()));
  double best = 0;
  for (int run = 0; run < kRuns; ++run) {
    const auto start = std::chrono::steady_clock::now();
    pool.Run([&](int worker) {
      WorkerResult& result = results[static_cast<size_t>(worker)];
      result.operations = 0;
      for (int call = 0; call < kCalls; ++call) result.operations += work(&result.sink);
    });
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    double operations = 0;
    for (const WorkerResult& result : results) operations += result.operations;
    best = std::max(best, operations / std::max(elapsed.count(), 1e-9) * 1e-9);
  }
  return best;
}

}  // namespace tessera
