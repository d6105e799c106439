// How far projected streams are from the true ones, over held-out sequences. Tensors come in batch
// by batch; what is kept is a few sums a sequence and stream, in float64, so memory does not grow
// with tokens. It knows no dataset, projector or file.
//
// Shapes:  R streams   T tokens packed   D width   Q sequences   N resamples
//
// With y the true and p the projected vector of a token, sums over the tokens of a stream:
//   mse             sum |y - p|^2 / (tokens * D)
//   relative_error  sqrt(sum |y - p|^2 / sum |y|^2)
//   cosine          mean of y.p / (max(|y|, 1e-8) max(|p|, 1e-8)), as torch's cosine_similarity
//   r2              1 - sum |y - p|^2 / sum |y - m|^2 with m the mean of y over the held-out
//   tokens,
//                   per dimension: 0 is as good as that mean, which no method is given; 1 is
//                   perfect. Undefined (NaN) for a stream that is constant.
// Of several streams together, in two ways: `mean` is the plain mean of the streams' figures (every
// layer counts the same; undefined r2 are left out); `pooled` puts the sums of all streams into the
// formula (streams with large values count more).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "kvalign/format/export.h"

namespace kvalign {

/// Sums of the true streams alone, the same for every row of a report.
struct TargetSums {
  at::Tensor tokens_Q;              ///< [Q] float64
  at::Tensor squared_norm_QR;       ///< [Q, R] float64: sum |y|^2
  at::Tensor squared_deviation_QR;  ///< [Q, R] float64: sum |y - m|^2
  int64_t width = 0;                ///< D
};

/// Sums of one row (one projector).
struct ErrorSums {
  at::Tensor squared_error_QR;  ///< [Q, R] float64: sum |y - p|^2
  at::Tensor cosine_QR;         ///< [Q, R] float64
};

/// Errors of single tokens, for the list of the worst.
struct TokenErrors {
  at::Tensor squared_error_RT;  ///< float64, CPU
  at::Tensor squared_norm_RT;   ///< float64, CPU
};

/// Mean over all tokens that were added, per stream and dimension, in float64.
class KVALIGN_API StreamMean {
 public:
  /// `streams_RTD` float32 on any device. Throws c10::Error where R or D differ from earlier calls.
  void add(const at::Tensor& streams_RTD);
  /// [R, D] float32 on the CPU. Throws c10::Error where nothing was added.
  at::Tensor mean() const;

 private:
  at::Tensor sum_RD_;
  int64_t num_tokens_ = 0;
};

/// Sums over the tokens of each sequence: [R, T] -> [B, R], float64, CPU. `sequence_offsets` is [B
/// + 1] int64.
KVALIGN_API at::Tensor sum_by_sequence(const at::Tensor& values_RT,
                                       const at::Tensor& sequence_offsets);

/// Gathers TargetSums over batches whose sequences follow one another.
class KVALIGN_API TargetAccumulator {
 public:
  /// `mean_RD` from StreamMean, on the device of the batches.
  explicit TargetAccumulator(at::Tensor mean_RD) : mean_RD_(std::move(mean_RD)) {}
  void add(const at::Tensor& target_RTD, const at::Tensor& sequence_offsets);
  /// Throws c10::Error where nothing was added.
  TargetSums sums() const;

 private:
  at::Tensor mean_RD_;
  std::vector<at::Tensor> tokens_, squared_norm_, squared_deviation_;
};

/// Gathers ErrorSums of one row.
class KVALIGN_API ErrorAccumulator {
 public:
  /// float32 tensors of equal shape and device; throws c10::Error otherwise, and for a projection
  /// that is not finite.
  TokenErrors add(const at::Tensor& predicted_RTD, const at::Tensor& target_RTD,
                  const at::Tensor& sequence_offsets);
  ErrorSums sums() const;

 private:
  std::vector<at::Tensor> squared_error_, cosine_;
};

/// Figures by the formulas above, one value an entry of the leading shape ([N] for resamples).
struct Figures {
  at::Tensor mse, relative_error, cosine, r2;  ///< float64
};

/// Sums over sequences (Bootstrap::sums of each member): [N] or [N, R].
struct SummedErrors {
  at::Tensor tokens_N, squared_norm_NR, squared_deviation_NR, squared_error_NR, cosine_NR;
  int64_t width = 0;
};

/// Of each stream: [N, R] a figure.
KVALIGN_API Figures stream_figures(const SummedErrors& sums);
/// Of several streams together, [N] a figure; `streams` are column numbers, not empty.
KVALIGN_API Figures mean_figures(const SummedErrors& sums, const std::vector<int64_t>& streams);
KVALIGN_API Figures pooled_figures(const SummedErrors& sums, const std::vector<int64_t>& streams);

}  // namespace kvalign
