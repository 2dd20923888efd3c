#include "server/http/turn_queue.h"

#include <utility>

namespace tessera {

TurnQueue::TurnQueue() : thread_([this] { Loop(); }) {}

TurnQueue::~TurnQueue() {
  Stop();
  Join();
}

void TurnQueue::Post(const std::string& client, std::function<void()> work) {
  {
    const std::lock_guard lock(mutex_);
    waiting_[client].push_back(std::move(work));
  }
  changed_.notify_one();
}

void TurnQueue::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
}

void TurnQueue::Join() {
  if (thread_.joinable()) thread_.join();
}

void TurnQueue::Loop() {
  for (;;) {
    std::function<void()> work;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
      if (stopping_) return;
      auto next = waiting_.upper_bound(last_);
      if (next == waiting_.end()) next = waiting_.begin();
      work = std::move(next->second.front());
      next->second.pop_front();
      last_ = next->first;
      if (next->second.empty()) waiting_.erase(next);
    }
    work();
  }
}

}  // namespace tessera
