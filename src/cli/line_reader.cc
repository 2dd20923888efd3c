#include "cli/line_reader.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>

namespace tessera {

LineReader::Outcome LineReader::Next(std::string* line) {
  while (true) {
    const size_t end = buffer_.find('\n');
    if (end != std::string::npos) {
      *line = buffer_.substr(0, end);
      buffer_.erase(0, end + 1);
      if (line->ends_with('\r')) line->pop_back();
      return Outcome::kLine;
    }
    if (at_end_) {
      if (buffer_.empty()) return Outcome::kEnd;
      line->swap(buffer_);
      buffer_.clear();
      return Outcome::kLine;
    }
    pollfd wanted[2] = {{STDIN_FILENO, POLLIN, 0}, {interrupts_->descriptor(), POLLIN, 0}};
    if (poll(wanted, 2, -1) < 0 && errno != EINTR) return Outcome::kEnd;
    if (interrupts_->Take()) return Outcome::kInterrupted;
    if (wanted[0].revents == 0) continue;
    char piece[4096];
    const ssize_t count = read(STDIN_FILENO, piece, sizeof(piece));
    if (count > 0) {
      buffer_.append(piece, static_cast<size_t>(count));
    } else if (count == 0 || errno != EINTR) {
      at_end_ = true;
    }
  }
}

}  // namespace tessera
