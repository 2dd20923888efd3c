// How much memory the bodies of requests may take, over all connections.
#pragma once

#include <atomic>
#include <cstddef>

namespace tessera {

// Thread-safe.
class BodyBudget {
 public:
  explicit BodyBudget(size_t bytes) : left_(bytes) {}

  // False, and nothing is taken, if too little is left.
  bool Take(size_t bytes) {
    size_t left = left_.load();
    while (left >= bytes) {
      if (left_.compare_exchange_weak(left, left - bytes)) return true;
    }
    return false;
  }
  void Return(size_t bytes) { left_ += bytes; }

 private:
  std::atomic<size_t> left_;
};

// The part of one body, which grows as the body does; returned at the end. Not thread-safe.
class BodyLease {
 public:
  explicit BodyLease(BodyBudget* budget) : budget_(budget) {}
  ~BodyLease() { Clear(); }
  BodyLease(const BodyLease&) = delete;
  BodyLease& operator=(const BodyLease&) = delete;

  bool GrowTo(size_t bytes) {
    if (bytes <= bytes_) return true;
    if (!budget_->Take(bytes - bytes_)) return false;
    bytes_ = bytes;
    return true;
  }
  void Clear() {
    budget_->Return(bytes_);
    bytes_ = 0;
  }

 private:
  BodyBudget* const budget_;
  size_t bytes_ = 0;
};

}  // namespace tessera
