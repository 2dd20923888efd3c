#include <cstdint>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "base/cpu_affinity.h"
#include "base/memory.h"
#include "device/cpu/cpu_features.h"
#include "tessera/device.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace tessera {
namespace {

std::string Trimmed(std::string text) {
  constexpr const char* kBlanks = " \t\r\n";
  text.erase(text.find_last_not_of(kBlanks) + 1);
  text.erase(0, text.find_first_not_of(kBlanks));
  return text;
}

// What stands after "key :" at its first occurrence in /proc/cpuinfo, or nothing.
std::string CpuInfoField(std::string_view key) {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(':');
    if (colon == std::string::npos || Trimmed(line.substr(0, colon)) != key) continue;
    return Trimmed(line.substr(colon + 1));
  }
  return {};
}

#if defined(__x86_64__)

uint64_t ReadXcr0() {
  uint32_t low = 0;
  uint32_t high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
}

std::vector<std::string> Features() {
  constexpr uint32_t kOsUsesXsave = 1u << 27;
  X86Registers registers;
  uint32_t eax = 0;
  uint32_t ebx = 0;
  uint32_t ecx = 0;
  uint32_t edx = 0;
  if (__get_cpuid(1, &eax, &ebx, &registers.leaf1_ecx, &edx) == 0) return {};
  if ((registers.leaf1_ecx & kOsUsesXsave) != 0) registers.xcr0 = ReadXcr0();
  if (__get_cpuid_count(7, 0, &eax, &registers.leaf7_ebx, &registers.leaf7_ecx,
                        &registers.leaf7_edx) != 0 &&
      eax >= 1) {  // the highest subleaf
    __get_cpuid_count(7, 1, &registers.leaf7_subleaf1_eax, &ebx, &ecx, &edx);
  }
  return X86Features(registers);
}

std::string Name() {
  const std::string name = CpuInfoField("model name");
  return name.empty() ? "x86_64 CPU" : name;
}

constexpr const char* kArch = "x86_64";

#elif defined(__aarch64__)

static_assert(HWCAP_ASIMD == 1 << 1 && HWCAP_ASIMDHP == 1 << 10 && HWCAP_ASIMDDP == 1 << 20 &&
              HWCAP_SVE == 1 << 22 && HWCAP_ASIMDFHM == 1 << 23);
static_assert(HWCAP2_SVE2 == 1 << 1 && HWCAP2_SVEI8MM == 1 << 9 && HWCAP2_SVEBF16 == 1 << 12 &&
              HWCAP2_I8MM == 1 << 13 && HWCAP2_BF16 == 1 << 14);

std::vector<std::string> Features() {
  return ArmFeatures(getauxval(AT_HWCAP), getauxval(AT_HWCAP2));
}

// Most kernels tell numbers only, of the maker and of the design.
std::string Name() {
  const std::string name = CpuInfoField("model name");
  if (!name.empty()) return name;
  const std::string implementer = CpuInfoField("CPU implementer");
  const std::string part = CpuInfoField("CPU part");
  if (implementer.empty() || part.empty()) return "aarch64 CPU";
  return "aarch64 CPU (implementer " + implementer + ", part " + part + ")";
}

constexpr const char* kArch = "aarch64";

#else

std::vector<std::string> Features() { return {}; }
std::string Name() { return "CPU"; }
constexpr const char* kArch = "unknown";

#endif

// "1024K" or "2M" as Linux writes the sizes of caches.
int64_t ParseCacheSize(const std::string& text) {
  int64_t size = 0;
  size_t digits = 0;
  for (; digits < text.size() && text[digits] >= '0' && text[digits] <= '9'; ++digits) {
    size = size * 10 + (text[digits] - '0');
  }
  const char unit = digits < text.size() ? text[digits] : ' ';
  if (unit == 'K') return size << 10;
  return unit == 'M' ? size << 20 : size;
}

// 0 if the system does not tell.
int64_t L2Bytes(int core) {
  const std::string folder = "/sys/devices/system/cpu/cpu" + std::to_string(core) + "/cache/index";
  for (int index = 0;; ++index) {
    const std::string cache = folder + std::to_string(index);
    int level = 0;
    if (!(std::ifstream(cache + "/level") >> level)) return 0;
    std::string size;
    if (level == 2 && std::ifstream(cache + "/size") >> size) return ParseCacheSize(size);
  }
}

}  // namespace

const char* ToString(DeviceKind kind) {
  switch (kind) {
    case DeviceKind::kCpu:
      return "cpu";
    case DeviceKind::kCuda:
      return "cuda";
    case DeviceKind::kHip:
      return "hip";
    case DeviceKind::kXpu:
      return "xpu";
    case DeviceKind::kSimt:
      return "simt";
  }
  return "unknown";
}

DeviceInfo DetectCpu() {
  const std::vector<int> cores = AllowedCores();
  DeviceInfo info;
  info.kind = DeviceKind::kCpu;
  info.name = Name();
  info.arch = kArch;
  info.features = Features();
  info.num_units = static_cast<int>(cores.size());
  info.memory_bytes = TotalMemoryBytes();
  info.l2_bytes = L2Bytes(cores.front());
  return info;
}

}  // namespace tessera
