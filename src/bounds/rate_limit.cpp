// Clopper-Pearson limits and what is made of them. See rate_limit.h.
#include "kvalign/bounds/rate_limit.h"

#include <algorithm>
#include <boost/math/distributions/binomial.hpp>

#include "check.h"

namespace kvalign {
namespace {

using Binomial = boost::math::binomial_distribution<>;

// Boost's incomplete beta inverse is good to some 1e-14.
constexpr double kInverseRoundings = 128;

void check_confidence(double confidence) {
  check(confidence > 0 && confidence < 1, "rate limit: expected a confidence in (0, 1), got ",
        confidence);
}

void check_count(const EventCount& count) {
  check(count.trials >= 1 && count.events >= 0 && count.events <= count.trials,
        "rate limit: expected 0 <= events <= trials and at least one trial, got ", count.events,
        " of ", count.trials);
}

}  // namespace

Statistical rate_upper(const EventCount& count, double confidence) {
  check_count(count);
  check_confidence(confidence);
  if (count.events == count.trials) return Statistical(1, confidence);
  const double upper = Binomial::find_upper_bound_on_p(
      static_cast<double>(count.trials), static_cast<double>(count.events), 1 - confidence);
  return Statistical(std::min(raised(upper, kInverseRoundings), 1.0), confidence);
}

Statistical rate_lower(const EventCount& count, double confidence) {
  check_count(count);
  check_confidence(confidence);
  if (count.events == 0) return Statistical(0, confidence);
  const double lower = Binomial::find_lower_bound_on_p(
      static_cast<double>(count.trials), static_cast<double>(count.events), 1 - confidence);
  return Statistical(lowered(lower, kInverseRoundings), confidence);
}

Statistical degradation_upper(const PairedOutcomes& outcomes, double confidence) {
  check(outcomes.only_reference_right + outcomes.only_ours_right <= outcomes.samples,
        "degradation_upper: expected at most ", outcomes.samples, " disagreements, got ",
        outcomes.only_reference_right, " + ", outcomes.only_ours_right);
  const double each = simultaneous_confidence(confidence, 2);
  const Statistical worse = rate_upper({outcomes.only_reference_right, outcomes.samples}, each);
  const Statistical better = rate_lower({outcomes.only_ours_right, outcomes.samples}, each);
  return Statistical(worse.value() - better.value(), confidence);
}

double simultaneous_confidence(double confidence, int64_t num_statements) {
  check_confidence(confidence);
  check(num_statements >= 1, "simultaneous_confidence: expected at least one statement, got ",
        num_statements);
  return 1 - (1 - confidence) / static_cast<double>(num_statements);
}

}  // namespace kvalign
