// The only file that knows matrix instructions: one policy for each instruction family.
//
// The kernel computes S^T[key][row] = K Q^T and O^T[dim][row] += V^T P^T, so "X" is the K or V^T
// operand and "Y" the Q or P operand of D[x][y] += sum_k X[x][k] Y[y][k]. A policy gives the lane
// layout as constexpr functions:
// clang-format off
//   X, Y, K               sizes of one instruction
//   NX, NY, NE            words (of two 16-bit elements) of an X and a Y fragment, and elements of an
//                         accumulator, for each lane
//   x, xk, y, yk          coordinates of element i of a lane's fragment
//   cx, cy                those of accumulator element e
//   slot(e)               which of the lane's SLOTS rows an accumulator element belongs to
//   red(i)                the xor masks under which lanes share a row (NRED of them)
//   p_tile, p_elem        where element i of the P fragment f lies among the accumulators of S
// and how fragments are read from shared memory:
//   kOperandWords         registers of a Y fragment while it is multiplied, in waves of 32
//   kTransposes           whether loads can transpose: then V lies there as [key][dim], else as [dim][key]
//   LoadKeys, LoadValues  kTiles fragments of X at one k: of kTiles * X keys, or dims
//   LoadQuery             one fragment of Y from [row][dim]
//   kBytes                whether fragments of 8-bit elements can be read:
//   LoadBytes             of 2 X rows and 2 K columns
//   LoadBytesTransposed   the same, as columns (byte_fragments.h)
//   MultiplyAdd<kType>    D += X Y, with elements of bfloat16 or float16
// clang-format on
// CheckPolicy proves for every lane, at compile time, that the accumulators of the first product
// already are the Y fragments of the second: probabilities never leave their registers.
//
// Layouts: AMD CDNA3 ISA 7.1.4.2 (MFMA), AMD RDNA3 ISA 7.9 and RDNA4 ISA (WMMA), PTX ISA "Matrix
// Fragments for mma.m16n8k16".
#pragma once

#include <cstdint>

#include "device/gpu/simt.h"
#include "tessera/dtype.h"
#if defined(TESSERA_SIMT_HOST)
#include "device/gpu/emulator/matrix_emulation.h"
#endif

namespace tessera::kernel {

template <int N>
struct Fragment {
  uint32_t words[N];
};

template <int N>
struct Accumulator {
  float v[N];
};

// A fragment of X, each lane reading its words by the policy's layout: from rows of shared memory
// (tile[x][k]), or from columns (tile[k][x]). `tile` is 4-byte aligned, `stride` (elements) even.
template <class P>
SIMT_DEVICE void LoadXFromRows(const uint16_t* tile, int stride, int lane, Fragment<P::NX>* f) {
  SIMT_UNROLL
  for (int i = 0; i < 2 * P::NX; i += 2) {
    f->words[i / 2] = simt::LoadWord(tile + P::x(lane, i) * stride + P::xk(lane, i));
  }
}
template <class P>
SIMT_DEVICE void LoadXFromColumns(const uint16_t* tile, int stride, int lane, Fragment<P::NX>* f) {
  SIMT_UNROLL
  for (int i = 0; i < 2 * P::NX; i += 2) {
    const uint16_t* low = tile + P::xk(lane, i) * stride + P::x(lane, i);
    f->words[i / 2] = low[0] | (static_cast<uint32_t>(low[stride]) << 16);
  }
}
template <class P>
SIMT_DEVICE void LoadYFromRows(const uint16_t* tile, int stride, int lane, Fragment<P::NY>* f) {
  SIMT_UNROLL
  for (int i = 0; i < 2 * P::NY; i += 2) {
    f->words[i / 2] = simt::LoadWord(tile + P::y(lane, i) * stride + P::yk(lane, i));
  }
}

#if defined(__CUDA_ARCH__)
// Four 8 x 8 matrices of 16-bit elements; lane l names row l % 8 of matrix l / 8 (PTX ISA,
// ldmatrix).
SIMT_DEVICE void LoadMatrices(const void* row, uint32_t* words) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
}
SIMT_DEVICE void LoadMatricesTransposed(const void* row, uint32_t* words) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
}
#endif

// How policies without transposing loads read shared memory: V lies there transposed.
template <class P>
struct PlainLoads {
  static constexpr bool kTransposes = false;
  static constexpr bool kBytes = false;
  static constexpr int kTiles = 1;
  static constexpr int kOperandWords = 4;
  template <int NX>
  SIMT_DEVICE void LoadKeys(const uint16_t* tile, int stride, int lane, Fragment<NX>* f) {
    LoadXFromRows<P>(tile, stride, lane, f);
  }
  template <int NX>
  SIMT_DEVICE void LoadValues(const uint16_t* tile, int stride, int lane, Fragment<NX>* f) {
    LoadXFromRows<P>(tile, stride, lane, f);
  }
  template <int NY>
  SIMT_DEVICE void LoadQuery(const uint16_t* tile, int stride, int lane, Fragment<NY>* f) {
    LoadYFromRows<P>(tile, stride, lane, f);
  }
};

#if defined(TESSERA_SIMT_HIP)
typedef short Short4 __attribute__((ext_vector_type(4)));
typedef short Short8 __attribute__((ext_vector_type(8)));
typedef short Short16 __attribute__((ext_vector_type(16)));
typedef _Float16 Half4 __attribute__((ext_vector_type(4)));
typedef _Float16 Half8 __attribute__((ext_vector_type(8)));
typedef _Float16 Half16 __attribute__((ext_vector_type(16)));
typedef float Float4 __attribute__((ext_vector_type(4)));
typedef float Float8 __attribute__((ext_vector_type(8)));
typedef float Float16 __attribute__((ext_vector_type(16)));
#endif

// CDNA2 and CDNA3 (gfx90a, gfx942): v_mfma_f32_32x32x8_bf16.
struct Mfma32x32x8 : PlainLoads<Mfma32x32x8> {
  static constexpr int WAVE = 64, X = 32, Y = 32, K = 8, NX = 2, NY = 2, NE = 16, SLOTS = 1,
                       NRED = 1;
  static constexpr const char* kName = "mfma_32x32x8";
  SIMT_CONSTEXPR int x(int lane, int) { return lane % 32; }
  SIMT_CONSTEXPR int xk(int lane, int i) { return 4 * (lane / 32) + i; }
  SIMT_CONSTEXPR int y(int lane, int) { return lane % 32; }
  SIMT_CONSTEXPR int yk(int lane, int i) { return 4 * (lane / 32) + i; }
  SIMT_CONSTEXPR int cx(int lane, int e) { return 8 * (e / 4) + 4 * (lane / 32) + e % 4; }
  SIMT_CONSTEXPR int cy(int lane, int) { return lane % 32; }
  SIMT_CONSTEXPR int slot(int) { return 0; }
  SIMT_CONSTEXPR int red(int) { return 32; }
  SIMT_CONSTEXPR int p_tile(int f, int) { return f / 4; }
  SIMT_CONSTEXPR int p_elem(int f, int i) { return 4 * (f % 4) + i; }
  template <DType kType>
  SIMT_DEVICE void MultiplyAdd(const Fragment<NX>& a, const Fragment<NY>& b, Accumulator<NE>& c) {
#if defined(__gfx90a__) || defined(__gfx942__) || defined(__gfx950__)
    Float16 d = __builtin_bit_cast(Float16, c);
    if constexpr (kType == DType::kFloat16) {
      d = __builtin_amdgcn_mfma_f32_32x32x8f16(__builtin_bit_cast(Half4, a),
                                               __builtin_bit_cast(Half4, b), d, 0, 0, 0);
    } else {
      d = __builtin_amdgcn_mfma_f32_32x32x8bf16_1k(__builtin_bit_cast(Short4, a),
                                                   __builtin_bit_cast(Short4, b), d, 0, 0, 0);
    }
    c = __builtin_bit_cast(Accumulator<NE>, d);
#elif defined(TESSERA_SIMT_HOST)
    simt::emulator::EmulateMatrix(simt::emulator::MatrixInstruction::kMfma32x32x8, kType, a.words,
                                  b.words, c.v, NE);
#endif
  }
};

// CDNA2 and CDNA3: v_mfma_f32_16x16x16_bf16.
struct Mfma16x16x16 : PlainLoads<Mfma16x16x16> {
  static constexpr int WAVE = 64, X = 16, Y = 16, K = 16, NX = 2, NY = 2, NE = 4, SLOTS = 1,
                       NRED = 2;
  static constexpr const char* kName = "mfma_16x16x16";
  SIMT_CONSTEXPR int x(int lane, int) { return lane % 16; }
  SIMT_CONSTEXPR int xk(int lane, int i) { return 4 * (lane / 16) + i; }
  SIMT_CONSTEXPR int y(int lane, int) { return lane % 16; }
  SIMT_CONSTEXPR int yk(int lane, int i) { return 4 * (lane / 16) + i; }
  SIMT_CONSTEXPR int cx(int lane, int e) { return 4 * (lane / 16) + e; }
  SIMT_CONSTEXPR int cy(int lane, int) { return lane % 16; }
  SIMT_CONSTEXPR int slot(int) { return 0; }
  SIMT_CONSTEXPR int red(int i) { return 16 << i; }
  SIMT_CONSTEXPR int p_tile(int f, int) { return f; }
  SIMT_CONSTEXPR int p_elem(int, int i) { return i; }
  template <DType kType>
  SIMT_DEVICE void MultiplyAdd(const Fragment<NX>& a, const Fragment<NY>& b, Accumulator<NE>& c) {
#if defined(__gfx90a__) || defined(__gfx942__) || defined(__gfx950__)
    Float4 d = __builtin_bit_cast(Float4, c);
    if constexpr (kType == DType::kFloat16) {
      d = __builtin_amdgcn_mfma_f32_16x16x16f16(__builtin_bit_cast(Half4, a),
                                                __builtin_bit_cast(Half4, b), d, 0, 0, 0);
    } else {
      d = __builtin_amdgcn_mfma_f32_16x16x16bf16_1k(__builtin_bit_cast(Short4, a),
                                                    __builtin_bit_cast(Short4, b), d, 0, 0, 0);
    }
    c = __builtin_bit_cast(Accumulator<NE>, d);
#elif defined(TESSERA_SIMT_HOST)
    simt::emulator::EmulateMatrix(simt::emulator::MatrixInstruction::kMfma16x16x16, kType, a.words,
                                  b.words, c.v, NE);
#endif
  }
};

// Of the policies for RDNA: all but the order of X's rows. The order of k inside a fragment is free
// as long as X and Y agree.
template <class P>
struct WmmaLayout : PlainLoads<P> {
  static constexpr int WAVE = 32, X = 16, Y = 16, K = 16, NX = 4, NY = 4, NE = 8, SLOTS = 1,
                       NRED = 1;
  SIMT_CONSTEXPR int xk(int lane, int i) { return 8 * (lane / 16) + i; }
  SIMT_CONSTEXPR int y(int lane, int) { return lane % 16; }
  SIMT_CONSTEXPR int yk(int lane, int i) { return 8 * (lane / 16) + i; }
  SIMT_CONSTEXPR int cx(int lane, int e) { return 8 * (lane / 16) + e; }
  SIMT_CONSTEXPR int cy(int lane, int) { return lane % 16; }
  SIMT_CONSTEXPR int slot(int) { return 0; }
  SIMT_CONSTEXPR int red(int) { return 16; }
  SIMT_CONSTEXPR int p_tile(int f, int) { return f; }
  SIMT_CONSTEXPR int p_elem(int, int i) { return i; }
};

// RDNA4 (gfx1200, gfx1201): v_wmma_f32_16x16x16_bf16.
struct Wmma16x16x16 : WmmaLayout<Wmma16x16x16> {
  static constexpr const char* kName = "wmma_16x16x16";
  SIMT_CONSTEXPR int x(int lane, int) { return lane % 16; }
  template <DType kType>
  SIMT_DEVICE void MultiplyAdd(const Fragment<NX>& a, const Fragment<NY>& b, Accumulator<NE>& c) {
#if defined(__gfx1200__) || defined(__gfx1201__)
    Float8 d = __builtin_bit_cast(Float8, c);
    if constexpr (kType == DType::kFloat16) {
      d = __builtin_amdgcn_wmma_f32_16x16x16_f16_w32_gfx12(__builtin_bit_cast(Half8, a),
                                                           __builtin_bit_cast(Half8, b), d);
    } else {
      d = __builtin_amdgcn_wmma_f32_16x16x16_bf16_w32_gfx12(__builtin_bit_cast(Short8, a),
                                                            __builtin_bit_cast(Short8, b), d);
    }
    c = __builtin_bit_cast(Accumulator<NE>, d);
#elif defined(TESSERA_SIMT_HOST)
    simt::emulator::EmulateMatrix(simt::emulator::MatrixInstruction::kWmmaGfx12, kType, a.words,
                                  b.words, c.v, NE);
#endif
  }
};

// RDNA3 (gfx11): v_wmma_f32_16x16x16_bf16 of another layout. A lane's operand is a whole row, all
// 16 of k, and both halves of the wave hold the same; accumulator element e is row 2 e + lane / 16.
//
// Here a lane holds half of a row's k, as on RDNA4, and gets the other half from the other half of
// the wave when it multiplies: so probabilities are what a lane has of them. The compiler exchanges
// a fragment that is used several times once. X's rows are given to the lanes in such an order that
// a lane's accumulators are neighbours: lane l holds row 8 (l % 2) + l % 16 / 2.
struct WmmaReplicated : WmmaLayout<WmmaReplicated> {
  static constexpr const char* kName = "wmma_replicated";
  static constexpr int kOperandWords = 8;
  SIMT_CONSTEXPR int x(int lane, int) { return 8 * (lane % 2) + lane % 16 / 2; }

  // All of a row's k in order.
  SIMT_DEVICE Fragment<8> WholeRow(const Fragment<4>& own) {
    const bool upper = simt::Thread() % 32 >= 16;
    Fragment<8> row;
    SIMT_UNROLL
    for (int i = 0; i < 4; ++i) {
      const uint32_t other = simt::SwapHalves(own.words[i]);
      row.words[i] = upper ? other : own.words[i];
      row.words[4 + i] = upper ? own.words[i] : other;
    }
    return row;
  }
  template <DType kType>
  SIMT_DEVICE void MultiplyAdd(const Fragment<NX>& a, const Fragment<NY>& b, Accumulator<NE>& c) {
    const Fragment<8> x_row = WholeRow(a), y_row = WholeRow(b);
#if defined(__GFX11__)
    Float8 d = __builtin_bit_cast(Float8, c);
    if constexpr (kType == DType::kFloat16) {
      d = __builtin_amdgcn_wmma_f32_16x16x16_f16_w32(__builtin_bit_cast(Half16, x_row),
                                                     __builtin_bit_cast(Half16, y_row), d);
    } else {
      d = __builtin_amdgcn_wmma_f32_16x16x16_bf16_w32(__builtin_bit_cast(Short16, x_row),
                                                      __builtin_bit_cast(Short16, y_row), d);
    }
    c = __builtin_bit_cast(Accumulator<NE>, d);
#elif defined(TESSERA_SIMT_HOST)
    simt::emulator::EmulateMatrix(simt::emulator::MatrixInstruction::kWmmaGfx11, kType, x_row.words,
                                  y_row.words, c.v, NE);
#endif
  }
};

// NVIDIA sm_80 and later: mma.sync.m16n8k16 bf16; its M side carries the rows.
struct MmaM16N8K16 {
  static constexpr int WAVE = 32, X = 8, Y = 16, K = 16, NX = 2, NY = 4, NE = 4, SLOTS = 2,
                       NRED = 2;
  static constexpr const char* kName = "mma_m16n8k16";
  SIMT_CONSTEXPR int x(int lane, int) { return lane / 4; }
  SIMT_CONSTEXPR int xk(int lane, int i) { return 2 * (lane % 4) + i % 2 + 8 * (i / 2); }
  SIMT_CONSTEXPR int y(int lane, int i) { return lane / 4 + 8 * ((i / 2) % 2); }
  SIMT_CONSTEXPR int yk(int lane, int i) { return 2 * (lane % 4) + i % 2 + 8 * (i / 4); }
  SIMT_CONSTEXPR int cx(int lane, int e) { return 2 * (lane % 4) + e % 2; }
  SIMT_CONSTEXPR int cy(int lane, int e) { return lane / 4 + 8 * (e / 2); }
  SIMT_CONSTEXPR int slot(int e) { return e / 2; }
  SIMT_CONSTEXPR int red(int i) { return 1 << i; }
  SIMT_CONSTEXPR int p_tile(int f, int i) { return 2 * f + i / 4; }
  SIMT_CONSTEXPR int p_elem(int, int i) { return 2 * ((i / 2) % 2) + i % 2; }
  template <DType kType>
  SIMT_DEVICE void MultiplyAdd(const Fragment<NX>& a, const Fragment<NY>& b, Accumulator<NE>& c) {
#if defined(__CUDA_ARCH__)
    if constexpr (kType == DType::kFloat16) {
      asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
          "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
          : "+f"(c.v[0]), "+f"(c.v[1]), "+f"(c.v[2]), "+f"(c.v[3])
          : "r"(b.words[0]), "r"(b.words[1]), "r"(b.words[2]), "r"(b.words[3]), "r"(a.words[0]),
            "r"(a.words[1]));
    } else {
      asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
          "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
          : "+f"(c.v[0]), "+f"(c.v[1]), "+f"(c.v[2]), "+f"(c.v[3])
          : "r"(b.words[0]), "r"(b.words[1]), "r"(b.words[2]), "r"(b.words[3]), "r"(a.words[0]),
            "r"(a.words[1]));
    }
#elif defined(TESSERA_SIMT_HOST)
    simt::emulator::EmulateMatrix(simt::emulator::MatrixInstruction::kMmaM16N8K16, kType, a.words,
                                  b.words, c.v, NE);
#endif
  }

  static constexpr bool kTransposes = true;
  static constexpr int kTiles = 2;
  static constexpr int kOperandWords = 4;
  SIMT_DEVICE void LoadKeys(const uint16_t* tile, int stride, int lane, Fragment<NX>* f) {
#if defined(__CUDA_ARCH__)
    uint32_t w[4];
    // In this order a fragment is a pair of neighbouring registers, as the instruction wants it.
    LoadMatrices(tile + (lane / 16 * 8 + lane % 8) * stride + lane / 8 % 2 * 8, w);
    f[0] = {{w[0], w[1]}};
    f[1] = {{w[2], w[3]}};
#else
    LoadXFromRows<MmaM16N8K16>(tile, stride, lane, f);
    LoadXFromRows<MmaM16N8K16>(tile + X * stride, stride, lane, f + 1);
#endif
  }
  SIMT_DEVICE void LoadValues(const uint16_t* tile, int stride, int lane, Fragment<NX>* f) {
#if defined(__CUDA_ARCH__)
    uint32_t w[4];
    LoadMatricesTransposed(tile + lane % 16 * stride + lane / 16 * 8, w);
    f[0] = {{w[0], w[1]}};
    f[1] = {{w[2], w[3]}};
#else
    LoadXFromColumns<MmaM16N8K16>(tile, stride, lane, f);
    LoadXFromColumns<MmaM16N8K16>(tile + X, stride, lane, f + 1);
#endif
  }
  SIMT_DEVICE void LoadQuery(const uint16_t* tile, int stride, int lane, Fragment<NY>* f) {
#if defined(__CUDA_ARCH__)
    LoadMatrices(tile + lane % 16 * stride + lane / 16 * 8, f->words);
#else
    LoadYFromRows<MmaM16N8K16>(tile, stride, lane, f);
#endif
  }

  // The slot of the row that word i of a fragment of Y lies in.
  SIMT_CONSTEXPR int slot_of_row(int i) { return i % 2; }

  // Of 16 rows of 32 bytes four 8 x 8 matrices of two bytes each: word 2 c + r is of rows 8 r and
  // on and columns 16 c and on.
  static constexpr bool kBytes = true;
  // A word: bytes 4 (lane % 4) and on of row lane / 4.
  SIMT_DEVICE void LoadBytes(const uint8_t* tile, int stride, int lane, uint32_t words[4]) {
#if defined(__CUDA_ARCH__)
    LoadMatrices(tile + lane % 16 * stride + lane / 16 * 16, words);
#else
    for (int i = 0; i < 4; ++i) {
      words[i] = simt::LoadWord(tile + (i % 2 * 8 + lane / 4) * stride + i / 2 * 16 + lane % 4 * 4);
    }
#endif
  }
  // A word: bytes 2 (lane / 4) and the next one of row 2 (lane % 4), then those of the next row.
  SIMT_DEVICE void LoadBytesTransposed(const uint8_t* tile, int stride, int lane,
                                       uint32_t words[4]) {
#if defined(__CUDA_ARCH__)
    LoadMatricesTransposed(tile + lane % 16 * stride + lane / 16 * 16, words);
#else
    for (int i = 0; i < 4; ++i) {
      const uint8_t* row = tile + (i % 2 * 8 + lane % 4 * 2) * stride + i / 2 * 16 + lane / 4 * 2;
      words[i] = simt::LoadBytes(row, 2) | (simt::LoadBytes(row + stride, 2) << 16);
    }
#endif
  }
};

template <class P>
constexpr bool CheckPolicy() {
  int mask = 0;
  for (int i = 0; i < P::NRED; ++i) mask |= P::red(i);
  int row[P::WAVE][P::SLOTS] = {};
  for (int lane = 0; lane < P::WAVE; ++lane) {
    for (int u = 0; u < P::SLOTS; ++u) row[lane][u] = -1;
    for (int e = 0; e < P::NE; ++e) {  // a slot is one row
      int& r = row[lane][P::slot(e)];
      if (r >= 0 && r != P::cy(lane, e)) return false;
      r = P::cy(lane, e);
    }
  }
  for (int a = 0; a < P::WAVE;
       ++a) {  // the lanes that hold a row are exactly an orbit under the masks
    for (int b = 0; b < P::WAVE; ++b) {
      for (int u = 0; u < P::SLOTS; ++u) {
        for (int v = 0; v < P::SLOTS; ++v) {
          const bool same_orbit = ((a ^ b) & ~mask) == 0 && u == v;
          if ((row[a][u] == row[b][v]) != same_orbit) return false;
        }
      }
    }
  }
  constexpr int kSpan =
      P::X > P::K ? P::X : P::K;  // keys that whole fragments and whole tiles cover
  for (int lane = 0; lane < P::WAVE; ++lane) {
    for (int f = 0; f < kSpan / P::K; ++f) {
      for (int i = 0; i < 2 * P::NY; ++i) {  // P's fragment lies in this lane's accumulators of S
        const int key = f * P::K + P::yk(lane, i);
        const int tile = P::p_tile(f, i), e = P::p_elem(f, i);
        if (tile * P::X + P::cx(lane, e) != key || P::cy(lane, e) != P::y(lane, i)) return false;
      }
    }
    for (int i = 0; i < 2 * P::NX; i += 2) {  // k runs in pairs: a word is two neighbours
      if (P::xk(lane, i) % 2 != 0 || P::xk(lane, i + 1) != P::xk(lane, i) + 1 ||
          P::x(lane, i) != P::x(lane, i + 1)) {
        return false;
      }
    }
    for (int i = 0; i < 2 * P::NY; i += 2) {
      if (P::yk(lane, i) % 2 != 0 || P::yk(lane, i + 1) != P::yk(lane, i) + 1 ||
          P::y(lane, i) != P::y(lane, i + 1)) {
        return false;
      }
    }
  }
  return true;
}
static_assert(CheckPolicy<Mfma32x32x8>());
static_assert(CheckPolicy<Mfma16x16x16>());
static_assert(CheckPolicy<Wmma16x16x16>());
static_assert(CheckPolicy<WmmaReplicated>());
static_assert(CheckPolicy<MmaM16N8K16>());

}  // namespace tessera::kernel
