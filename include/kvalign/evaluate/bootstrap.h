// Percentile bootstrap: how much would a figure move had other sequences been held out? Resamples
// units (documents) with replacement, never tokens, since tokens of one sequence depend on each
// other. Knows nothing of caches: it weighs sums, and callers make figures of them.
//
// Shapes:  U units   N resamples
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <limits>

#include "kvalign/format/export.h"

namespace kvalign {

/// A figure and its interval. `low` and `high` are NaN where there is no interval (fewer than two
/// units), `value` too where the figure itself is undefined.
struct Interval {
  double value = std::numeric_limits<double>::quiet_NaN();
  double low = std::numeric_limits<double>::quiet_NaN();
  double high = std::numeric_limits<double>::quiet_NaN();
};

/// Draws the resamples once, so that figures of one object are paired: the difference of two
/// figures is taken within each resample. Same seed, same resamples, on every machine.
class KVALIGN_API Bootstrap {
 public:
  /// Throws c10::Error unless `num_units` and `num_resamples` are positive.
  Bootstrap(int64_t num_units, int64_t num_resamples, uint64_t seed);

  /// How often each resample holds each unit: [1 + N, U] float64. Row 0 is all ones: the data
  /// itself.
  const at::Tensor& weights() const { return weights_NU_; }
  int64_t num_units() const { return weights_NU_.size(1); }
  int64_t num_resamples() const { return weights_NU_.size(0) - 1; }

  /// Sums over units of `values_U` [U, ...] float64, for the data and each resample: [1 + N, ...].
  /// Throws c10::Error for another first size.
  at::Tensor sums(const at::Tensor& values_U) const;

  /// From one figure for the data and each resample ([1 + N], as made from sums()): the figure and
  /// its 2.5 and 97.5 percentiles, interpolated linearly as numpy.percentile does. Resamples in
  /// which the figure is undefined (NaN) are left out.
  Interval interval(const at::Tensor& figures_N) const;

 private:
  at::Tensor weights_NU_;
};

}  // namespace kvalign
