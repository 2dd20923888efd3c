// A fiber: a stack of its own and a place to resume at. The emulator switches among hundreds of
// them millions of times, so on x86-64 a switch is a dozen instructions; elsewhere it is ucontext's
// (5 to 8 times slower).
#pragma once

#include <cstddef>
#include <memory>

namespace tessera::simt::emulator {

class Fiber {
 public:
  Fiber();  // the caller's own stack
  explicit Fiber(size_t stack_bytes);
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // The next switch to this fiber begins `entry`, which must never return.
  void Prepare(void (*entry)());

  // Saves the running fiber in `from` and continues in `to`.
  static void Switch(Fiber* from, Fiber* to);

  // Goes on in `to` and never comes back to `from` as it is.
  [[noreturn]] static void Leave(Fiber* from, Fiber* to);

 private:
  struct Context;
  static void SwitchContext(Fiber* from, Fiber* to, void** fake_stack);
  std::unique_ptr<Context> context_;
};

}  // namespace tessera::simt::emulator
