// Who may wait: places in the queue, shared among clients.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "server/protocol/api_error.h"

namespace tessera {

class WaitingPlaces;

// Places that one request's answers have, one for each. Given back at the end at the latest.
class PlacesTaken {
 public:
  PlacesTaken() = default;
  ~PlacesTaken() { GiveBack(count_); }
  PlacesTaken(PlacesTaken&& other) noexcept { *this = std::move(other); }
  PlacesTaken& operator=(PlacesTaken&& other) noexcept;

  void GiveBack(int64_t count);

 private:
  friend class WaitingPlaces;

  WaitingPlaces* owner_ = nullptr;
  std::string client_;
  int64_t count_ = 0;
};

// An answer takes a place when it is asked for, and gives it back with its first token. A client
// may have half of the places that the others leave, at least one: however many one client asks
// for, others still get in, and with several such clients there is a smaller part for each and
// still one left. Thread-safe.
class WaitingPlaces {
 public:
  // `places` > 0.
  explicit WaitingPlaces(int64_t places) : places_(places) {}

  // The refusal, if there is no room for all of `count` > 0. This outlives `taken`.
  std::optional<ApiError> Take(const std::string& client, int64_t count, PlacesTaken* taken);

  int64_t num_taken() const;

 private:
  friend class PlacesTaken;
  void GiveBack(const std::string& client, int64_t count);

  const int64_t places_;
  mutable std::mutex mutex_;
  std::map<std::string, int64_t> held_;  // by client, none 0
  int64_t taken_ = 0;                    // all of these
};

}  // namespace tessera
