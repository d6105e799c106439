// Confidence limits of rates (success, disagreement) from independent trials, of a paired
// difference of two rates, and of several statements at once.
#pragma once

#include <cstdint>

#include "kvalign/bounds/evidence.h"
#include "kvalign/format/export.h"

namespace kvalign {

/// `events` out of `trials`.
struct EventCount {
  int64_t events = 0;
  int64_t trials = 0;
};

/// Clopper and Pearson, Biometrika 26, 1934: with probability `confidence` the rate is at most (at
/// least) this, for every true rate. Throws std::invalid_argument unless 0 <= events <= trials,
/// trials >= 1 and the confidence is in (0, 1).
KVALIGN_API Statistical rate_upper(const EventCount& count, double confidence);
KVALIGN_API Statistical rate_lower(const EventCount& count, double confidence);

/// Two systems on the same samples.
struct PairedOutcomes {
  int64_t samples = 0;
  int64_t only_reference_right = 0;
  int64_t only_ours_right = 0;
};

/// Upper limit of accuracy(reference) - accuracy(ours): rate_upper of the first kind of
/// disagreement minus rate_lower of the second, each at half the error (Bonferroni). Samples on
/// which both agree carry no information: two separate intervals would be far wider. Throws as
/// rate_upper.
KVALIGN_API Statistical degradation_upper(const PairedOutcomes& outcomes, double confidence);

/// The confidence that each of `num_statements` needs for all to hold together with `confidence`
/// (Bonferroni). Throws std::invalid_argument for a confidence outside (0, 1) or fewer than one.
KVALIGN_API double simultaneous_confidence(double confidence, int64_t num_statements);

}  // namespace kvalign
