// Confidence limits of a mean from independent samples with a declared range. No such limit exists
// without a range (Bahadur and Savage, Annals of Mathematical Statistics 27, 1956). A sample is a
// sequence, never a token: what stands in one text depends on the rest of it. Samples that were
// used for fitting or for choosing among fits void the statement.
#pragma once

#include <cstdint>
#include <span>

#include "kvalign/bounds/evidence.h"
#include "kvalign/format/export.h"

namespace kvalign {

/// Every possible sample lies in [low, high]: known beforehand, not looked up in the samples.
struct DeclaredRange {
  double low = 0;
  double high = 1;
};

enum class MeanMethod : uint8_t {
  // mean + range sqrt(ln(1/d) / (2 n)). Hoeffding, JASA 58, 1963, theorem 1.
  kHoeffding,
  // mean + sqrt(2 V ln(2/d) / n) + range 7 ln(2/d) / (3 (n - 1)), V the sample variance with
  // divisor
  // n - 1. Maurer and Pontil, COLT 2009, theorem 4. At least two samples.
  kEmpiricalBernstein,
  // The largest mean against which bets on the samples, each placed before its sample is seen, have
  // not yet multiplied a gambler's capital by 1/d. Waudby-Smith and Ramdas, JRSS B 86, 2024,
  // sections
  // 3 and 4.2 (predictable plug-in bets, here at most 3/4 for every candidate, so that capital
  // grows
  // with the candidate and bisection is exact). Depends on the order of samples: fix it beforehand.
  kBetting,
};

/// With probability `confidence` = 1 - d the population's mean is at most (at least) this. All
/// throw std::invalid_argument for too few samples, one outside the range, an empty range, or a
/// confidence outside (0, 1).
KVALIGN_API Statistical mean_upper(std::span<const double> samples, const DeclaredRange& range,
                                   double confidence, MeanMethod method);
KVALIGN_API Statistical mean_lower(std::span<const double> samples, const DeclaredRange& range,
                                   double confidence, MeanMethod method);

}  // namespace kvalign
