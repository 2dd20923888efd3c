// Who has received how much: the requests of the client that has received least go first, as in
// Sheng et al., "Fairness in Serving Large Language Models" (virtual token counters).
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace tessera {

// A token that is generated costs about as much as two that are read.
constexpr int64_t kPromptTokenService = 1;
constexpr int64_t kOutputTokenService = 2;

struct ClientAccount {
  int64_t service = 0;  // tokens by their weights, and what it missed while it was away
  int32_t active = 0;   // its sequences that wait or run
};

// Not thread-safe. A client is whatever its name says.
class FairShare {
 public:
  // A sequence of the client arrives. One that was away begins with at least what the least served
  // of the others has: time without requests saves up no claims. The account stays where it is
  // until Leave.
  ClientAccount* Enter(const std::string& client);
  void Leave(const std::string& client);

  // What the least served of those that are here has received; 0 if nobody is. O(clients).
  int64_t Least() const;

  int32_t num_known() const { return static_cast<int32_t>(accounts_.size()); }

 private:
  int64_t LeastBut(const ClientAccount* client) const;
  void ForgetIdle();

  std::map<std::string, ClientAccount> accounts_;
  int64_t floor_ = 0;  // what a newcomer begins with
};

}  // namespace tessera
