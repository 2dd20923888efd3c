#include "device/gpu/gfx942/lds.h"

#include <algorithm>

namespace tessera::gfx942 {

void Lds::Reset(int64_t bytes, int) {
  // Bytes that were never written read as NaN, which shows if it reaches a result.
  bytes_.assign(static_cast<size_t>(bytes), 0xff);
  writer_.assign(static_cast<size_t>(bytes), kNever);
  reader_.assign(static_cast<size_t>(bytes), kNobody);
}

void Lds::Barrier() {
  for (uint8_t& writer : writer_) writer = std::min(writer, kEarlier);
  std::fill(reader_.begin(), reader_.end(), kNobody);
}

bool Lds::SlowRead(uint64_t address, int bytes, int wave) {
  const auto mine = static_cast<uint8_t>(kFirstWave + wave);
  const auto reader = static_cast<uint8_t>(kFirstReader + wave);
  for (uint64_t at = address; at < address + static_cast<uint64_t>(bytes); ++at) {
    if (writer_[at] != kEarlier && writer_[at] != mine) return false;
    if (reader_[at] == kNobody) {
      reader_[at] = reader;
    } else if (reader_[at] != reader) {
      reader_[at] = kSeveral;
    }
  }
  return true;
}

bool Lds::SlowWrite(uint64_t address, int bytes, int wave, const void* from) {
  const auto mine = static_cast<uint8_t>(kFirstWave + wave);
  const auto reader = static_cast<uint8_t>(kFirstReader + wave);
  for (int i = 0; i < bytes; ++i) {
    const uint64_t at = address + static_cast<uint64_t>(i);
    if (reader_[at] != kNobody && reader_[at] != reader) return false;
    if (writer_[at] <= kEarlier || writer_[at] == mine) continue;
    // Another wave wrote it since the last barrier. The very same byte does no harm.
    if (writer_[at] == kAtomic || bytes_[at] != static_cast<const uint8_t*>(from)[i]) return false;
  }
  std::fill_n(writer_.begin() + static_cast<int64_t>(address), bytes, mine);
  return true;
}

uint8_t* Lds::Atomic(uint64_t address, int bytes, int wave) {
  if (address + static_cast<uint64_t>(bytes) > bytes_.size()) return nullptr;
  const auto mine = static_cast<uint8_t>(kFirstWave + wave);
  const auto reader = static_cast<uint8_t>(kFirstReader + wave);
  for (uint64_t at = address; at < address + static_cast<uint64_t>(bytes); ++at) {
    const uint8_t writer = writer_[at];
    if (writer != kEarlier && writer != kAtomic && writer != mine) return nullptr;
    if (reader_[at] != kNobody && reader_[at] != reader) return nullptr;
    // What this wave alone has written stays its own: another one's atomic is a race with that.
    if (writer == kEarlier) writer_[at] = kAtomic;
  }
  return &bytes_[address];
}

const char* Lds::Explain(uint64_t address, int bytes, int wave, bool write) const {
  if (address + static_cast<uint64_t>(bytes) > bytes_.size()) {
    return "an access outside of the workgroup's LDS";
  }
  const auto mine = static_cast<uint8_t>(kFirstWave + wave);
  for (uint64_t at = address; at < address + static_cast<uint64_t>(bytes); ++at) {
    if (!write && writer_[at] == kNever) return "a read of LDS that nobody has written";
    if (writer_[at] == kAtomic) return "a race in LDS: no barrier after another wave's atomic";
    if (writer_[at] >= kFirstWave && writer_[at] != mine) {
      return "a race in LDS: no barrier after another wave's write";
    }
  }
  return write ? "a race in LDS: a write with no barrier after another wave's read"
               : "a race in LDS";
}

}  // namespace tessera::gfx942
