#include "cli/machine.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <system_error>

#include "cli/text.h"

namespace tessera {
namespace {

// Variables of the program and of its tests.
constexpr std::string_view kKnownVariables[] = {
    "TESSERA_ATTENTION_BACKEND", "TESSERA_DTYPE",      "TESSERA_KV_CACHE_SIZE", "TESSERA_MODEL",
    "TESSERA_SOURCE_DIR",        "TESSERA_TEST_SCALE", "TESSERA_THREADS",
};

std::string FileOrEmpty(const std::string& path) {
  auto text = ReadTextFile(path);
  return text.ok() ? std::move(*text) : std::string();
}

// The smallest limit of this process's control group and those above it (version 2), or version
// 1's.
int64_t MemoryLimit() {
  int64_t limit = -1;
  const auto take = [&](const std::string& path) {
    const int64_t bytes = CgroupLimitBytes(FileOrEmpty(path));
    if (bytes >= 0 && (limit < 0 || bytes < limit)) limit = bytes;
  };
  const std::string groups = FileOrEmpty("/proc/self/cgroup");
  const size_t at = groups.find("0::/");
  if (at != std::string::npos) {
    std::string path = groups.substr(at + 3, groups.find('\n', at) - at - 3);
    while (!path.empty()) {
      take("/sys/fs/cgroup" + path + "/memory.max");
      path.erase(path.rfind('/'));
    }
  }
  take("/sys/fs/cgroup/memory.max");
  take("/sys/fs/cgroup/memory/memory.limit_in_bytes");
  return limit;
}

}  // namespace

int64_t MemInfoBytes(std::string_view meminfo, std::string_view key) {
  const std::string wanted = std::string(key) + ":";
  size_t at = meminfo.starts_with(wanted) ? 0 : meminfo.find("\n" + wanted);
  if (at == std::string_view::npos) return -1;
  at = meminfo.find_first_of("0123456789", at);
  if (at == std::string_view::npos) return -1;
  int64_t kilobytes = -1;
  std::from_chars(meminfo.data() + at, meminfo.data() + meminfo.size(), kilobytes);
  return kilobytes < 0 ? -1 : kilobytes * 1024;
}

int64_t CgroupLimitBytes(std::string_view content) {
  int64_t bytes = 0;
  const auto [end, error] = std::from_chars(content.data(), content.data() + content.size(), bytes);
  // Version 1 writes a number near 2^63 for "no limit".
  if (error != std::errc() || bytes > std::numeric_limits<int64_t>::max() / 2) return -1;
  return bytes;
}

MemoryFacts ReadMemoryFacts() {
  const std::string meminfo = FileOrEmpty("/proc/meminfo");
  return {std::max<int64_t>(0, MemInfoBytes(meminfo, "MemTotal")),
          std::max<int64_t>(0, MemInfoBytes(meminfo, "MemAvailable")), MemoryLimit()};
}

std::vector<std::pair<std::string, std::string>> TesseraVariables() {
  std::vector<std::pair<std::string, std::string>> variables;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const size_t equals = text.find('=');
    if (!text.starts_with("TESSERA_") || equals == std::string_view::npos) continue;
    variables.emplace_back(text.substr(0, equals), text.substr(equals + 1));
  }
  std::sort(variables.begin(), variables.end());
  return variables;
}

std::string VariableWarning(const std::string& name) {
  std::string_view nearest;
  int distance = std::numeric_limits<int>::max();
  for (const std::string_view known : kKnownVariables) {
    const int d = EditDistance(name, known);
    if (d == 0) return "";
    if (d < distance) {
      distance = d;
      nearest = known;
    }
  }
  const std::string start = name + " is set, but nothing reads it";
  return distance <= 5 ? start + "; " + std::string(nearest) + " is probably meant" : start;
}

}  // namespace tessera
