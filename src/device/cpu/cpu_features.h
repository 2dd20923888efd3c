// Names for what a CPU's identification registers say. Pure functions, so that every machine's
// registers can be tested on any machine.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tessera {

// What CPUID and XGETBV return (Intel's Software Developer's Manual, volume 2, CPUID).
struct X86Registers {
  uint32_t leaf1_ecx = 0;
  uint32_t leaf7_ebx = 0;
  uint32_t leaf7_ecx = 0;
  uint32_t leaf7_edx = 0;
  uint32_t leaf7_subleaf1_eax = 0;
  // XCR0, the register states that the operating system saves; 0 if it does not use XSAVE.
  uint64_t xcr0 = 0;
};

// Of fma, f16c, avx2, avx_vnni, avx512f, avx512dq, avx512bw, avx512vl, avx512_vbmi, avx512_vnni,
// avx512_bf16, avx512_fp16, amx_tile, amx_bf16, amx_int8, amx_fp16 those that the CPU has and whose
// registers the operating system saves. (On Linux a process must also ask for AMX's state before it
// uses it.)
std::vector<std::string> X86Features(const X86Registers& registers);

// Of asimd, asimdhp, asimddp, asimdfhm, sve, sve2, svebf16, svei8mm, i8mm, bf16, sme those that
// Linux reports in getauxval's AT_HWCAP and AT_HWCAP2.
std::vector<std::string> ArmFeatures(uint64_t hwcap, uint64_t hwcap2);

}  // namespace tessera
