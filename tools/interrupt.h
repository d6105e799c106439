// SIGINT and SIGTERM as a request: the work stops at its next safe point. A second signal kills.
#pragma once

namespace kvalign::tools {

/// From now on the first SIGINT or SIGTERM is only remembered.
void catch_interrupts();

/// The signal's number, 0 where none came.
int interrupt_signal();

}  // namespace kvalign::tools
