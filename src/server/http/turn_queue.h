// Work that takes long, on a thread of its own.
#pragma once

#include <boost/asio/thread_pool.hpp>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>

namespace tessera {

// Clients take turns: one that has much to do holds up itself. Of one client, the first comes
// first. Thread-safe.
class TurnQueue {
 public:
  // Whoever is gone by its turn finds that out itself: nothing is taken back.
  void Post(const std::string& client, std::function<void()> work);

  void Stop() { thread_.stop(); }  // what waits is not begun any more
  void Join() { thread_.join(); }

 private:
  void RunNext();

  std::mutex mutex_;
  std::map<std::string, std::deque<std::function<void()>>> waiting_;  // no empty ones
  std::string last_;                                                  // whose turn was the last
  boost::asio::thread_pool thread_{1};  // last: what it runs uses all the others
};

}  // namespace tessera
