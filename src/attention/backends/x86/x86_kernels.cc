#include "attention/backends/x86/x86_kernels.h"

#include "attention/backends/x86/kernel_instances.h"
#include "device/cpu/amx_permission.h"

namespace tessera::x86 {

const char* ToString(Family family) {
  switch (family) {
    case Family::kAvx512:
      return "avx512";
    case Family::kAvx512Bf16:
      return "avx512_bf16";
    case Family::kAmx:
      return "amx";
  }
  return "unknown";
}

std::vector<std::string> MissingRequirements(Family family, const DeviceInfo& cpu) {
  if (cpu.arch != "x86_64") {
    return {"it is written for x86-64 processors, and this is " + cpu.name + " (" + cpu.arch + ")"};
  }
  std::vector<std::string> needed = {"avx2",     "fma",      "f16c",    "avx512f",
                                     "avx512bw", "avx512dq", "avx512vl"};
  // Only Cooper Lake has the one without the other; there float32 is faster anyway.
  if (family != Family::kAvx512) needed.insert(needed.end(), {"avx512_bf16", "avx512_vbmi"});
  if (family == Family::kAmx) needed.insert(needed.end(), {"amx_tile", "amx_bf16"});
  std::string missing;
  for (const std::string& feature : needed) {
    if (!cpu.Has(feature)) missing += (missing.empty() ? "" : ", ") + feature;
  }
  if (!missing.empty()) {
    return {"it needs " + missing + ", which " + cpu.name +
            " does not have or whose registers the operating system does not save"};
  }
  if (family == Family::kAmx && !RequestAmx()) {
    return {"the operating system does not let this process use the registers of AMX"};
  }
  return {};
}

#if defined(__x86_64__)

Kernels KernelsFor(Family family, DType cache_dtype) {
  if (family == Family::kAvx512Bf16) return Avx512Bf16Kernels(cache_dtype);
  if (family == Family::kAmx) return AmxKernels(cache_dtype);
  return Avx512Kernels(cache_dtype);
}

#else

Kernels KernelsFor(Family, DType) { return {}; }

#endif

}  // namespace tessera::x86
