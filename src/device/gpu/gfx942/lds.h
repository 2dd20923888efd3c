// A workgroup's LDS, and what hardware would not notice: bytes that are read and were never
// written, and accesses of two waves with no barrier in between.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

namespace tessera::gfx942 {

class Lds {
 public:
  // As a workgroup begins: nothing is written.
  void Reset(int64_t bytes, int waves);
  // All waves have met.
  void Barrier();

  int64_t size() const { return static_cast<int64_t>(bytes_.size()); }

  // Copy kBytes (1, 2, 4, 8 or 16). Return false if the access is a fault; Explain() says which.
  template <int kBytes>
  bool Read(uint64_t address, int wave, void* to) {
    if (address + kBytes > bytes_.size()) return false;
    if (!FastRead<kBytes>(address, wave) && !SlowRead(address, kBytes, wave)) return false;
    std::memcpy(to, &bytes_[address], kBytes);
    return true;
  }
  template <int kBytes>
  bool Write(uint64_t address, int wave, const void* from) {
    if (address + kBytes > bytes_.size()) return false;
    if (!FastWrite<kBytes>(address, wave) && !SlowWrite(address, kBytes, wave, from)) return false;
    std::memcpy(&bytes_[address], from, kBytes);
    return true;
  }
  // An atomic operation's place: atomics of several waves need no barrier between them.
  uint8_t* Atomic(uint64_t address, int bytes, int wave);

  // Why the access that failed is a fault. `bytes` of it.
  const char* Explain(uint64_t address, int bytes, int wave, bool write) const;

 private:
  // Of each byte, who wrote it: nobody ever, somebody before the last barrier, since then atomics,
  // or wave w as kFirstWave + w.
  static constexpr uint8_t kNever = 0, kEarlier = 1, kAtomic = 2, kFirstWave = 3;
  // Who read it since the last barrier: nobody, several waves, or wave w as kFirstReader + w.
  static constexpr uint8_t kNobody = 0, kSeveral = 1, kFirstReader = 2;

  template <int kBytes>
  using Word =
      std::conditional_t<kBytes == 1, uint8_t,
                         std::conditional_t<kBytes == 2, uint16_t,
                                            std::conditional_t<kBytes == 4, uint32_t, uint64_t>>>;
  template <class T>
  static T All(uint8_t byte) {
    return static_cast<T>(static_cast<T>(0x0101010101010101ull) * byte);
  }
  template <class T>
  static T Get(const std::vector<uint8_t>& from, uint64_t at) {
    T value;
    std::memcpy(&value, &from[at], sizeof(T));
    return value;
  }
  template <class T>
  static void Set(std::vector<uint8_t>* to, uint64_t at, T value) {
    std::memcpy(&(*to)[at], &value, sizeof(T));
  }

  // The usual cases, a word at a time: written earlier or by this very wave, read by no other.
  template <int kBytes>
  bool FastRead(uint64_t address, int wave) {
    using T = Word<kBytes>;
    const T mine = All<T>(static_cast<uint8_t>(kFirstWave + wave));
    const T reader = All<T>(static_cast<uint8_t>(kFirstReader + wave));
    for (uint64_t at = address; at < address + kBytes; at += sizeof(T)) {
      const T writers = Get<T>(writer_, at);
      if (writers != All<T>(kEarlier) && writers != mine) return false;
      const T readers = Get<T>(reader_, at);
      if (readers == 0) {
        Set<T>(&reader_, at, reader);
      } else if (readers != reader && readers != All<T>(kSeveral)) {
        return false;
      }
    }
    return true;
  }
  template <int kBytes>
  bool FastWrite(uint64_t address, int wave) {
    using T = Word<kBytes>;
    const T mine = All<T>(static_cast<uint8_t>(kFirstWave + wave));
    const T reader = All<T>(static_cast<uint8_t>(kFirstReader + wave));
    for (uint64_t at = address; at < address + kBytes; at += sizeof(T)) {
      const T writers = Get<T>(writer_, at);
      if (writers != All<T>(kNever) && writers != All<T>(kEarlier) && writers != mine) return false;
      const T readers = Get<T>(reader_, at);
      if (readers != 0 && readers != reader) return false;
    }
    for (uint64_t at = address; at < address + kBytes; at += sizeof(T)) Set<T>(&writer_, at, mine);
    return true;
  }
  bool SlowRead(uint64_t address, int bytes, int wave);
  bool SlowWrite(uint64_t address, int bytes, int wave, const void* from);

  std::vector<uint8_t> bytes_, writer_, reader_;
};

}  // namespace tessera::gfx942
