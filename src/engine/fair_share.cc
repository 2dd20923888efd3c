#include "engine/fair_share.h"

#include <algorithm>
#include <limits>

#include "tessera/result.h"

namespace tessera {
namespace {

// More accounts of clients that are away than this are not kept.
constexpr size_t kMaxAccounts = 4096;

}  // namespace

ClientAccount* FairShare::Enter(const std::string& client) {
  ClientAccount& account = accounts_[client];
  if (account.active++ > 0) return &account;
  floor_ = std::max(floor_, LeastBut(&account));
  account.service = std::max(account.service, floor_);
  if (accounts_.size() > kMaxAccounts) ForgetIdle();
  return &account;
}

void FairShare::Leave(const std::string& client) {
  const auto found = accounts_.find(client);
  TESSERA_CHECK(found != accounts_.end() && found->second.active > 0, "no such client is here");
  if (--found->second.active > 0) return;
  // If it would begin there anyway, nothing needs to be remembered.
  if (found->second.service <= floor_) accounts_.erase(found);
}

int64_t FairShare::Least() const { return LeastBut(nullptr); }

int64_t FairShare::LeastBut(const ClientAccount* client) const {
  constexpr int64_t kNobody = std::numeric_limits<int64_t>::max();
  int64_t least = kNobody;
  for (const auto& [name, account] : accounts_) {
    if (account.active > 0 && &account != client) least = std::min(least, account.service);
  }
  return least == kNobody ? 0 : least;
}

// Names are free, memory is not: debts of clients that are away are dropped.
void FairShare::ForgetIdle() {
  std::erase_if(accounts_, [](const auto& entry) { return entry.second.active == 0; });
}

}  // namespace tessera
