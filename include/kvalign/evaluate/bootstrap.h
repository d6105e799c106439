// Percentile bootstrap: how much would a figure move had other sequences been held out? Resamples
// sequences with replacement, whole documents where several are of one, and never tokens: what
// stands in one text depends on the rest of it. Knows nothing of caches: it weighs sums a sequence,
// and callers make figures of the sums.
//
// Shapes:  Q sequences   N resamples
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <limits>
#include <vector>

#include "kvalign/format/export.h"

namespace kvalign {

/// A figure and its 95 % interval. `low` and `high` are NaN where there is none (fewer than two
/// documents), `value` too where the figure itself is undefined.
struct Interval {
  double value = std::numeric_limits<double>::quiet_NaN();
  double low = std::numeric_limits<double>::quiet_NaN();
  double high = std::numeric_limits<double>::quiet_NaN();
};

/// Draws the resamples once, so that figures of one object are paired: the difference of two
/// figures is taken within each resample. Same seed, same resamples, on every machine.
class KVALIGN_API Bootstrap {
 public:
  /// `documents` [Q]: an id for each sequence; sequences with one id are drawn together. Each of
  /// the `num_resamples` draws as many documents as there are. Throws c10::Error for an empty list
  /// and unless `num_resamples` is positive.
  Bootstrap(const std::vector<int64_t>& documents, int64_t num_resamples, uint64_t seed);

  int64_t num_documents() const { return num_documents_; }
  int64_t num_resamples() const { return weights_NQ_.size(0) - 1; }

  /// How often each resample holds each sequence: [1 + N, Q] float64. Row 0 is all ones, the data.
  const at::Tensor& weights() const { return weights_NQ_; }

  /// Weighted sums over sequences of `values_Q` [Q, ...] float64: [1 + N, ...], the data first.
  /// Throws c10::Error for another first size.
  at::Tensor sums(const at::Tensor& values_Q) const;

  /// From one figure for the data and each resample ([1 + N], as made from sums()): the figure and
  /// its 2.5th and 97.5th percentile, interpolated linearly as numpy.percentile does. Resamples in
  /// which the figure is undefined (NaN) are left out. Throws c10::Error for another shape.
  Interval interval(const at::Tensor& figures_N) const;

 private:
  int64_t num_documents_ = 0;
  at::Tensor weights_NQ_;
};

}  // namespace kvalign
