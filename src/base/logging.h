// Messages for those who run the program. A Logger is handed to those that log; there is no global
// one, so that a program that embeds the library decides where its messages go.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

namespace tessera {

enum class LogLevel : uint8_t { kDebug, kInfo, kWarning, kError, kOff };

// "debug", "info", "warning", "error", "off".
const char* ToString(LogLevel level);

// Copies share the sink. Logging is as safe from several threads as the sink is.
class Logger {
 public:
  // Gets one message without a newline at its end; called only for messages that pass the level.
  using Sink = std::function<void(LogLevel level, std::string_view message)>;

  // Drops everything.
  Logger() = default;
  Logger(LogLevel level, Sink sink);

  // True if a message of `level` would reach the sink: to be asked before costly messages are made.
  bool Enabled(LogLevel level) const { return level >= level_ && level < LogLevel::kOff; }

  void Log(LogLevel level, std::string_view message) const {
    if (Enabled(level)) sink_(level, message);
  }
  void Debug(std::string_view message) const { Log(LogLevel::kDebug, message); }
  void Info(std::string_view message) const { Log(LogLevel::kInfo, message); }
  void Warning(std::string_view message) const { Log(LogLevel::kWarning, message); }
  void Error(std::string_view message) const { Log(LogLevel::kError, message); }

 private:
  LogLevel level_ = LogLevel::kOff;
  Sink sink_;
};

// Writes "level: message" lines to standard error, each in one piece: safe from several threads.
Logger StderrLogger(LogLevel level);

}  // namespace tessera
