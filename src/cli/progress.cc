#include "cli/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "cli/text.h"

namespace tessera {
namespace {

constexpr double kBarInterval = 0.1;  // seconds
constexpr int kBarWidth = 30;

std::string Amount(int64_t value, bool as_bytes) {
  return as_bytes ? FormatBytes(static_cast<double>(value)) : std::to_string(value);
}

}  // namespace

std::string FormatProgress(const std::string& title, int64_t done, int64_t total, double seconds,
                           bool as_bytes, int width) {
  std::string line = title;
  if (total > 0 && width > 0) {
    const double share = std::clamp(static_cast<double>(done) / static_cast<double>(total), 0., 1.);
    const int filled = static_cast<int>(share * width);
    line += " [" + std::string(static_cast<size_t>(filled), '=');
    if (filled < width) line += '>' + std::string(static_cast<size_t>(width - filled - 1), ' ');
    line += ']';
  }
  line += "  " + Amount(done, as_bytes);
  if (total > 0) line += "/" + Amount(total, as_bytes);
  const double rate = seconds > 0 ? static_cast<double>(done) / seconds : 0;
  line += "  " + (as_bytes ? FormatBytes(rate) : FormatRate(rate)) + "/s";
  if (total > 0 && done < total && rate > 0) {
    line += "  eta " + FormatSeconds(static_cast<double>(total - done) / rate);
  }
  return line;
}

Progress::Progress(Options options)
    : options_(std::move(options)), terminal_(isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() { Finish(); }

void Progress::Update(int64_t done) {
  if (finished_ || options_.quiet) return;
  const Clock::time_point now = Clock::now();
  const double since = std::chrono::duration<double>(now - last_).count();
  if (since < (terminal_ ? kBarInterval : options_.line_interval)) return;
  last_ = now;
  shown_ = true;
  const double seconds = std::chrono::duration<double>(now - start_).count();
  const std::string line = FormatProgress(options_.title, done, options_.total, seconds,
                                          options_.as_bytes, terminal_ ? kBarWidth : 0);
  // On a terminal the line is written over: back to its start, and cleared after its end.
  std::fprintf(stderr, terminal_ ? "\r%s\x1b[K" : "%s\n", line.c_str());
  std::fflush(stderr);
}

void Progress::Finish() {
  if (finished_) return;
  finished_ = true;
  if (shown_ && terminal_) {
    std::fputs("\r\x1b[K", stderr);
    std::fflush(stderr);
  }
}

}  // namespace tessera
