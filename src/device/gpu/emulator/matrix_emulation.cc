#include "device/gpu/emulator/matrix_emulation.h"

#include <cstring>
#include <limits>
#include <vector>

#include "device/gpu/emulator/simt_emulator.h"

namespace tessera::simt::emulator {

namespace {

// Where each register element of each lane lies in the operands.
struct Tables {
  int wave, rows, columns, depth;  // X: [rows, depth], Y: [columns, depth], D: [rows, columns]
  int nx, ny, ne;                  // elements of a lane
  struct Place {
    int index;
    int k;
  };
  std::vector<Place> x, y;  // [wave * nx], [wave * ny]
  struct Result {
    int row;
    int column;
  };
  std::vector<Result> d;    // [wave * ne]
  bool replicated = false;  // the upper half's operands are the lower half's
};

// AMD CDNA3 ISA, 7.1.4.2: A and B of 4 k values a lane, lane / 32 (or / 16) choosing the group of
// four; D in groups of 4 rows.
Tables Mfma(int size, int depth) {
  Tables t{64, size, size, depth, 4, 4, size * size / 64, {}, {}, {}};
  for (int lane = 0; lane < 64; ++lane) {
    const int within = lane & (size - 1);
    const int group = lane / size;
    for (int i = 0; i < 4; ++i) {
      t.x.push_back({within, group * 4 + i});
      t.y.push_back({within, group * 4 + i});
    }
    const int groups = 64 / size;
    for (int e = 0; e < t.ne; ++e) {
      t.d.push_back({(e / 4) * 4 * groups + group * 4 + (e & 3), within});
    }
  }
  return t;
}

// AMD RDNA4 ISA, WMMA in wave32: k = 0-3 and 8-11 in the lower half of the wave, 4-7 and 12-15 in
// the upper; D by halves of 8 rows.
Tables WmmaGfx12() {
  Tables t{32, 16, 16, 16, 8, 8, 8, {}, {}, {}};
  for (int lane = 0; lane < 32; ++lane) {
    const int within = lane & 15;
    const int half = lane >> 4;
    for (int i = 0; i < 8; ++i) {
      const int k = (i & 3) | (half << 2) | ((i & 4) << 1);
      t.x.push_back({within, k});
      t.y.push_back({within, k});
    }
    for (int e = 0; e < 8; ++e) t.d.push_back({half * 8 + e, within});
  }
  return t;
}

// PTX ISA, mma.m16n8k16: our Y is its A (16 x 16), our X its B (16 x 8), D is transposed.
Tables MmaM16N8K16Tables() {
  Tables t{32, 8, 16, 16, 4, 8, 4, {}, {}, {}};
  for (int lane = 0; lane < 32; ++lane) {
    const int group = lane >> 2;
    const int member = lane & 3;
    for (int i = 0; i < 4; ++i) t.x.push_back({group, member * 2 + (i & 1) + (i >= 2 ? 8 : 0)});
    for (int i = 0; i < 8; ++i) {
      const bool lower_rows = i == 0 || i == 1 || i == 4 || i == 5;
      t.y.push_back({lower_rows ? group : group + 8, member * 2 + (i & 1) + (i >= 4 ? 8 : 0)});
    }
    for (int e = 0; e < 4; ++e) t.d.push_back({member * 2 + (e & 1), e < 2 ? group : group + 8});
  }
  return t;
}

// AMD RDNA3 ISA, 7.9, WMMA in wave32: lane l holds row l % 16 of A or column l % 16 of B, all 16 of
// k, so that lanes l and l + 16 hold the same; D's even rows lie in the lower half, its odd ones in
// the upper.
Tables WmmaGfx11() {
  Tables t{32, 16, 16, 16, 16, 16, 8, {}, {}, {}};
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 16; ++i) {
      t.x.push_back({lane & 15, i});
      t.y.push_back({lane & 15, i});
    }
    for (int e = 0; e < 8; ++e) t.d.push_back({2 * e + (lane >> 4), lane & 15});
  }
  t.replicated = true;
  return t;
}

const Tables& TablesOf(MatrixInstruction instruction) {
  static const Tables tables[] = {Mfma(32, 8), Mfma(16, 16), WmmaGfx12(), MmaM16N8K16Tables(),
                                  WmmaGfx11()};
  return tables[static_cast<int>(instruction)];
}

struct LaneInput {
  const uint32_t* x;
  const uint32_t* y;
  const float* c;
};

struct Multiplication {
  const Tables& tables;
  DType type;
};

float Element(DType type, const uint32_t* words, int i) {
  const auto bits = static_cast<uint16_t>(words[i / 2] >> (16 * (i % 2)));
  return type == DType::kFloat16 ? Float16ToFloat(bits) : BFloat16ToFloat(bits);
}

void Multiply(const void* context, const void* const* in, void* const* out, int wave) {
  const auto& [t, type] = *static_cast<const Multiplication*>(context);
  float x[32 * 16], y[32 * 16], d[32 * 32];
  const auto lane_of = [&](int lane) { return static_cast<const LaneInput*>(in[lane]); };
  bool valid = true;
  for (int lane = 16; t.replicated && lane < wave; ++lane) {
    const auto bytes = static_cast<size_t>(t.nx) * sizeof(uint16_t);
    valid = valid && std::memcmp(lane_of(lane)->x, lane_of(lane - 16)->x, bytes) == 0 &&
            std::memcmp(lane_of(lane)->y, lane_of(lane - 16)->y, bytes) == 0;
  }
  for (int lane = 0; lane < wave; ++lane) {
    for (int i = 0; i < t.nx; ++i) {
      const auto& place = t.x[static_cast<size_t>(lane * t.nx + i)];
      x[place.index * t.depth + place.k] = Element(type, lane_of(lane)->x, i);
    }
    for (int i = 0; i < t.ny; ++i) {
      const auto& place = t.y[static_cast<size_t>(lane * t.ny + i)];
      y[place.k * t.columns + place.index] = Element(type, lane_of(lane)->y, i);
    }
    for (int e = 0; e < t.ne; ++e) {
      const auto& place = t.d[static_cast<size_t>(lane * t.ne + e)];
      d[place.row * t.columns + place.column] = lane_of(lane)->c[e];
    }
  }
  for (int row = 0; row < t.rows; ++row) {
    for (int k = 0; k < t.depth; ++k) {
      const float a = x[row * t.depth + k];
      for (int column = 0; column < t.columns; ++column) {
        d[row * t.columns + column] += a * y[k * t.columns + column];
      }
    }
  }
  for (int lane = 0; lane < wave; ++lane) {
    for (int e = 0; e < t.ne; ++e) {
      const auto& place = t.d[static_cast<size_t>(lane * t.ne + e)];
      static_cast<float*>(out[lane])[e] =
          valid ? d[place.row * t.columns + place.column] : std::numeric_limits<float>::quiet_NaN();
    }
  }
}

}  // namespace

void EmulateMatrix(MatrixInstruction instruction, DType type, const uint32_t* x, const uint32_t* y,
                   float* c, int elements) {
  const Tables& tables = TablesOf(instruction);
  const Multiplication multiplication{tables, type};
  const LaneInput input{x, y, c};
  float result[16];
  Collective(&input, result, tables.wave, &Multiply, &multiplication);
  for (int e = 0; e < elements; ++e) c[e] = result[e];
}

}  // namespace tessera::simt::emulator
