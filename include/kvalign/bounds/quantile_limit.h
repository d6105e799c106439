// Limits of a quantile from independent samples, for any distribution and without a range. Samples
// are sequences, as in mean_interval.h.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "kvalign/bounds/evidence.h"
#include "kvalign/format/export.h"

namespace kvalign {

/// The smallest k for which the k-th smallest of n samples is at least the `coverage` quantile with
/// probability `confidence`: P(Bin(n, coverage) <= k - 1) >= confidence. Nothing where n is too
/// small (59 samples serve 95 % / 95 %). Wilks, Annals of Mathematical Statistics 12, 1941; David
/// and Nagaraja, Order Statistics, section 7.1. Throws std::invalid_argument for n < 1 and for
/// fractions outside (0, 1).
KVALIGN_API std::optional<int64_t> tolerance_rank(int64_t num_samples, double coverage,
                                                  double confidence);

/// That sample: with probability `confidence`, at least a fraction `coverage` of the population is
/// at most this; infinity where there are too few samples. Throws as tolerance_rank, and for NaN.
KVALIGN_API Statistical tolerance_limit(std::span<const double> samples, double coverage,
                                        double confidence);

/// The ceil((n + 1) coverage)-th smallest sample: the next sample is at most this with probability
/// `coverage`, over the draw of all n + 1 (split conformal prediction: Vovk, Gammerman and Shafer
/// 2005; Lei et al., JASA 113, 2018, theorem 2.2). A statement about one next sample: its
/// confidence is the coverage. Infinity where there are too few samples. Throws as tolerance_limit.
KVALIGN_API Statistical conformal_limit(std::span<const double> samples, double coverage);

}  // namespace kvalign
