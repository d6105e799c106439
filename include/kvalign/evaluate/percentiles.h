// Percentiles of numbers that may be infinite, as bounds are.
#pragma once

#include <limits>
#include <vector>

#include "kvalign/format/export.h"

namespace kvalign {

/// Of one number over tokens or queries: median, 95th percentile, maximum. Infinite where a bound
/// is; NaN where there is nothing.
struct Percentiles {
  double p50 = std::numeric_limits<double>::quiet_NaN();
  double p95 = std::numeric_limits<double>::quiet_NaN();
  double max = std::numeric_limits<double>::quiet_NaN();
};

/// The ceil(n q)-th smallest for each: a number of the list, so that infinities stay out of
/// averages.
KVALIGN_API Percentiles percentiles_of(std::vector<double> values);

}  // namespace kvalign
