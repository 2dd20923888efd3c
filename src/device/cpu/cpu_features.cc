#include "device/cpu/cpu_features.h"

namespace tessera {
namespace {

constexpr bool Bit(uint64_t word, int bit) { return ((word >> bit) & 1u) != 0; }

// XCR0: which registers the system saves when it switches threads.
constexpr uint64_t kAvxState = 0x6;      // XMM, upper halves of YMM
constexpr uint64_t kAvx512State = 0xe6;  // and masks, upper halves of ZMM, ZMM16-31
constexpr uint64_t kAmxState = 0x60000;  // tile configuration, tile data

struct Feature {
  const char* name;
  uint64_t word;
  int bit;
};

template <size_t kCount>
void Append(const Feature (&table)[kCount], std::vector<std::string>& features) {
  for (const Feature& feature : table) {
    if (Bit(feature.word, feature.bit)) features.emplace_back(feature.name);
  }
}

}  // namespace

std::vector<std::string> X86Features(const X86Registers& r) {
  const auto saves = [&](uint64_t state) { return (r.xcr0 & state) == state; };
  std::vector<std::string> features;
  constexpr int kAvxBit = 28;
  if (saves(kAvxState) && Bit(r.leaf1_ecx, kAvxBit)) {
    const Feature avx[] = {{"fma", r.leaf1_ecx, 12},
                           {"f16c", r.leaf1_ecx, 29},
                           {"avx2", r.leaf7_ebx, 5},
                           {"avx_vnni", r.leaf7_subleaf1_eax, 4}};
    Append(avx, features);
  }
  constexpr int kAvx512FBit = 16;
  if (saves(kAvx512State) && Bit(r.leaf7_ebx, kAvx512FBit)) {
    const Feature avx512[] = {{"avx512f", r.leaf7_ebx, kAvx512FBit},
                              {"avx512dq", r.leaf7_ebx, 17},
                              {"avx512bw", r.leaf7_ebx, 30},
                              {"avx512vl", r.leaf7_ebx, 31},
                              {"avx512_vbmi", r.leaf7_ecx, 1},
                              {"avx512_vnni", r.leaf7_ecx, 11},
                              {"avx512_bf16", r.leaf7_subleaf1_eax, 5},
                              {"avx512_fp16", r.leaf7_edx, 23}};
    Append(avx512, features);
  }
  constexpr int kAmxTileBit = 24;
  if (saves(kAmxState) && Bit(r.leaf7_edx, kAmxTileBit)) {
    const Feature amx[] = {{"amx_tile", r.leaf7_edx, kAmxTileBit},
                           {"amx_bf16", r.leaf7_edx, 22},
                           {"amx_int8", r.leaf7_edx, 25},
                           {"amx_fp16", r.leaf7_subleaf1_eax, 21}};
    Append(amx, features);
  }
  return features;
}

std::vector<std::string> ArmFeatures(uint64_t hwcap, uint64_t hwcap2) {
  const Feature table[] = {{"asimd", hwcap, 1},     {"asimdhp", hwcap, 10}, {"asimddp", hwcap, 20},
                           {"asimdfhm", hwcap, 23}, {"sve", hwcap, 22},     {"sve2", hwcap2, 1},
                           {"svebf16", hwcap2, 12}, {"svei8mm", hwcap2, 9}, {"i8mm", hwcap2, 13},
                           {"bf16", hwcap2, 14},    {"sme", hwcap2, 23}};
  std::vector<std::string> features;
  Append(table, features);
  return features;
}

}  // namespace tessera
