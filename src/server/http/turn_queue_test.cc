#include "server/http/turn_queue.h"

#include <gtest/gtest.h>

#include <future>
#include <mutex>
#include <string>
#include <vector>

namespace tessera {
namespace {

TEST(TurnQueue, ClientsTakeTurns) {
  TurnQueue queue;
  std::promise<void> all_posted;
  std::vector<std::string> order;  // of the queue's thread, until it has ended
  queue.Post("a", [&] { all_posted.get_future().wait(); });
  std::promise<void> done;
  for (const char* name : {"a1", "a2", "a3", "a4"}) {
    queue.Post("a", [&order, name] { order.emplace_back(name); });
  }
  queue.Post("b", [&] { order.emplace_back("b1"); });
  queue.Post("b", [&] { order.emplace_back("b2"); });
  queue.Post("c", [&] { order.emplace_back("c1"); });
  queue.Post("a", [&] { done.set_value(); });
  all_posted.set_value();
  done.get_future().wait();
  queue.Stop();
  queue.Join();
  EXPECT_EQ(order, (std::vector<std::string>{"b1", "c1", "a1", "b2", "a2", "a3", "a4"}));
}

TEST(TurnQueue, WhatWaitsAtTheEndIsNotBegun) {
  bool begun = false;
  {
    TurnQueue queue;
    std::promise<void> running, go_on;
    queue.Post("a", [&] {
      running.set_value();
      go_on.get_future().wait();
    });
    queue.Post("b", [&] { begun = true; });
    running.get_future().wait();
    queue.Stop();
    go_on.set_value();
    queue.Join();
  }
  EXPECT_FALSE(begun);
}

}  // namespace
}  // namespace tessera
