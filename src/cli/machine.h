// Facts about the machine for `tessera doctor`.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tessera {

struct MemoryFacts {
  int64_t total_bytes = 0;
  int64_t available_bytes = 0;
  int64_t limit_bytes = -1;  // of the control group that the process runs in; -1: none
};

MemoryFacts ReadMemoryFacts();

// "MemTotal:  123 kB" of /proc/meminfo's text; -1 where there is no such line.
int64_t MemInfoBytes(std::string_view meminfo, std::string_view key);

// Content of a control group's memory limit; -1 for "max", an unlimited number or no number.
int64_t CgroupLimitBytes(std::string_view content);

// The variables that begin with TESSERA_, with their values.
std::vector<std::pair<std::string, std::string>> TesseraVariables();

// "" where the program knows the variable, else what is probably meant.
std::string VariableWarning(const std::string& name);

}  // namespace tessera
