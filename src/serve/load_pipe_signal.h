// A connection that the server has closed raises SIGPIPE in whoever writes to it, which ends the
// process; cpp-httplib's client leaves that to its caller. Private to serve/.
#pragma once

#include <signal.h>

namespace kvalign {

/// While it lives, SIGPIPE of this thread is held back; one that came is dropped at the end.
class BlockedPipeSignal {
 public:
  BlockedPipeSignal();
  ~BlockedPipeSignal();
  BlockedPipeSignal(const BlockedPipeSignal&) = delete;
  BlockedPipeSignal& operator=(const BlockedPipeSignal&) = delete;

 private:
  sigset_t before_;
};

}  // namespace kvalign
