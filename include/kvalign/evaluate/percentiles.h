// Percentiles of numbers that may be infinite, as bounds are.
#pragma once

#include <limits>
#include <nlohmann/json_fwd.hpp>
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
/// averages. Throws std::invalid_argument for a NaN, which has no rank.
KVALIGN_API Percentiles percentiles_of(std::vector<double> values);

/// {"p50", "p95", "max"}; null where not finite.
KVALIGN_API nlohmann::json to_json(const Percentiles& percentiles);

}  // namespace kvalign
