#include "device/cpu/fence.h"

#include <sys/mman.h>

#include <string>
#include <utility>

namespace tessera {
namespace {

constexpr int64_t kReserved = int64_t{1} << 38;  // addresses, not memory
constexpr int64_t kPage = 4096;
// Huge pages: one entry of the page tables opens 2 MiB, where pages of 4 KiB cost milliseconds.
constexpr int64_t kHuge = int64_t{2} << 20;

int64_t RoundUp(int64_t bytes, int64_t unit) { return (bytes + unit - 1) / unit * unit; }

void Protect(char* data, int64_t bytes, int protection) {
  if (bytes == 0) return;
  TESSERA_CHECK(mprotect(data, static_cast<size_t>(RoundUp(bytes, kHuge)), protection) == 0,
                "the system refuses to protect memory");
}

struct FencedMemory final : Buffer::Owner {
  FencedMemory(std::shared_ptr<Fence> owner, void* memory, int64_t size)
      : fence(std::move(owner)), data(memory), bytes(size) {}
  ~FencedMemory() override { fence->Free(data, bytes); }
  const std::shared_ptr<Fence> fence;
  void* const data;
  const int64_t bytes;
};

}  // namespace

std::shared_ptr<Fence> Fence::Create() {
  void* const reserved = mmap(nullptr, kReserved + kHuge, PROT_NONE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  TESSERA_CHECK(reserved != MAP_FAILED, "the system refuses to reserve addresses");
  char* const start = reinterpret_cast<char*>(RoundUp(reinterpret_cast<intptr_t>(reserved), kHuge));
  madvise(start, kReserved, MADV_HUGEPAGE);  // if the system has none, it is slow
  return std::shared_ptr<Fence>(new Fence(static_cast<char*>(reserved), start));
}

Fence::~Fence() { munmap(reserved_, kReserved + kHuge); }

Result<void*> Fence::Allocate(int64_t bytes) {
  const std::lock_guard lock(mutex_);
  if (bytes < 0 || bytes > kReserved - used_ - kHuge) {
    return OutOfMemory("the fenced device has no room for " + std::to_string(bytes) + " bytes");
  }
  char* const data = start_ + used_;
  used_ += RoundUp(bytes, kPage);
  if (depth_ > 0) Protect(start_, used_, PROT_READ | PROT_WRITE);
  return static_cast<void*>(data);
}

void Fence::Free(void* data, int64_t bytes) {
  const std::lock_guard lock(mutex_);
  if (bytes > 0) madvise(data, static_cast<size_t>(bytes), MADV_DONTNEED);
}

Result<Buffer> Fence::AllocateBuffer(int64_t bytes) {
  TESSERA_ASSIGN_OR_RETURN(void* const data, Allocate(bytes));
  return Buffer(data, bytes, std::make_unique<FencedMemory>(shared_from_this(), data, bytes));
}

void Fence::Open() {
  const std::lock_guard lock(mutex_);
  if (depth_++ == 0) Protect(start_, used_, PROT_READ | PROT_WRITE);
}

void Fence::Close() {
  const std::lock_guard lock(mutex_);
  if (--depth_ == 0) Protect(start_, used_, PROT_NONE);
}

bool Fence::Holds(const void* address) const {
  const auto* const byte = static_cast<const char*>(address);
  return byte >= start_ && byte < start_ + kReserved;
}

}  // namespace tessera
