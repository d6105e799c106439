// Signals of a server: SIGTERM and SIGINT end it, SIGHUP reloads its checkpoints. They are waited
// for, not handled: no code runs in a signal handler.
#pragma once

#include <csignal>

namespace kvalign::tools {

class ServeSignals {
 public:
  /// From now on the signals wait for next(), in this thread and in all that it starts.
  ServeSignals();

  /// The next one, SIGTERM, SIGINT or SIGHUP.
  int next() const;

  /// A second SIGTERM or SIGINT ends the process at once from now on.
  void let_end() const;

 private:
  sigset_t signals_;
};

}  // namespace kvalign::tools
