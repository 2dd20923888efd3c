// What matrix instructions do with registers, for the lock-step emulator: written down for each
// instruction from the vendors' documents, independently of matrix_policies.h, so that a wrong
// layout there shows as a wrong result.
#pragma once

#include <cstdint>

#include "tessera/dtype.h"

namespace tessera::simt::emulator {

enum class MatrixInstruction : uint8_t {
  kMfma32x32x8,
  kMfma16x16x16,
  kWmmaGfx12,
  kMmaM16N8K16,
  kWmmaGfx11,  // wants its operands twice in a wave; the result is NaN if the copies differ
};

// D[x][y] += sum_k X[x][k] Y[y][k] over the whole wave; every lane calls it with its own fragments
// (of `type`, two in a word) and `elements` accumulator values.
void EmulateMatrix(MatrixInstruction instruction, DType type, const uint32_t* x, const uint32_t* y,
                   float* c, int elements);

}  // namespace tessera::simt::emulator
