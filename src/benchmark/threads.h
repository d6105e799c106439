// Keeps each thread on a CPU of its own: one that moves leaves its caches behind. Private to
// benchmark/.
#pragma once

namespace kvalign::benchmark {

// The caller's and those of at::parallel_for, in the order of the CPUs that the process may use.
// Throws std::invalid_argument where LibTorch uses more threads than there are.
void pin_threads();

}  // namespace kvalign::benchmark
