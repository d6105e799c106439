// The stopwatches of real devices. Private to benchmark/.
#pragma once

#include <c10/core/Device.h>

#include "kvalign/benchmark/turns.h"

namespace kvalign::benchmark {

// CPU: the steady clock. CUDA: the time between two events on the current stream, around all that
// `work` starts there, and what the host needs to start it.
Stopwatch stopwatch_of(at::Device device);

}  // namespace kvalign::benchmark
