#include "base/logging.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace tessera {
namespace {

constexpr LogLevel kLevels[] = {LogLevel::kDebug, LogLevel::kInfo, LogLevel::kWarning,
                                LogLevel::kError};

TEST(Logger, PassesMessagesFromItsLevelOn) {
  for (LogLevel threshold :
       {LogLevel::kDebug, LogLevel::kInfo, LogLevel::kWarning, LogLevel::kError, LogLevel::kOff}) {
    std::vector<std::string> seen;
    const Logger logger(threshold, [&](LogLevel level, std::string_view message) {
      seen.push_back(std::string(ToString(level)).append(":").append(message));
    });
    logger.Debug("a");
    logger.Info("b");
    logger.Warning("c");
    logger.Error("d");
    logger.Log(LogLevel::kOff, "never");
    const std::vector<std::string> all = {"debug:a", "info:b", "warning:c", "error:d"};
    const auto first = all.begin() + static_cast<int>(threshold);
    EXPECT_EQ(seen, std::vector<std::string>(first, all.end()));
    for (LogLevel level : kLevels) EXPECT_EQ(logger.Enabled(level), level >= threshold);
  }
}

TEST(Logger, WithoutASinkDropsEverything) {
  const Logger silent;
  const Logger empty(LogLevel::kDebug, nullptr);
  for (LogLevel level : kLevels) {
    EXPECT_FALSE(silent.Enabled(level));
    EXPECT_FALSE(empty.Enabled(level));
    silent.Log(level, "nobody hears");
    empty.Log(level, "nobody hears");
  }
}

TEST(Logger, StandardErrorGetsWholeLines) {
  testing::internal::CaptureStderr();
  const Logger logger = StderrLogger(LogLevel::kInfo);
  logger.Debug("hidden");
  logger.Warning("100% shown");
  logger.Info("");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "warning: 100% shown\ninfo: \n");
}

}  // namespace
}  // namespace tessera
