#include "server/waiting_places.h"

#include <algorithm>
#include <utility>

#include "tessera/result.h"

namespace tessera {

PlacesTaken& PlacesTaken::operator=(PlacesTaken&& other) noexcept {
  GiveBack(count_);
  owner_ = other.owner_;
  client_ = std::move(other.client_);
  count_ = std::exchange(other.count_, 0);
  return *this;
}

void PlacesTaken::GiveBack(int64_t count) {
  TESSERA_CHECK(count <= count_);
  if (count == 0) return;
  count_ -= count;
  owner_->GiveBack(client_, count);
}

std::optional<ApiError> WaitingPlaces::Take(const std::string& client, int64_t count,
                                            PlacesTaken* taken) {
  const std::string limit = " (--max-queued-requests is " + std::to_string(places_) + ").";
  const int64_t most = (places_ + 1) / 2;
  if (count > most) {
    return ApiError::Invalid("n", "The request asks for " + std::to_string(count) +
                                      " answers, and one client may have at most " +
                                      std::to_string(most) + " wait; ask for fewer at a time" +
                                      limit);
  }
  const std::lock_guard lock(mutex_);
  const auto found = held_.find(client);
  const int64_t held = found == held_.end() ? 0 : found->second;
  if (taken_ + count > places_) {
    return ApiError{
        429,
        "There are " + std::to_string(taken_) + " answers waiting already; try again later" + limit,
        "", "queue_full"};
  }
  const int64_t share = std::max<int64_t>((places_ - (taken_ - held) + 1) / 2, 1);
  if (held + count > share) {
    return ApiError{429,
                    "This client has " + std::to_string(held) +
                        " answers waiting already, and may have " + std::to_string(share) +
                        ", half of the places that others leave; try again when some of them "
                        "have begun" +
                        limit,
                    "", "queue_full"};
  }
  held_[client] += count;
  taken_ += count;
  taken->owner_ = this;
  taken->client_ = client;
  taken->count_ = count;
  return std::nullopt;
}

int64_t WaitingPlaces::num_taken() const {
  const std::lock_guard lock(mutex_);
  return taken_;
}

void WaitingPlaces::GiveBack(const std::string& client, int64_t count) {
  const std::lock_guard lock(mutex_);
  taken_ -= count;
  const auto found = held_.find(client);
  found->second -= count;
  if (found->second == 0) held_.erase(found);
}

}  // namespace tessera
