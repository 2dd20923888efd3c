#include "cli/interrupt.h"

#include <pthread.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <csignal>

namespace tessera {
namespace {

sigset_t OnlyInterrupt() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  return set;
}

}  // namespace

InterruptWatch::InterruptWatch() {
  const sigset_t set = OnlyInterrupt();
  descriptor_ = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
  if (descriptor_ >= 0) pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

InterruptWatch::~InterruptWatch() {
  if (descriptor_ < 0) return;
  while (Take()) {
  }
  const sigset_t set = OnlyInterrupt();
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
  close(descriptor_);
}

bool InterruptWatch::Take() {
  signalfd_siginfo info;
  return descriptor_ >= 0 && read(descriptor_, &info, sizeof(info)) == sizeof(info);
}

}  // namespace tessera
