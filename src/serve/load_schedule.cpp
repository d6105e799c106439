// See load_schedule.h.
#include "load_schedule.h"

#include <cmath>
#include <random>

namespace kvalign {

std::vector<double> poisson_arrivals(int64_t count, double rate, uint64_t seed) {
  // Not std::exponential_distribution, which each standard library computes in its own way.
  std::mt19937_64 bits(seed);
  std::vector<double> arrivals(static_cast<size_t>(count));
  double now = 0;
  for (double& arrival : arrivals) {
    const double uniform = std::ldexp(static_cast<double>(bits() >> 11), -53);  // in [0, 1)
    now -= std::log1p(-uniform) / rate;
    arrival = now;
  }
  return arrivals;
}

}  // namespace kvalign
