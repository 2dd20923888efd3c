// Large aligned buffers, and how much memory there is for them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "tessera/result.h"

namespace tessera {

// Owns zeroed memory. From kHugePageBytes on it is aligned to that and asks the system for huge
// pages; smaller buffers are aligned to 64 bytes. Pages of large buffers come into being (as zeros)
// when they are first touched, on the NUMA node of the thread that touches them.
class AlignedBuffer {
 public:
  static constexpr int64_t kHugePageBytes = int64_t{2} << 20;
  static constexpr int64_t kSmallAlignment = 64;

  // Empty: no data, size 0.
  AlignedBuffer() = default;
  // kInvalidArgument for a negative size, kOutOfMemory if the system refuses.
  static Result<AlignedBuffer> Allocate(int64_t bytes);

  AlignedBuffer(AlignedBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept;
  AlignedBuffer(const AlignedBuffer&) = delete;
  AlignedBuffer& operator=(const AlignedBuffer&) = delete;
  ~AlignedBuffer() { Free(); }

  void* data() { return data_; }
  const void* data() const { return data_; }
  int64_t size() const { return size_; }

  // The buffer as an array of T, of size() / sizeof(T) elements.
  template <typename T>
  T* As() {
    return static_cast<T*>(data_);
  }
  template <typename T>
  const T* As() const {
    return static_cast<const T*>(data_);
  }

 private:
  AlignedBuffer(void* data, int64_t size) : data_(data), size_(size) {}
  void Free();

  void* data_ = nullptr;
  int64_t size_ = 0;
};

// Both respect the limits of control groups (containers, job schedulers). `root` stands before
// every path that is read, for tests. 0 if the system tells nothing.
int64_t TotalMemoryBytes(const std::string& root = "");
// What can be allocated without swapping.
int64_t AvailableMemoryBytes(const std::string& root = "");

// The most memory that this process has ever had in RAM.
int64_t PeakResidentBytes();

}  // namespace tessera
