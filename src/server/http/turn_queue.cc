#include "server/http/turn_queue.h"

#include <boost/asio/post.hpp>
#include <utility>

namespace tessera {

void TurnQueue::Post(const std::string& client, std::function<void()> work) {
  {
    const std::lock_guard lock(mutex_);
    waiting_[client].push_back(std::move(work));
  }
  boost::asio::post(thread_, [this] { RunNext(); });
}

// Runs as often as work was posted, so something waits.
void TurnQueue::RunNext() {
  std::function<void()> work;
  {
    const std::lock_guard lock(mutex_);
    auto next = waiting_.upper_bound(last_);
    if (next == waiting_.end()) next = waiting_.begin();
    work = std::move(next->second.front());
    next->second.pop_front();
    last_ = next->first;
    if (next->second.empty()) waiting_.erase(next);
  }
  work();
}

}  // namespace tessera
