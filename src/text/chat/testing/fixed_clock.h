#pragma once

#include <ctime>

#include "text/chat/chat_template.h"

namespace tessera::testing {

// 2025-03-09 14:05:06, a Sunday: the clock of tests/oracles/record_chat_templates.py.
inline RenderOptions FixedClock() {
  RenderOptions options;
  options.now = std::tm{};
  options.now->tm_year = 125;
  options.now->tm_mon = 2;
  options.now->tm_mday = 9;
  options.now->tm_hour = 14;
  options.now->tm_min = 5;
  options.now->tm_sec = 6;
  options.now->tm_yday = 67;
  return options;
}

}  // namespace tessera::testing
