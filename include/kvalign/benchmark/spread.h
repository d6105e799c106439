// What repeated timings say: a median with the tenth and ninetieth percentile, ratios round by
// round, and whether a difference is larger than the noise. Free of LibTorch and of clocks.
#pragma once

#include <vector>

#include "kvalign/format/export.h"

namespace kvalign::benchmark {

struct Spread {
  double median = 0;
  double p10 = 0;
  double p90 = 0;
};

/// Percentiles between two numbers of the list are interpolated, as numpy does by default. Throws
/// std::invalid_argument for an empty list and for a NaN.
KVALIGN_API Spread spread_of(std::vector<double> values);

/// values[i] / baseline[i]: of one round, so that what slows down a whole round cancels. Throws
/// std::invalid_argument for lists of other lengths.
KVALIGN_API Spread ratio_of(const std::vector<double>& values, const std::vector<double>& baseline);

/// The factor, at least 1, that two equal things differ by in nine rounds of ten: the larger of p90
/// and 1 / p10 of an A/A pair's ratio.
KVALIGN_API double noise_factor(const Spread& again);

enum class Verdict { kFaster, kEqual, kSlower };

/// Of a ratio to a baseline: equal where its median is within the noise factor of 1, either way.
KVALIGN_API Verdict judge(const Spread& ratio, double noise_factor);

/// "faster", "equal" or "slower".
KVALIGN_API const char* verdict_name(Verdict verdict);

}  // namespace kvalign::benchmark
