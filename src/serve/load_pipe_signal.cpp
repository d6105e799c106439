// See load_pipe_signal.h.
#include "load_pipe_signal.h"

#include <pthread.h>
#include <time.h>

namespace kvalign {
namespace {

sigset_t pipe_signal() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGPIPE);
  return signals;
}

}  // namespace

BlockedPipeSignal::BlockedPipeSignal() {
  const sigset_t signals = pipe_signal();
  pthread_sigmask(SIG_BLOCK, &signals, &before_);
}

BlockedPipeSignal::~BlockedPipeSignal() {
  // A thread that had it blocked before keeps it, as it may wait for it itself.
  if (sigismember(&before_, SIGPIPE) == 1) return;
  const sigset_t signals = pipe_signal();
  const timespec at_once = {};
  while (sigtimedwait(&signals, nullptr, &at_once) == SIGPIPE) {
  }
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

}  // namespace kvalign
