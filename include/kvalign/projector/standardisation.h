// Mean and scale of every feature and every output, measured on training data: what a projector
// uses to see features of mean 0 and scale 1, and to produce outputs in the units of the receiver.
//
// Shapes:  G feature groups   F features   R streams   D receiver width   T tokens
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "kvalign/format/export.h"

namespace kvalign {

// float32, CPU. Scales are standard deviations (of the population), and 1 for an element that does
// not vary, so that a division by them is always safe.
struct FeatureStatistics {
  at::Tensor feature_mean_GF;
  at::Tensor feature_scale_GF;
  at::Tensor output_mean_RD;
  at::Tensor output_scale_RD;
};

// Streams over batches in float64 (Chan, Golub, LeVeque 1983: means and sums of squares of parts
// are merged, so nothing large is subtracted). Batches are not kept.
class KVALIGN_API StatisticsAccumulator {
 public:
  // features_GTF and targets_RTD of the same tokens, float32 or float64, any device.
  // Errors: c10::Error for shapes that differ from the first batch or a different T.
  void add(const at::Tensor& features_GTF, const at::Tensor& targets_RTD);

  int64_t num_tokens() const { return num_tokens_; }

  // Errors: c10::Error before the first token.
  FeatureStatistics finish() const;

 private:
  struct Moments {
    at::Tensor mean;         // float64
    at::Tensor sum_squares;  // float64, of differences from the mean
  };
  void merge(Moments& moments, const at::Tensor& batch_XTY) const;

  int64_t num_tokens_ = 0;
  Moments features_GF_;
  Moments outputs_RD_;
};

}  // namespace kvalign
