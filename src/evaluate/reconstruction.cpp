// Sums of errors over held-out sequences, and the figures made of them. See reconstruction.h.
#include "kvalign/evaluate/reconstruction.h"

#include <ATen/ATen.h>

#include <limits>

namespace kvalign {
namespace {

constexpr double kCosineEpsilon = 1e-8;  // default of torch.nn.functional.cosine_similarity

// One token's D products are added in float32 (pairwise, so a few units in the last place); from
// there on everything is float64.
at::Tensor sum_of_squares(const at::Tensor& values_RTD) {
  return values_RTD.square().sum(-1).to(at::kCPU, at::kDouble);
}

at::Tensor ratio_or_nan(const at::Tensor& numerator, const at::Tensor& denominator) {
  return at::where(denominator > 0, numerator / denominator,
                   std::numeric_limits<double>::quiet_NaN());
}

at::Tensor columns(const at::Tensor& values_NR, const std::vector<int64_t>& streams) {
  return values_NR.index_select(1, at::tensor(streams, at::kLong));
}

at::Tensor concatenate(const std::vector<at::Tensor>& parts, const char* where) {
  TORCH_CHECK(!parts.empty(), where, ": no batch was added.");
  return at::cat(parts);
}

}  // namespace

void StreamMean::add(const at::Tensor& streams_RTD) {
  // In float64 from the first token on: the mean of a constant is then that constant, bit for bit,
  // which is how a stream without variance is recognised.
  const at::Tensor sum_RD = streams_RTD.sum(1, /*keepdim=*/false, at::kDouble).to(at::kCPU);
  TORCH_CHECK(!sum_RD_.defined() || sum_RD_.sizes() == sum_RD.sizes(),
              "StreamMean::add: expected [streams, width] ", sum_RD_.sizes(), ", got ",
              sum_RD.sizes(), ".");
  sum_RD_ = sum_RD_.defined() ? sum_RD_ + sum_RD : sum_RD;
  num_tokens_ += streams_RTD.size(1);
}

at::Tensor StreamMean::mean() const {
  TORCH_CHECK(num_tokens_ > 0, "StreamMean::mean: no token was added.");
  return (sum_RD_ / static_cast<double>(num_tokens_)).to(at::kFloat);
}

at::Tensor sum_by_sequence(const at::Tensor& values_RT, const at::Tensor& sequence_offsets) {
  const int64_t num_sequences = sequence_offsets.size(0) - 1;
  const auto* offsets = sequence_offsets.const_data_ptr<int64_t>();
  at::Tensor sums_BR = at::empty({num_sequences, values_RT.size(0)}, at::kDouble);
  for (int64_t b = 0; b < num_sequences; ++b) {
    sums_BR[b] = values_RT.narrow(1, offsets[b], offsets[b + 1] - offsets[b]).sum(1);
  }
  return sums_BR;
}

void TargetAccumulator::add(const at::Tensor& target_RTD, const at::Tensor& sequence_offsets) {
  const at::Tensor deviation_RTD = target_RTD - mean_RD_.unsqueeze(1);
  tokens_.push_back(sequence_offsets.diff().to(at::kDouble));
  squared_norm_.push_back(sum_by_sequence(sum_of_squares(target_RTD), sequence_offsets));
  squared_deviation_.push_back(sum_by_sequence(sum_of_squares(deviation_RTD), sequence_offsets));
}

TargetSums TargetAccumulator::sums() const {
  return {.tokens_Q = concatenate(tokens_, "TargetAccumulator::sums"),
          .squared_norm_QR = at::cat(squared_norm_),
          .squared_deviation_QR = at::cat(squared_deviation_),
          .width = mean_RD_.size(1)};
}

TokenErrors ErrorAccumulator::add(const at::Tensor& predicted_RTD, const at::Tensor& target_RTD,
                                  const at::Tensor& sequence_offsets) {
  TORCH_CHECK(predicted_RTD.sizes() == target_RTD.sizes(),
              "ErrorAccumulator::add: expected a projection of the target's shape ",
              target_RTD.sizes(), ", got ", predicted_RTD.sizes(), ".");
  TokenErrors errors{.squared_error_RT = sum_of_squares(predicted_RTD - target_RTD),
                     .squared_norm_RT = sum_of_squares(target_RTD)};
  TORCH_CHECK(errors.squared_error_RT.isfinite().all().item<bool>(),
              "ErrorAccumulator::add: the projection is not finite. Was the checkpoint trained on "
              "caches of this range?");
  const at::Tensor dot_RT = (predicted_RTD * target_RTD).sum(-1).to(at::kCPU, at::kDouble);
  const at::Tensor norm_RT = sum_of_squares(predicted_RTD).sqrt_().clamp_min_(kCosineEpsilon);
  const at::Tensor target_norm_RT = errors.squared_norm_RT.sqrt().clamp_min_(kCosineEpsilon);
  squared_error_.push_back(sum_by_sequence(errors.squared_error_RT, sequence_offsets));
  cosine_.push_back(sum_by_sequence(dot_RT / norm_RT / target_norm_RT, sequence_offsets));
  return errors;
}

ErrorSums ErrorAccumulator::sums() const {
  return {.squared_error_QR = concatenate(squared_error_, "ErrorAccumulator::sums"),
          .cosine_QR = at::cat(cosine_)};
}

Figures stream_figures(const SummedErrors& sums) {
  const at::Tensor tokens_N1 = sums.tokens_N.unsqueeze(1);
  return {.mse = sums.squared_error_NR / (tokens_N1 * static_cast<double>(sums.width)),
          .relative_error = ratio_or_nan(sums.squared_error_NR, sums.squared_norm_NR).sqrt(),
          .cosine = sums.cosine_NR / tokens_N1,
          .r2 = 1 - ratio_or_nan(sums.squared_error_NR, sums.squared_deviation_NR)};
}

Figures mean_figures(const SummedErrors& sums, const std::vector<int64_t>& streams) {
  const Figures figures = stream_figures(sums);
  return {.mse = columns(figures.mse, streams).mean(1),
          .relative_error = columns(figures.relative_error, streams).nanmean(1),
          .cosine = columns(figures.cosine, streams).mean(1),
          .r2 = columns(figures.r2, streams).nanmean(1)};
}

Figures pooled_figures(const SummedErrors& sums, const std::vector<int64_t>& streams) {
  const auto pool = [&](const at::Tensor& values_NR) {
    return columns(values_NR, streams).sum(1, /*keepdim=*/true);
  };
  const auto num_streams = static_cast<double>(streams.size());
  const Figures figures = stream_figures({.tokens_N = sums.tokens_N * num_streams,
                                          .squared_norm_NR = pool(sums.squared_norm_NR),
                                          .squared_deviation_NR = pool(sums.squared_deviation_NR),
                                          .squared_error_NR = pool(sums.squared_error_NR),
                                          .cosine_NR = pool(sums.cosine_NR),
                                          .width = sums.width});
  return {.mse = figures.mse.squeeze(1),
          .relative_error = figures.relative_error.squeeze(1),
          .cosine = figures.cosine.squeeze(1),
          .r2 = figures.r2.squeeze(1)};
}

}  // namespace kvalign
