// The one global of the tools: a signal handler has no other place to write to.
#include "interrupt.h"

#include <csignal>

namespace kvalign::tools {
namespace {

volatile std::sig_atomic_t received_signal = 0;

void remember(int signal) {
  received_signal = signal;
}

}  // namespace

void catch_interrupts() {
  for (const int signal : {SIGINT, SIGTERM}) {
    struct sigaction action = {};
    action.sa_handler = remember;
    action.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);
    sigaction(signal, &action, nullptr);
  }
}

int interrupt_signal() {
  return received_signal;
}

}  // namespace kvalign::tools
