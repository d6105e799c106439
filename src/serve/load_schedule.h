// When the queries of a load arrive. Private to serve/.
#pragma once

#include <cstdint>
#include <vector>

namespace kvalign {

/// Seconds since the run began, in order: a Poisson process of `rate` queries a second, whose gaps
/// are exponential. The same for the same seed, on every machine as far as its log1p is.
std::vector<double> poisson_arrivals(int64_t count, double rate, uint64_t seed);

}  // namespace kvalign
