// Ctrl-C as an event that the program asks for, rather than a handler that interrupts it.
#pragma once

namespace tessera {

// While one lives, SIGINT is held back from this thread and the threads that it starts: make it
// before the engine, whose threads inherit that. One at a time.
class InterruptWatch {
 public:
  InterruptWatch();
  ~InterruptWatch();
  InterruptWatch(const InterruptWatch&) = delete;
  InterruptWatch& operator=(const InterruptWatch&) = delete;

  // Whether Ctrl-C was pressed since the last call. Never waits.
  bool Take();

  // Becomes readable with a pending Ctrl-C, for poll(). -1 where the system gave none.
  int descriptor() const { return descriptor_; }

 private:
  int descriptor_ = -1;
};

}  // namespace tessera
