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
  int64_t least = std::numeric_limits<int64_t>::max();
  for (const auto& [name, other] : accounts_) {
    if (other.active > 0 && &other != &account) least = std::min(least, other.service);
  }
  if (least != std::numeric_limits<int64_t>::max()) floor_ = std::max(floor_, least);
  account.service = std::max(account.service, floor_);
  if (accounts_.size() > kMaxAccounts) ForgetIdle();
  return &account;
}

void FairShare::Leave(const std::string& client) {
  const auto found = accounts_.find(client);
  TESSERA_CHECK(found != accounts_.end() && found->second.active > 0, "no such client is here");
  if (--found->second.active > 0) return;
  // Where it would begin there anyway, nothing needs to be remembered.
  if (found->second.service <= floor_) accounts_.erase(found);
}

// Names are free, memory is not: debts of clients that are away are dropped.
void FairShare::ForgetIdle() {
  std::erase_if(accounts_, [](const auto& entry) { return entry.second.active == 0; });
}

}  // namespace tessera
