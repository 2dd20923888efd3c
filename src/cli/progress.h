// Progress of long work on stderr: a bar on a terminal, otherwise a line now and then.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace tessera {

// One line: "eval portable [=====>    ]  250/500  12.5/s  eta 20.0 s". `width` is the bar's.
// total 0: unknown.
std::string FormatProgress(const std::string& title, int64_t done, int64_t total, double seconds,
                           bool as_bytes, int width);

// Not thread-safe.
class Progress {
 public:
  struct Options {
    std::string title;
    int64_t total = 0;
    bool as_bytes = false;      // counts bytes rather than things
    bool quiet = false;         // prints nothing
    double line_interval = 10;  // seconds between lines if stderr is no terminal
  };

  explicit Progress(Options options);
  ~Progress();  // ends the bar's line
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // Prints when enough time has passed since the last time, or `done` is the total.
  void Update(int64_t done);

  // Takes the bar away; further updates print nothing.
  void Finish();

 private:
  using Clock = std::chrono::steady_clock;

  const Options options_;
  const bool terminal_;
  const Clock::time_point start_ = Clock::now();
  Clock::time_point last_ = start_;
  bool shown_ = false;
  bool finished_ = false;
};

}  // namespace tessera
