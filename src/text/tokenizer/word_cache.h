// A bounded memory of short words and their tokens. Text repeats its words: most of them are found
// here and need no merging.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string_view>
#include <vector>

namespace tessera::tokenization {

// Direct-mapped: a word that falls on another's place drives it out. Thread-safe. About 2 MiB.
class WordCache {
 public:
  static constexpr size_t kMaxBytes = 36;  // of a word
  static constexpr size_t kMaxIds = 12;

  WordCache() : slots_(kSlots) {}

  // Appends the word's tokens and returns true, or returns false.
  bool Lookup(std::string_view word, std::vector<int32_t>* ids) const {
    if (word.size() > kMaxBytes) return false;
    const size_t index = Index(word);
    const std::lock_guard lock(locks_[index % kLocks]);
    const Slot& slot = slots_[index];
    if (slot.num_ids == 0 || std::string_view(slot.word.data(), slot.size) != word) return false;
    ids->insert(ids->end(), slot.ids.begin(), slot.ids.begin() + slot.num_ids);
    return true;
  }

  // Words that are too long, or have no or too many tokens, are not kept.
  void Insert(std::string_view word, const int32_t* ids, size_t num_ids) const {
    if (word.size() > kMaxBytes || num_ids == 0 || num_ids > kMaxIds) return;
    const size_t index = Index(word);
    const std::lock_guard lock(locks_[index % kLocks]);
    Slot& slot = slots_[index];
    slot.size = static_cast<uint8_t>(word.size());
    slot.num_ids = static_cast<uint8_t>(num_ids);
    word.copy(slot.word.data(), word.size());
    for (size_t i = 0; i < num_ids; ++i) slot.ids[i] = ids[i];
  }

 private:
  static constexpr size_t kSlots = 1 << 14;
  static constexpr size_t kLocks = 64;

  struct Slot {
    std::array<int32_t, kMaxIds> ids;
    uint8_t size = 0;
    uint8_t num_ids = 0;  // 0: free
    std::array<char, kMaxBytes> word;
  };

  static size_t Index(std::string_view word) {
    return std::hash<std::string_view>{}(word) & (kSlots - 1);
  }

  mutable std::vector<Slot> slots_;
  mutable std::array<std::mutex, kLocks> locks_;  // slot i belongs to lock i % kLocks
};

}  // namespace tessera::tokenization
