// sigwait and its mask. See the header.
#include "serve_signals.h"

#include <pthread.h>

#include <stdexcept>

namespace kvalign::tools {

ServeSignals::ServeSignals() {
  sigemptyset(&signals_);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals_, signal);
  if (pthread_sigmask(SIG_BLOCK, &signals_, nullptr) != 0) {
    throw std::runtime_error("cannot block SIGTERM, SIGINT and SIGHUP");
  }
}

int ServeSignals::next() const {
  int signal = 0;
  while (sigwait(&signals_, &signal) != 0) {
  }
  return signal;
}

void ServeSignals::let_end() const {
  sigset_t ending;
  sigemptyset(&ending);
  sigaddset(&ending, SIGTERM);
  sigaddset(&ending, SIGINT);
  pthread_sigmask(SIG_UNBLOCK, &ending, nullptr);
}

}  // namespace kvalign::tools
