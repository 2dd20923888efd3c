#include "cli/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <system_error>
#include <vector>

namespace tessera {
namespace {

struct CloseFile {
  void operator()(std::FILE* file) const {
    if (file != stdin) std::fclose(file);
  }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

}  // namespace

std::string FormatBytes(double bytes) {
  static constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB"};
  size_t unit = 0;
  while (bytes >= 1000 && unit + 1 < std::size(kUnits)) {
    bytes /= 1000;
    ++unit;
  }
  return fmt::format("{:.{}f} {}", bytes, unit == 0 ? 0 : 1, kUnits[unit]);
}

std::string FormatSeconds(double seconds) {
  if (!(seconds >= 0) || seconds > 1e9) return "?";
  if (seconds < 9.995) return fmt::format("{:.2f} s", seconds);
  if (seconds < 59.95) return fmt::format("{:.1f} s", seconds);
  const int64_t whole = std::llround(seconds);
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02} min", whole / 3600, whole % 3600 / 60);
}

std::string FormatRate(double per_second) {
  if (!std::isfinite(per_second) || per_second < 0) return "?";
  if (per_second < 9.95) return fmt::format("{:.1f}", per_second);
  const int64_t whole = std::llround(per_second);
  if (whole < 1000) return fmt::format("{}", whole);
  if (whole < 10000) return fmt::format("{},{:03}", whole / 1000, whole % 1000);
  if (whole < 1000000) return fmt::format("{:.1f} k", per_second / 1e3);
  return fmt::format("{:.1f} M", per_second / 1e6);
}

Result<int64_t> ParseBytes(std::string_view text) {
  const Error wrong = InvalidArgument(
      fmt::format("'{}' is not a size; write a number with a unit, as 512MB or 2GiB", text));
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || !(number >= 0)) return wrong;

  std::string unit;
  for (const char c : text.substr(static_cast<size_t>(end - text.data()))) {
    if (c != ' ') unit += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  if (unit.ends_with('b')) unit.pop_back();
  const bool binary = unit.ends_with('i');
  if (binary) unit.pop_back();
  static constexpr std::string_view kUnits = "kmgt";
  int power = 0;
  if (!unit.empty() || binary) {
    const size_t at = unit.size() == 1 ? kUnits.find(unit[0]) : std::string_view::npos;
    if (at == std::string_view::npos) return wrong;
    power = static_cast<int>(at) + 1;
  }
  const double bytes = number * std::pow(binary ? 1024.0 : 1000.0, power);
  if (bytes > 9e18) return wrong;
  return static_cast<int64_t>(bytes);
}

Result<std::string> ReadTextFile(const std::string& path) {
  std::error_code ignored;
  if (path != "-" && std::filesystem::is_directory(path, ignored)) {
    return InvalidArgument(path + " is a directory; a file is needed here");
  }
  const File file(path == "-" ? stdin : std::fopen(path.c_str(), "rb"));
  if (!file) {
    const std::string message = "cannot read " + path + ": " + std::strerror(errno);
    return errno == ENOENT ? NotFound(message) : IoError(message);
  }
  std::string text;
  char buffer[65536];
  for (size_t count; (count = std::fread(buffer, 1, sizeof(buffer), file.get())) > 0;) {
    text.append(buffer, count);
  }
  if (std::ferror(file.get()) != 0) return IoError("cannot read " + path + " to its end");
  return text;
}

Status WriteTextFile(const std::string& path, std::string_view text) {
  File file(std::fopen(path.c_str(), "wb"));
  if (!file) return IoError("cannot write " + path + ": " + std::strerror(errno));
  const bool written = std::fwrite(text.data(), 1, text.size(), file.get()) == text.size();
  if (std::fclose(file.release()) != 0 || !written) {
    return IoError("cannot write all of " + path + ": " + std::strerror(errno));
  }
  return {};
}

}  // namespace tessera
