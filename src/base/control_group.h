// The limits that a container or a job scheduler sets on Linux: control groups, versions 1 and 2.
//
// `root` stands before every path that is read ("" for this machine), so that tests can lay out a
// machine of their own.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace tessera {

struct ControlGroupMemory {
  // The smallest limit of this process's group and all groups around it.
  std::optional<int64_t> limit_bytes;
  // The least that is left below any of these limits. Cached file pages that the system can drop
  // count as free.
  std::optional<int64_t> available_bytes;
};

// Without values if no limit is set.
ControlGroupMemory ReadControlGroupMemory(const std::string& root = "");

// How many cores' worth of time the groups grant, as 2.5; nothing if no quota is set.
std::optional<double> ReadControlGroupCpuQuota(const std::string& root = "");

}  // namespace tessera
