// Fused multiply-adds of float32 in registers and nothing else: the peak of one CPU. Private to
// benchmark/.
#pragma once

#include <cstdint>

namespace kvalign::benchmark {

// Operations of one iteration of the loop below, in the instruction set that it chooses; a
// multiply-add is two.
int64_t fma_loop_flops();

// Returns a number that depends on all of them, so that none is left out.
float fma_loop(int64_t iterations);

}  // namespace kvalign::benchmark
