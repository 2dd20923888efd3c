#include "base/memory.h"

#include <sys/mman.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>
#include <optional>
#include <string_view>

#include "base/control_group.h"

namespace tessera {
namespace {

constexpr int64_t kHuge = AlignedBuffer::kHugePageBytes;

int64_t RoundUp(int64_t bytes, int64_t multiple) {
  return (bytes + multiple - 1) / multiple * multiple;
}

// Whole huge pages, so that the last one is huge as well.
void* MapHuge(int64_t bytes) {
  const size_t wanted = static_cast<size_t>(RoundUp(bytes, kHuge));
  const size_t mapped = wanted + static_cast<size_t>(kHuge);
  void* const start =
      mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (start == MAP_FAILED) return nullptr;
  // The mapping starts at any page: what lies before and after the aligned part goes back.
  const uintptr_t address = reinterpret_cast<uintptr_t>(start);
  const size_t before = (static_cast<size_t>(kHuge) - address % static_cast<size_t>(kHuge)) %
                        static_cast<size_t>(kHuge);
  char* const aligned = static_cast<char*>(start) + before;
  if (before > 0) munmap(start, before);
  munmap(aligned + wanted, mapped - wanted - before);
  // A refusal (no huge pages configured) costs speed only.
  madvise(aligned, wanted, MADV_HUGEPAGE);
  return aligned;
}

// The bytes that a line such as "MemTotal:  1234 kB" tells.
std::optional<int64_t> ReadKilobytes(const std::string& path, std::string_view key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (!std::string_view(line).starts_with(key)) continue;
    return std::strtoll(line.c_str() + key.size(), nullptr, 10) * 1024;
  }
  return std::nullopt;
}

}  // namespace

Result<AlignedBuffer> AlignedBuffer::Allocate(int64_t bytes) {
  if (bytes < 0) {
    return InvalidArgument("a buffer of " + std::to_string(bytes) +
                           " bytes was asked for: its size overflowed or was given wrong");
  }
  if (bytes == 0) return AlignedBuffer();
  void* data = nullptr;
  if (bytes >= kHuge) {
    if (bytes <= std::numeric_limits<int64_t>::max() - 2 * kHuge) data = MapHuge(bytes);
  } else {
    const size_t rounded = static_cast<size_t>(RoundUp(bytes, kSmallAlignment));
    data = std::aligned_alloc(static_cast<size_t>(kSmallAlignment), rounded);
    if (data != nullptr) std::memset(data, 0, rounded);
  }
  if (data == nullptr) {
    return OutOfMemory("the system refused " + std::to_string(bytes) + " bytes of memory; about " +
                       std::to_string(AvailableMemoryBytes()) + " bytes are free");
  }
  return AlignedBuffer(data, bytes);
}

AlignedBuffer& AlignedBuffer::operator=(AlignedBuffer&& other) noexcept {
  if (this != &other) {
    Free();
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

void AlignedBuffer::Free() {
  if (size_ >= kHuge) {
    munmap(data_, static_cast<size_t>(RoundUp(size_, kHuge)));
  } else {
    std::free(data_);
  }
}

int64_t TotalMemoryBytes(const std::string& root) {
  const int64_t machine = ReadKilobytes(root + "/proc/meminfo", "MemTotal:").value_or(0);
  const int64_t limit = ReadControlGroupMemory(root).limit_bytes.value_or(machine);
  return machine > 0 ? std::min(machine, limit) : limit;
}

int64_t AvailableMemoryBytes(const std::string& root) {
  const int64_t machine = ReadKilobytes(root + "/proc/meminfo", "MemAvailable:").value_or(0);
  const int64_t left = ReadControlGroupMemory(root).available_bytes.value_or(machine);
  return machine > 0 ? std::min(machine, left) : left;
}

int64_t PeakResidentBytes() {
  // getrusage also counts what the program that started this one had in RAM before exec, so it is
  // only the second choice.
  if (const auto peak = ReadKilobytes("/proc/self/status", "VmHWM:")) return *peak;
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<int64_t>(usage.ru_maxrss) * 1024;
}

}  // namespace tessera
