#include "engine/waiting_queue.h"

#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "engine/fair_share.h"

namespace tessera {
namespace {

class WaitingQueueTest : public ::testing::Test {
 protected:
  Sequence* Add(uint64_t id, int64_t level, ClientAccount* account, int64_t step = 0) {
    Sequence& sequence = sequences_.emplace_back();
    sequence.id = id;
    sequence.level = level;
    sequence.account = account;
    queue_.Add(&sequence, step);
    return &sequence;
  }

  // The ids in the order in which they are taken.
  std::string TakeAll(int64_t step) {
    std::string order;
    while (!queue_.empty()) {
      order += std::to_string(queue_.First()->id) + " ";
      queue_.TakeFirst(step);
    }
    return order;
  }

  static constexpr int64_t kNobodyRuns = std::numeric_limits<int64_t>::max();

  int64_t least_of_all_ = 0;
  const std::function<int64_t()> least_ = [this] { return least_of_all_; };
  std::deque<Sequence> sequences_;
  WaitingQueue queue_{10};
  ClientAccount a_, b_;
};

TEST_F(WaitingQueueTest, LevelThenServiceThenArrival) {
  a_.service = 5;
  Add(1, 0, &a_);
  Add(2, 0, &b_);
  Add(3, -1, &a_);
  Add(4, 0, &b_);
  Add(5, 1, &b_);
  EXPECT_EQ(TakeAll(0), "3 2 4 1 5 ");
  EXPECT_EQ(queue_.size(), 0);
}

TEST_F(WaitingQueueTest, EqualServiceIsFirstComeFirstServed) {
  Add(1, 0, &a_);
  Add(2, 0, &b_);
  Sequence* removed = Add(3, 0, &a_);
  Add(4, 0, &b_);
  queue_.Remove(removed);
  EXPECT_EQ(TakeAll(0), "1 2 4 ");
}

TEST_F(WaitingQueueTest, AFlowWithoutProgressRises) {
  Sequence* low = Add(1, 2, &a_);
  Sequence* behind = Add(2, 2, &a_);
  Add(3, 0, &b_, 9);
  queue_.Age(9, kNobodyRuns, least_);
  EXPECT_EQ(low->level, 2);
  queue_.Age(10, kNobodyRuns, least_);
  EXPECT_EQ(low->level, 1);
  EXPECT_EQ(behind->level, 2) << "only the first of a flow rises";
  queue_.Age(18, kNobodyRuns, least_);
  EXPECT_EQ(low->level, 1);
  queue_.Age(20, kNobodyRuns, least_);
  EXPECT_EQ(low->level, 0);
  EXPECT_EQ(behind->level, 1) << "its turn, a whole period later";
  EXPECT_EQ(queue_.First()->id, 1u) << "of its new level it is the oldest";
  queue_.Age(100, kNobodyRuns, least_);
  EXPECT_EQ(low->level, 0) << "nobody rises above the best";
}

TEST_F(WaitingQueueTest, ABacklogDoesNotRiseAsOne) {
  for (uint64_t id = 1; id <= 20; ++id) Add(id, 1, &a_);
  Add(21, 0, &b_);
  for (int64_t step = 1; step <= 25; ++step) queue_.Age(step, kNobodyRuns, least_);
  int risen = 0;
  for (const Sequence& sequence : sequences_) risen += sequence.level == 0 ? 1 : 0;
  EXPECT_EQ(risen, 1 + 2) << "b's, and one in each period";
}

TEST_F(WaitingQueueTest, NoPriorityTakesForEver) {
  Sequence* low = Add(1, int64_t{1} << 31, &a_);
  Add(2, -(int64_t{1} << 31), &b_);
  int64_t step = 0;
  while (queue_.First() != low && step < 1000) queue_.Age(++step, kNobodyRuns, least_);
  EXPECT_LE(step, 33 * 10);
}

// Waiting alone lifts nobody: who comes later, and has received less, is next.
TEST_F(WaitingQueueTest, EqualsKeepTheirLevel) {
  a_.service = 1000;
  for (uint64_t id = 1; id <= 5; ++id) Add(id, 3, &a_);
  least_of_all_ = a_.service;
  for (int64_t step = 1; step <= 500; ++step) queue_.Age(step, 3, least_);
  Sequence* newcomer = Add(6, 3, &b_);
  EXPECT_EQ(queue_.First(), newcomer);
}

TEST_F(WaitingQueueTest, AFlowOfWhichSomethingWasTakenDoesNotAge) {
  Add(1, 5, &a_);
  Sequence* next = Add(2, 5, &a_);
  queue_.TakeFirst(9);
  queue_.Age(18, 0, least_);
  EXPECT_EQ(next->level, 5);
  queue_.Age(19, 0, least_);
  EXPECT_EQ(next->level, 2) << "half of the way to those that run";
}

TEST_F(WaitingQueueTest, OneShotClientsCannotStarveAnother) {
  a_.service = 1000;
  Sequence* waits = Add(1, 0, &a_);
  std::deque<ClientAccount> others;
  int64_t step = 0;
  for (uint64_t id = 2; id < 100; ++id, ++step) {
    Add(id, 0, &others.emplace_back(), step);
    queue_.Age(step, 0, least_);
    if (queue_.First() == waits) break;
    queue_.TakeFirst(step);
  }
  EXPECT_EQ(queue_.First(), waits);
  EXPECT_EQ(step, 10);
}

}  // namespace
}  // namespace tessera
