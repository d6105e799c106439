// Limits of a quantile from order statistics. See quantile_limit.h.
#include "kvalign/bounds/quantile_limit.h"

#include <algorithm>
#include <boost/math/distributions/binomial.hpp>
#include <cmath>
#include <limits>
#include <vector>

#include "check.h"

namespace kvalign {
namespace {

void check_fraction(double fraction, const char* name) {
  check(fraction > 0 && fraction < 1, "quantile limit: expected a ", name, " in (0, 1), got ",
        fraction);
}

// The rank-th smallest, from 1; infinity where there are fewer.
double order_statistic(std::span<const double> samples, int64_t rank) {
  check(!samples.empty() && std::none_of(samples.begin(), samples.end(),
                                         [](double sample) { return std::isnan(sample); }),
        "quantile limit: expected samples without NaN, got ", samples.size(), " samples");
  if (rank > static_cast<int64_t>(samples.size())) return std::numeric_limits<double>::infinity();
  std::vector<double> sorted(samples.begin(), samples.end());
  std::nth_element(sorted.begin(), sorted.begin() + (rank - 1), sorted.end());
  return sorted[static_cast<size_t>(rank - 1)];
}

}  // namespace

std::optional<int64_t> tolerance_rank(int64_t num_samples, double coverage, double confidence) {
  check(num_samples >= 1, "tolerance_rank: expected at least one sample, got ", num_samples);
  check_fraction(coverage, "coverage");
  check_fraction(confidence, "confidence");
  const boost::math::binomial_distribution<> below(static_cast<double>(num_samples), coverage);
  // P(Bin <= k - 1) grows with k: the smallest k that is enough lies in (too_small, enough].
  const auto is_enough = [&](int64_t rank) {
    return boost::math::cdf(below, static_cast<double>(rank - 1)) >= confidence;
  };
  if (!is_enough(num_samples)) return std::nullopt;
  int64_t too_small = 0, enough = num_samples;
  while (enough - too_small > 1) {
    const int64_t middle = (too_small + enough) / 2;
    (is_enough(middle) ? enough : too_small) = middle;
  }
  return enough;
}

Statistical tolerance_limit(std::span<const double> samples, double coverage, double confidence) {
  const auto num_samples = static_cast<int64_t>(samples.size());
  const std::optional<int64_t> rank = tolerance_rank(num_samples, coverage, confidence);
  return Statistical(order_statistic(samples, rank.value_or(num_samples + 1)), confidence);
}

Statistical conformal_limit(std::span<const double> samples, double coverage) {
  check_fraction(coverage, "coverage");
  const double rank = std::ceil((static_cast<double>(samples.size()) + 1) * coverage);
  return Statistical(order_statistic(samples, static_cast<int64_t>(rank)), coverage);
}

}  // namespace kvalign
