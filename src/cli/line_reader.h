// Lines of standard input, with Ctrl-C as an answer.
#pragma once

#include <string>

#include "cli/interrupt.h"

namespace tessera {

// Reads descriptor 0 itself: nothing else may read from stdin.
class LineReader {
 public:
  enum class Outcome { kLine, kEnd, kInterrupted };

  explicit LineReader(InterruptWatch* interrupts) : interrupts_(interrupts) {}

  // Waits for the next line, without its line break.
  Outcome Next(std::string* line);

 private:
  InterruptWatch* interrupts_;
  std::string buffer_;
  bool at_end_ = false;
};

}  // namespace tessera
