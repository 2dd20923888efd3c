#include "base/environment.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>

namespace tessera {
namespace {

Error BadValue(std::string_view name, const std::string& value, const std::string& expected) {
  return InvalidArgument(std::string(name)
                             .append(" is \"")
                             .append(value)
                             .append("\" in the environment, but must be ")
                             .append(expected));
}

}  // namespace

Environment Environment::OfProcess() {
  Environment environment;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const size_t equals = text.find('=');
    if (equals == std::string_view::npos) continue;
    // Of a name that stands there twice, getenv returns the first.
    environment.variables_.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return environment;
}

std::optional<std::string> Environment::String(std::string_view name) const {
  const auto found = variables_.find(name);
  if (found == variables_.end() || found->second.empty()) return std::nullopt;
  return found->second;
}

Result<int64_t> Environment::Int(std::string_view name, int64_t fallback, int64_t min,
                                 int64_t max) const {
  const std::optional<std::string> text = String(name);
  if (!text) return fallback;
  int64_t number = 0;
  const char* const end = text->data() + text->size();
  const auto [rest, error] = std::from_chars(text->data(), end, number);
  if (error != std::errc{} || rest != end || number < min || number > max) {
    return BadValue(name, *text,
                    "a whole number from " + std::to_string(min) + " to " + std::to_string(max));
  }
  return number;
}

Result<bool> Environment::Bool(std::string_view name, bool fallback) const {
  const std::optional<std::string> text = String(name);
  if (!text) return fallback;
  std::string lower = *text;
  std::transform(lower.begin(), lower.end(), lower.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  if (lower == "1" || lower == "true" || lower == "yes" || lower == "on") return true;
  if (lower == "0" || lower == "false" || lower == "no" || lower == "off") return false;
  return BadValue(name, *text, "1 or 0 (also true or false, yes or no, on or off)");
}

std::vector<std::string> Environment::NamesWithPrefix(std::string_view prefix) const {
  std::vector<std::string> names;
  for (auto it = variables_.lower_bound(prefix);
       it != variables_.end() && std::string_view(it->first).starts_with(prefix); ++it) {
    names.push_back(it->first);
  }
  return names;
}

}  // namespace tessera
