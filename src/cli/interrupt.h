// Ctrl-C as an event that the program asks for, rather than a handler that interrupts it.
#pragma once

namespace tessera {

// While one lives, SIGINT is held back from this thread and the threads that it starts: make it
// before the engine, whose threads inherit that. One at a time.
class InterruptWatch {
 public:
  enum class Signals { kInterrupt, kInterruptAndTerminate };  // SIGINT; SIGTERM as well

  explicit InterruptWatch(Signals signals = Signals::kInterrupt);
  ~InterruptWatch();
  InterruptWatch(const InterruptWatch&) = delete;
  InterruptWatch& operator=(const InterruptWatch&) = delete;

  // Whether a signal came, as with Ctrl-C, since the last call. Never waits.
  bool Take();

  // Becomes readable with a pending Ctrl-C, for poll(). -1 if the system gave none.
  int descriptor() const { return descriptor_; }

 private:
  const Signals signals_;
  int descriptor_ = -1;
};

}  // namespace tessera
