#include "base/control_group.h"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string_view>
#include <vector>

namespace tessera {
namespace {

// Version 1 says "no limit" with a number near 2^63, rounded down to a page.
constexpr int64_t kUnlimited = int64_t{1} << 60;

std::optional<int64_t> ReadNumber(const std::string& path) {
  std::ifstream file(path);
  int64_t number = 0;
  if (!(file >> number)) return std::nullopt;  // also for version 2's "max"
  return number;
}

// The number after `key` in a file of "key number" lines.
int64_t ReadField(const std::string& path, std::string_view key) {
  std::ifstream file(path);
  std::string name;
  int64_t number = 0;
  while (file >> name >> number) {
    if (name == key) return number;
  }
  return 0;
}

// This process's path in the hierarchy of `controller` (version 2: ""), as /proc/self/cgroup has
// it in lines of "number:controllers:path".
std::optional<std::string> GroupPath(const std::string& root, std::string_view controller) {
  std::ifstream file(root + "/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const size_t first = line.find(':');
    const size_t second = line.find(':', first == std::string::npos ? first : first + 1);
    if (second == std::string::npos) continue;
    std::istringstream controllers(line.substr(first + 1, second - first - 1));
    bool matches = controller.empty() && second == first + 1;
    for (std::string name; std::getline(controllers, name, ',');) matches |= name == controller;
    if (matches) return line.substr(second + 1);
  }
  return std::nullopt;
}

// The folders of this process's group and of all groups around it. Folders that a container does
// not show are among them; they merely have no files.
std::vector<std::string> Folders(const std::string& root, const std::vector<std::string>& mounts,
                                 std::string_view controller) {
  const std::optional<std::string> path = GroupPath(root, controller);
  if (!path) return {};
  std::vector<std::string> folders;
  for (const std::string& mount : mounts) {
    for (std::string group = *path;;) {
      while (group.ends_with('/')) group.pop_back();
      folders.push_back(root + mount + group);
      if (group.empty()) break;
      const size_t slash = group.rfind('/');
      group.resize(slash == std::string::npos ? 0 : slash);
    }
  }
  return folders;
}

// The second mount is that of systems that run both versions side by side.
std::vector<std::string> FoldersOfVersion2(const std::string& root) {
  return Folders(root, {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}, "");
}

template <typename T>
void LowerTo(std::optional<T>& least, T value) {
  least = least ? std::min(*least, value) : value;
}

void AddMemoryLimit(ControlGroupMemory& memory, std::optional<int64_t> limit,
                    std::optional<int64_t> used, int64_t droppable) {
  if (!limit || *limit >= kUnlimited) return;
  LowerTo(memory.limit_bytes, *limit);
  const int64_t in_use = std::max<int64_t>(used.value_or(0) - droppable, 0);
  LowerTo(memory.available_bytes, std::max<int64_t>(*limit - in_use, 0));
}

}  // namespace

ControlGroupMemory ReadControlGroupMemory(const std::string& root) {
  ControlGroupMemory memory;
  for (const std::string& folder : FoldersOfVersion2(root)) {
    AddMemoryLimit(memory, ReadNumber(folder + "/memory.max"),
                   ReadNumber(folder + "/memory.current"),
                   ReadField(folder + "/memory.stat", "inactive_file"));
  }
  for (const std::string& folder : Folders(root, {"/sys/fs/cgroup/memory"}, "memory")) {
    AddMemoryLimit(memory, ReadNumber(folder + "/memory.limit_in_bytes"),
                   ReadNumber(folder + "/memory.usage_in_bytes"),
                   ReadField(folder + "/memory.stat", "total_inactive_file"));
  }
  return memory;
}

std::optional<double> ReadControlGroupCpuQuota(const std::string& root) {
  std::optional<double> cores;
  const auto add = [&](std::optional<int64_t> quota, std::optional<int64_t> period) {
    if (!quota || !period || *quota <= 0 || *period <= 0) return;  // version 1: -1 is no quota
    LowerTo(cores, static_cast<double>(*quota) / static_cast<double>(*period));
  };
  for (const std::string& folder : FoldersOfVersion2(root)) {
    std::ifstream file(folder + "/cpu.max");  // "QUOTA PERIOD" or "max PERIOD"
    int64_t quota = 0;
    int64_t period = 0;
    if (file >> quota >> period) add(quota, period);
  }
  for (const std::string& folder :
       Folders(root, {"/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"}, "cpu")) {
    add(ReadNumber(folder + "/cpu.cfs_quota_us"), ReadNumber(folder + "/cpu.cfs_period_us"));
  }
  return cores;
}

}  // namespace tessera
