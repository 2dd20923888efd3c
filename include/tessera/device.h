// What a backend needs to know about a machine in order to say whether it can work there.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tessera {

enum class DeviceKind : uint8_t { kCpu, kCuda, kHip, kXpu };

// "cpu", "cuda", "hip", "xpu".
const char* ToString(DeviceKind kind);

// Plain facts; tests make up devices that nobody has at hand.
struct DeviceInfo {
  DeviceKind kind = DeviceKind::kCpu;
  std::string name;                   // "AMD EPYC 9575F", "NVIDIA H200", "AMD Instinct MI300X"
  std::string arch;                   // "x86_64", "aarch64"; "sm_90"; "gfx942"
  std::vector<std::string> features;  // CPU: "avx2", "avx512f", "avx512_bf16", "amx_bf16", ...
  int num_units = 0;                  // cores, or multiprocessors / compute units
  int64_t memory_bytes = 0;           // total
  int64_t l2_bytes = 0;               // per core on a CPU, whole on a GPU

  bool Has(const std::string& feature) const {
    for (const std::string& f : features) {
      if (f == feature) return true;
    }
    return false;
  }
};

// This machine's CPU.
DeviceInfo DetectCpu();

}  // namespace tessera
