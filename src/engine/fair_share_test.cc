#include "engine/fair_share.h"

#include <gtest/gtest.h>

#include <string>

namespace tessera {
namespace {

TEST(FairShare, NobodySavesUpClaims) {
  FairShare clients;
  ClientAccount* a = clients.Enter("a");
  EXPECT_EQ(a->service, 0);
  a->service += 100;
  EXPECT_EQ(clients.Enter("b")->service, 100);
  EXPECT_EQ(clients.Enter("a"), a);
  EXPECT_EQ(a->service, 100) << "a second sequence changes nothing";
  a->service += 50;
  EXPECT_EQ(clients.Enter("c")->service, 100) << "the least of those that are here";
}

TEST(FairShare, DebtsOutliveAnAbsence) {
  FairShare clients;
  clients.Enter("a")->service += 500;
  clients.Enter("b");
  clients.Leave("a");
  EXPECT_EQ(clients.Enter("a")->service, 500);
  clients.Leave("a");
  clients.Leave("b");
  // Who is alone again still has what it had.
  EXPECT_EQ(clients.Enter("a")->service, 500);
}

TEST(FairShare, ForgetsWhomItNeedNotKnow) {
  FairShare clients;
  clients.Enter("stays");
  for (int i = 0; i < 10; ++i) {
    const std::string name = std::to_string(i);
    clients.Enter(name);
    clients.Leave(name);
  }
  EXPECT_EQ(clients.num_known(), 1);
  for (int i = 0; i < 20000; ++i) {
    const std::string name = std::to_string(i);
    clients.Enter(name)->service += 7;
    clients.Leave(name);
  }
  EXPECT_LT(clients.num_known(), 5000);
}

TEST(FairShareDeathTest, WhoIsNotHereCannotLeave) {
  FairShare clients;
  EXPECT_DEATH(clients.Leave("a"), "no such client");
}

}  // namespace
}  // namespace tessera
