// How long the closed form takes beside descent to the same error on the same held-out sequences:
// the generated data of configs/seed_512_to_4096.yaml, V1 without a norm. Private to benchmark/.
#pragma once

#include "kvalign/benchmark/case.h"

namespace kvalign::benchmark {

/// Measured once, because descent takes minutes. Where it does not get there in a minute, the
/// row says so, and the ratio is an upper limit.
Case closed_form_race();

}  // namespace kvalign::benchmark
