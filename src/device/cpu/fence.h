// Memory that can be followed only while it is open: the devices of tests whose memory is the
// host's, but which must be treated as a GPU's.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>

#include "tessera/device.h"
#include "tessera/result.h"

namespace tessera {

// All memory of a device lies in one range of addresses, so that one call opens or closes it.
// Addresses are not given out twice: memory that was given back stays closed to all but those who
// opened the fence. Thread-safe.
class Fence : public std::enable_shared_from_this<Fence> {
 public:
  static std::shared_ptr<Fence> Create();
  ~Fence();
  Fence(const Fence&) = delete;
  Fence& operator=(const Fence&) = delete;

  // Zeroed memory, aligned to a page. Fails if the range is used up.
  Result<void*> Allocate(int64_t bytes);
  void Free(void* data, int64_t bytes);
  // Allocate() as a buffer, which keeps the fence.
  Result<Buffer> AllocateBuffer(int64_t bytes);

  // Between these all memory is open. They nest.
  void Open();
  void Close();
  // Whether an address lies in the range.
  bool Holds(const void* address) const;

 private:
  Fence(char* reserved, char* start) : reserved_(reserved), start_(start) {}

  char* const reserved_;  // what was reserved, of which start_ is the first huge page
  char* const start_;
  std::mutex mutex_;
  int64_t used_ = 0;
  int depth_ = 0;
};

}  // namespace tessera
