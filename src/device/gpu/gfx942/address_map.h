// Which addresses a launch may touch: the device's live allocations, and its own arguments.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace tessera::gfx942 {

struct AddressRange {
  uint64_t begin = 0;
  uint64_t end = 0;
  bool writable = true;
};

// Of one thread: remembers what was asked last.
class AddressMap {
 public:
  explicit AddressMap(std::vector<AddressRange> ranges) : ranges_(std::move(ranges)) {
    std::sort(ranges_.begin(), ranges_.end(),
              [](const AddressRange& a, const AddressRange& b) { return a.begin < b.begin; });
  }

  // Whether all of [begin, end) lies in one range that may be used so.
  bool Allows(uint64_t begin, uint64_t end, bool write) {
    const auto within = [&](const AddressRange& range) {
      return range.begin <= begin && end <= range.end && begin <= end && (range.writable || !write);
    };
    if (last_ < ranges_.size() && within(ranges_[last_])) return true;
    const auto after = std::upper_bound(
        ranges_.begin(), ranges_.end(), begin,
        [](uint64_t address, const AddressRange& range) { return address < range.begin; });
    if (after == ranges_.begin()) return false;
    last_ = static_cast<size_t>(after - ranges_.begin()) - 1;
    return within(ranges_[last_]);
  }

 private:
  std::vector<AddressRange> ranges_;
  size_t last_ = 0;
};

}  // namespace tessera::gfx942
