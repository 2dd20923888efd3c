// Which instances of the kernel GPUs have: the one list, for every machine, in groups that are
// compiled apart (backends/portable/gpu/*.simt.cc).
//
// Plain bfloat16 in the usual head sizes has instances of its own. General ones take the rest:
// 8-bit and float16 caches, 8-bit queries, every type of output, heads of any size up to theirs,
// values of another size than keys; kBiased serves as every kind of logits. So what is rare is
// decided as the kernel runs.
#pragma once

#include <cstdint>

#include "attention/kernel/gpu/block_shapes.h"
#include "attention/kernel/gpu/matrix_policies.h"
#include "attention/kernel/logits.h"
#include "tessera/dtype.h"

namespace tessera::kernel::lanes {

struct SimtInstance {
  DType cache = DType::kBFloat16;
  int head_size = 0;
  bool general = false;
  Logits logits = Logits::kScaled;
};

// Of each group X(name, cache, head size, general, logits), those that suit a layer best first.
#define TESSERA_SIMT_PLAIN_32(X)                             \
  X(plain_32_scaled, kBFloat16, 32, false, kScaled)          \
  X(plain_32_soft_capped, kBFloat16, 32, false, kSoftCapped) \
  X(plain_32_biased, kBFloat16, 32, false, kBiased)
#define TESSERA_SIMT_PLAIN_64(X)                             \
  X(plain_64_scaled, kBFloat16, 64, false, kScaled)          \
  X(plain_64_soft_capped, kBFloat16, 64, false, kSoftCapped) \
  X(plain_64_biased, kBFloat16, 64, false, kBiased)
#define TESSERA_SIMT_PLAIN_96(X)                             \
  X(plain_96_scaled, kBFloat16, 96, false, kScaled)          \
  X(plain_96_soft_capped, kBFloat16, 96, false, kSoftCapped) \
  X(plain_96_biased, kBFloat16, 96, false, kBiased)
#define TESSERA_SIMT_PLAIN_128(X)                              \
  X(plain_128_scaled, kBFloat16, 128, false, kScaled)          \
  X(plain_128_soft_capped, kBFloat16, 128, false, kSoftCapped) \
  X(plain_128_biased, kBFloat16, 128, false, kBiased)
#define TESSERA_SIMT_BFLOAT16(X)                        \
  X(bfloat16_128_biased, kBFloat16, 128, true, kBiased) \
  X(bfloat16_256_scaled, kBFloat16, 256, true, kScaled) \
  X(bfloat16_256_biased, kBFloat16, 256, true, kBiased)
#define TESSERA_SIMT_FLOAT16(X)                       \
  X(float16_128_scaled, kFloat16, 128, true, kScaled) \
  X(float16_128_biased, kFloat16, 128, true, kBiased) \
  X(float16_256_biased, kFloat16, 256, true, kBiased)
#define TESSERA_SIMT_E4M3FN_128(X)                  \
  X(e4m3fn_128_scaled, kE4M3FN, 128, true, kScaled) \
  X(e4m3fn_128_biased, kE4M3FN, 128, true, kBiased)
#define TESSERA_SIMT_E4M3FN_256(X)                  \
  X(e4m3fn_256_scaled, kE4M3FN, 256, true, kScaled) \
  X(e4m3fn_256_biased, kE4M3FN, 256, true, kBiased)
#define TESSERA_SIMT_E4M3FNUZ(X)                        \
  X(e4m3fnuz_128_scaled, kE4M3FNUZ, 128, true, kScaled) \
  X(e4m3fnuz_128_biased, kE4M3FNUZ, 128, true, kBiased) \
  X(e4m3fnuz_256_biased, kE4M3FNUZ, 256, true, kBiased)
#define TESSERA_SIMT_E5M2(X)                    \
  X(e5m2_128_biased, kE5M2, 128, true, kBiased) \
  X(e5m2_256_biased, kE5M2, 256, true, kBiased)
#define TESSERA_SIMT_INT8(X)                    \
  X(int8_128_biased, kInt8, 128, true, kBiased) \
  X(int8_256_biased, kInt8, 256, true, kBiased)

// Y(module, its instances): the files.
#define TESSERA_SIMT_MODULES(Y)                    \
  Y(attention_plain_32, TESSERA_SIMT_PLAIN_32)     \
  Y(attention_plain_64, TESSERA_SIMT_PLAIN_64)     \
  Y(attention_plain_96, TESSERA_SIMT_PLAIN_96)     \
  Y(attention_plain_128, TESSERA_SIMT_PLAIN_128)   \
  Y(attention_bfloat16, TESSERA_SIMT_BFLOAT16)     \
  Y(attention_float16, TESSERA_SIMT_FLOAT16)       \
  Y(attention_e4m3fn_128, TESSERA_SIMT_E4M3FN_128) \
  Y(attention_e4m3fn_256, TESSERA_SIMT_E4M3FN_256) \
  Y(attention_e4m3fnuz, TESSERA_SIMT_E4M3FNUZ)     \
  Y(attention_e5m2, TESSERA_SIMT_E5M2)             \
  Y(attention_int8, TESSERA_SIMT_INT8)

// The matrix instructions of a machine: for few rows, and for many.
struct Mma {
  static constexpr const char* kName = "mma";
  using Few = MmaM16N8K16;
  using Many = MmaM16N8K16;
};
struct Mfma {
  static constexpr const char* kName = "mfma";
  using Few = Mfma16x16x16;
  using Many = Mfma32x32x8;
};
struct Wmma {
  static constexpr const char* kName = "wmma";
  using Few = Wmma16x16x16;
  using Many = Wmma16x16x16;
};
struct Wmma11 {  // of gfx11
  static constexpr const char* kName = "wmma11";
  using Few = WmmaReplicated;
  using Many = WmmaReplicated;
};

// Whose shapes of blocks: a machine's own, or small ones for the emulator.
enum class Machine : uint8_t { kNvidia, kAmd, kEmulator };

constexpr NvidiaShape ShapeOf(Machine machine, const SimtInstance& instance, bool few_rows, int x,
                              int wave, bool transposes) {
  const int size = instance.head_size;
  if (machine == Machine::kNvidia) {
    return few_rows ? NvidiaFewRows(size, SizeOf(instance.cache) == 1) : NvidiaManyRows(size);
  }
  if (machine == Machine::kAmd) {
    return {few_rows ? AmdFewRows(size) : AmdManyRows(size, wave, SizeOf(instance.cache) == 1), 1};
  }
  const int stages = transposes ? 2 : 1;  // as GPUs use them
  if (few_rows) {
    return {{.row_waves = 1, .key_waves = 2, .wave_keys = x < 32 ? 16 : 32, .stages = stages}, 1};
  }
  return {{.row_waves = x < 32 && !transposes ? 4 : 2,
           .row_tiles = transposes ? 2 : 1,
           .stages = stages},
          1};
}

}  // namespace tessera::kernel::lanes
