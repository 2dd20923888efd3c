#include "device/gpu/emulator/fiber.h"

#include <cstdint>
#include <exception>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TESSERA_FIBER_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define TESSERA_FIBER_TSAN 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define TESSERA_FIBER_ASAN 1
#elif defined(__SANITIZE_THREAD__)
#define TESSERA_FIBER_TSAN 1
#endif
#if defined(TESSERA_FIBER_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(TESSERA_FIBER_TSAN)
#include <sanitizer/tsan_interface.h>
#endif
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#if defined(__x86_64__)
// System V ABI: rbp, rbx, r12-r15 and the stack pointer are the callee's to keep.
__asm__(R"(
.text
.globl tessera_fiber_switch
.type tessera_fiber_switch,@function
tessera_fiber_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size tessera_fiber_switch, .-tessera_fiber_switch
)");
extern "C" void tessera_fiber_switch(void** save, void* load);
#endif

namespace tessera::simt::emulator {

struct Fiber::Context {
  std::unique_ptr<char[]> stack;
  size_t stack_bytes = 0;
#if defined(__x86_64__)
  void* stack_pointer = nullptr;
#else
  ucontext_t context;
#endif
  void (*entry)() = nullptr;
  void* fake_stack = nullptr;          // AddressSanitizer's
  const void* caller_stack = nullptr;  // of the thread that launched, as AddressSanitizer knows it
  size_t caller_stack_bytes = 0;
  void* tsan_fiber = nullptr;  // ThreadSanitizer's
};

Fiber::Fiber() : context_(std::make_unique<Context>()) {}

Fiber::Fiber(size_t stack_bytes) : Fiber() {
  context_->stack = std::make_unique_for_overwrite<char[]>(stack_bytes);
  context_->stack_bytes = stack_bytes;
}

#if defined(TESSERA_FIBER_TSAN)
Fiber::~Fiber() {
  if (context_->stack != nullptr && context_->tsan_fiber != nullptr) {
    __tsan_destroy_fiber(context_->tsan_fiber);
  }
}
#else
Fiber::~Fiber() = default;
#endif

namespace {

// The two ends of the switch under way.
thread_local Fiber* entering = nullptr;
#if defined(TESSERA_FIBER_ASAN)
thread_local Fiber* leaving = nullptr;
#endif

}  // namespace

void Fiber::Prepare(void (*entry)()) {
  context_->entry = entry;
  void (*start)() = entry;
#if defined(TESSERA_FIBER_ASAN)
  // An abandoned or finished run leaves the marks of its frames behind.
  __asan_unpoison_memory_region(context_->stack.get(), context_->stack_bytes);
  start = [] {
    Context& from = *leaving->context_;
    __sanitizer_finish_switch_fiber(nullptr, &from.caller_stack, &from.caller_stack_bytes);
    entering->context_->entry();
  };
#endif
#if defined(TESSERA_FIBER_TSAN)
  // It knows which functions the last run was in, so a new run has a new one.
  if (context_->tsan_fiber != nullptr) __tsan_destroy_fiber(context_->tsan_fiber);
  context_->tsan_fiber = __tsan_create_fiber(0);
#endif
#if defined(__x86_64__)
  const uintptr_t top =
      (reinterpret_cast<uintptr_t>(context_->stack.get()) + context_->stack_bytes) & ~uintptr_t{15};
  void** sp = reinterpret_cast<void**>(top);
  *--sp = nullptr;  // keeps the stack aligned as a call would
  *--sp = reinterpret_cast<void*>(start);
  for (int i = 0; i < 6; ++i) *--sp = nullptr;
  context_->stack_pointer = sp;
#else
  getcontext(&context_->context);
  context_->context.uc_stack.ss_sp = context_->stack.get();
  context_->context.uc_stack.ss_size = context_->stack_bytes;
  context_->context.uc_link = nullptr;
  makecontext(&context_->context, start, 0);
#endif
}

void Fiber::Switch(Fiber* from, Fiber* to) { SwitchContext(from, to, &from->context_->fake_stack); }

void Fiber::Leave(Fiber* from, Fiber* to) {
  SwitchContext(from, to, nullptr);  // AddressSanitizer then gives back what it holds for the fiber
  std::terminate();
}

void Fiber::SwitchContext(Fiber* from, Fiber* to, [[maybe_unused]] void** fake_stack) {
#if defined(TESSERA_FIBER_ASAN)
  leaving = from;
  const void* stack =
      to->context_->stack != nullptr ? to->context_->stack.get() : to->context_->caller_stack;
  const size_t bytes =
      to->context_->stack != nullptr ? to->context_->stack_bytes : to->context_->caller_stack_bytes;
  __sanitizer_start_switch_fiber(fake_stack, stack, bytes);
#endif
  entering = to;
#if defined(TESSERA_FIBER_TSAN)
  if (from->context_->stack == nullptr) from->context_->tsan_fiber = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(to->context_->tsan_fiber, 0);
#endif
#if defined(__x86_64__)
  tessera_fiber_switch(&from->context_->stack_pointer, to->context_->stack_pointer);
#else
  swapcontext(&from->context_->context, &to->context_->context);
#endif
#if defined(TESSERA_FIBER_ASAN)
  __sanitizer_finish_switch_fiber(from->context_->fake_stack, nullptr, nullptr);
#endif
}

}  // namespace tessera::simt::emulator
