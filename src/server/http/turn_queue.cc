#include "server/http/turn_queue.h"

#include <utility>

#include "base/until_memory.h"

namespace tessera {

TurnQueue::TurnQueue() : thread_([this] { Loop(); }) {}

TurnQueue::~TurnQueue() {
  Stop();
  Join();
}

void TurnQueue::Post(const std::string& client, std::function<void()> work) {
  {
    const std::lock_guard lock(mutex_);
    const auto found = waiting_.find(client);
    if (found != waiting_.end()) {
      found->second.push_back(std::move(work));
    } else {
      // Filled before it is there: memory may run out in between.
      std::deque<std::function<void()>> first;
      first.push_back(std::move(work));
      waiting_.emplace(client, std::move(first));
    }
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

std::function<void()> TurnQueue::Next() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
  if (stopping_) return nullptr;
  auto next = waiting_.upper_bound(last_);
  if (next == waiting_.end()) next = waiting_.begin();
  last_ = next->first;  // the only step that takes memory
  std::function<void()> work = std::move(next->second.front());
  next->second.pop_front();
  if (next->second.empty()) waiting_.erase(next);
  return work;
}

void TurnQueue::Loop() {
  for (;;) {
    std::function<void()> work;
    UntilMemory([&] { work = Next(); });
    if (work == nullptr) return;
    work();
  }
}

}  // namespace tessera
