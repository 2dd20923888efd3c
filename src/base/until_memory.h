// What must not be lost when memory runs out.
#pragma once

#include <chrono>
#include <new>
#include <thread>

namespace tessera {

// Calls `work` again, with pauses, for as long as it throws std::bad_alloc: others give memory back
// meanwhile. For threads that may wait, and work that may be done twice.
template <typename Work>
void UntilMemory(const Work& work) {
  constexpr std::chrono::milliseconds kPause(2);
  for (;;) {
    try {
      return work();
    } catch (const std::bad_alloc&) {
      std::this_thread::sleep_for(kPause);
    }
  }
}

}  // namespace tessera
