// The process's environment variables, read once and handed on: nothing else calls getenv, so that
// tests can make up an environment and no thread races with setenv.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tessera/result.h"

namespace tessera {

// An immutable snapshot. A variable that is set to the empty string counts as not set.
class Environment {
 public:
  Environment() = default;
  explicit Environment(std::map<std::string, std::string, std::less<>> variables)
      : variables_(std::move(variables)) {}

  static Environment OfProcess();

  std::optional<std::string> String(std::string_view name) const;

  // A decimal number from `min` to `max`; `fallback` if the variable is not set.
  Result<int64_t> Int(std::string_view name, int64_t fallback, int64_t min, int64_t max) const;

  // 1/0, true/false, yes/no, on/off in any case; `fallback` if the variable is not set.
  Result<bool> Bool(std::string_view name, bool fallback) const;

  // The names of all variables that begin with `prefix`, the empty ones too, in alphabetical order:
  // for warnings about variables that nothing reads.
  std::vector<std::string> NamesWithPrefix(std::string_view prefix) const;

 private:
  std::map<std::string, std::string, std::less<>> variables_;
};

}  // namespace tessera
