// Numbers as people read them, and files as strings.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "tessera/result.h"

namespace tessera {

// "512 B", "15.1 MB", "2.0 GB" (powers of 1000).
std::string FormatBytes(double bytes);

// "0.05 s", "12.3 s", "4 min 05 s", "2 h 03 min".
std::string FormatSeconds(double seconds);

// "7", "1,234", "12.5 k": three digits at least.
std::string FormatRate(double per_second);

// "4096", "512MB", "2GiB", "1.5 g": a unit of K, M, G or T, with or without "B" counts 1000, with
// "i" 1024. A bare number counts bytes.
Result<int64_t> ParseBytes(std::string_view text);

// The whole of a file; "-" is standard input.
Result<std::string> ReadTextFile(const std::string& path);

// Replaces the file's content.
Status WriteTextFile(const std::string& path, std::string_view text);

}  // namespace tessera
