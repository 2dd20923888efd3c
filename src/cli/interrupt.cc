#include "cli/interrupt.h"

#include <pthread.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <csignal>

namespace tessera {
namespace {

sigset_t SetOf(InterruptWatch::Signals signals) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  if (signals == InterruptWatch::Signals::kInterruptAndTerminate) sigaddset(&set, SIGTERM);
  return set;
}

}  // namespace

InterruptWatch::InterruptWatch(Signals signals) : signals_(signals) {
  const sigset_t set = SetOf(signals_);
  descriptor_ = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
  if (descriptor_ >= 0) pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

InterruptWatch::~InterruptWatch() {
  if (descriptor_ < 0) return;
  while (Take()) {
  }
  const sigset_t set = SetOf(signals_);
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
  close(descriptor_);
}

bool InterruptWatch::Take() {
  signalfd_siginfo info;
  return descriptor_ >= 0 && read(descriptor_, &info, sizeof(info)) == sizeof(info);
}

}  // namespace tessera
