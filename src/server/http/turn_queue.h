// Work that takes long, on a thread of its own.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>

namespace tessera {

// Clients take turns: one that has much to do holds up itself. Of one client, the first comes
// first. Thread-safe, Join() aside.
class TurnQueue {
 public:
  TurnQueue();
  ~TurnQueue();

  // Nothing is taken back: what is no longer wanted at its turn has to find that out itself. `work`
  // must not throw. Throws std::bad_alloc if there is no memory to keep it.
  void Post(const std::string& client, std::function<void()> work);

  void Stop();  // what waits is not begun any more
  void Join();  // after Stop(): what has begun is done

 private:
  std::function<void()> Next();  // waits for it; null at the end
  void Loop();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, std::deque<std::function<void()>>> waiting_;  // no empty ones
  std::string last_;                                                  // whose turn was the last
  bool stopping_ = false;
  std::thread thread_;  // last: it uses all the others
};

}  // namespace tessera
