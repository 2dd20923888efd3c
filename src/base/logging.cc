#include "base/logging.h"

#include <cstdio>
#include <string>
#include <utility>

namespace tessera {

const char* ToString(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "debug";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarning:
      return "warning";
    case LogLevel::kError:
      return "error";
    case LogLevel::kOff:
      return "off";
  }
  return "unknown";
}

Logger::Logger(LogLevel level, Sink sink)
    : level_(sink ? level : LogLevel::kOff), sink_(std::move(sink)) {}

Logger StderrLogger(LogLevel level) {
  return Logger(level, [](LogLevel message_level, std::string_view message) {
    std::string line = ToString(message_level);
    line.append(": ").append(message).append("\n");
    std::fwrite(line.data(), 1, line.size(), stderr);
  });
}

}  // namespace tessera
