// Streaming mean and variance. Squares are of differences from the batch mean, taken in float32 and
// summed in float64; batches are merged in float64.
#include "kvalign/projector/standardisation.h"

#include <ATen/ATen.h>

namespace kvalign {
namespace {

// An element whose deviation is below rounding of its mean is constant: dividing by it would only
// blow up noise.
at::Tensor scale_of(const at::Tensor& mean, const at::Tensor& sum_squares, int64_t num_tokens) {
  const at::Tensor deviation = (sum_squares / static_cast<double>(num_tokens)).sqrt();
  constexpr double kSmallestRelative = 1e-6;
  constexpr double kSmallestAbsolute = 1e-12;
  const at::Tensor constant = deviation <= mean.abs() * kSmallestRelative + kSmallestAbsolute;
  return deviation.masked_fill(constant, 1.0).to(at::kFloat);
}

}  // namespace

void StatisticsAccumulator::merge(Moments& moments, const at::Tensor& batch_XTY) const {
  const int64_t batch_tokens = batch_XTY.size(1);
  const at::Tensor mean =
      batch_XTY.sum(/*dim=*/1, /*keepdim=*/false, at::kDouble).cpu() / double(batch_tokens);
  const at::Tensor differences = batch_XTY - mean.to(batch_XTY.options()).unsqueeze(1);
  const at::Tensor sum_squares =
      differences.square_().sum(/*dim=*/1, /*keepdim=*/false, at::kDouble).cpu();
  if (!moments.mean.defined()) {
    moments = {mean, sum_squares};
    return;
  }
  const double before = static_cast<double>(num_tokens_);
  const double after = before + static_cast<double>(batch_tokens);
  const at::Tensor shift = mean - moments.mean;
  moments.sum_squares +=
      sum_squares + shift.square() * (before * static_cast<double>(batch_tokens) / after);
  moments.mean += shift * (static_cast<double>(batch_tokens) / after);
}

void StatisticsAccumulator::add(const at::Tensor& features_GTF, const at::Tensor& targets_RTD) {
  TORCH_CHECK(features_GTF.dim() == 3 && targets_RTD.dim() == 3 &&
                  features_GTF.size(1) == targets_RTD.size(1),
              "StatisticsAccumulator::add: expected features [G, T, F] and targets [R, T, D] of "
              "the same tokens, got ",
              features_GTF.sizes(), " and ", targets_RTD.sizes());
  if (features_GTF.size(1) == 0) {
    return;
  }
  const auto fits = [](const Moments& moments, const at::Tensor& batch) {
    return !moments.mean.defined() ||
           (moments.mean.size(0) == batch.size(0) && moments.mean.size(1) == batch.size(2));
  };
  TORCH_CHECK(fits(features_GF_, features_GTF) && fits(outputs_RD_, targets_RTD),
              "StatisticsAccumulator::add: expected batches of one shape, got features ",
              features_GTF.sizes(), " and targets ", targets_RTD.sizes(), " after features ",
              features_GF_.mean.sizes(), " and targets ", outputs_RD_.mean.sizes());
  const at::NoGradGuard no_gradients;
  merge(features_GF_, features_GTF);
  merge(outputs_RD_, targets_RTD);
  num_tokens_ += features_GTF.size(1);
}

FeatureStatistics StatisticsAccumulator::finish() const {
  TORCH_CHECK(num_tokens_ > 0,
              "StatisticsAccumulator::finish: expected at least one token, got none. Is the "
              "training split empty?");
  return {features_GF_.mean.to(at::kFloat),
          scale_of(features_GF_.mean, features_GF_.sum_squares, num_tokens_),
          outputs_RD_.mean.to(at::kFloat),
          scale_of(outputs_RD_.mean, outputs_RD_.sum_squares, num_tokens_)};
}

}  // namespace kvalign
