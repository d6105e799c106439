// Ridge regression and reduced-rank regression from sums (ridge_statistics.h), in float64: one
// Cholesky factor of the features' correlations for each penalty, which serves all streams and
// every rank. (An eigendecomposition, which serves every penalty, takes as long as thirty to forty
// of them: 6,144 features on two cores.)
//
// Features are standardised, outputs centred: with z = (x - mean) / deviation over n tokens the
// weights of stream r minimise |Y - Z W|^2 / n + lambda_r |W|^2 (Hoerl and Kennard 1970), so that
// lambda is in units of a feature's variance; scikit-learn's Ridge(alpha = n lambda) is the same.
//
// Shapes:  G feature groups   F features   R streams   D receiver width   N kv heads   H head dim
//          r rank   O = R / G * D
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "kvalign/format/export.h"
#include "kvalign/projector/ridge_statistics.h"

namespace kvalign {

/// y = weight x + bias of raw features. float32.
struct RidgeMap {
  at::Tensor weight_RDF, bias_RD;
};

/// latent = encoder x + bias, y = decoder latent + bias, float32. Latents have mean 0 and a
/// variance of at most 1, falling in importance: the first k of a map of rank r are the map of rank
/// k.
struct LowRankMap {
  at::Tensor encoder_rF, encoder_bias_r;
  at::Tensor decoder_RDr, decoder_bias_RD;
};

/// The lambdas that a path tries: 1e-6, 3e-6, .. 0.3.
KVALIGN_API std::vector<double> default_lambdas();

class KVALIGN_API Ridge {
 public:
  /// Keeps `training`, whose tensors are shared. `feature_noise` is the relative standard deviation
  /// of an error that every feature will carry when the map is used (0.0265 for E4M3), added to the
  /// correlations as its expected covariance. Works, and returns maps, on the statistics' device.
  /// Throws c10::Error for fewer than 2 tokens.
  explicit Ridge(const RidgeStatistics& training, double feature_noise = 0);

  /// Share of the variance that each lambda leaves unexplained on `held_out`, about the training
  /// mean: [lambdas, R], over 8 outputs of a stream (all of them where it has under 64). Lambdas
  /// are tried from the largest down; where two in a row bring no stream of a group closer, smaller
  /// ones are not tried, and theirs is infinite. Like what follows, it throws c10::Error for a
  /// lambda that is too small for these features: so far below their rounding that the correlations
  /// with it are singular.
  at::Tensor held_out_error(const RidgeStatistics& held_out,
                            const std::vector<double>& lambdas) const;

  /// One lambda a stream.
  RidgeMap solve(const std::vector<double>& lambda_R) const;

  /// Reduced-rank regression (Izenman 1975) of all streams at once: the map of rank `rank` that
  /// leaves the least error e' metric e, expected over the training tokens. metric_RNHH: symmetric
  /// and positive semidefinite for each stream and head. Throws c10::Error where G is not 1, for a
  /// rank outside 1 .. F and a metric of other shape.
  LowRankMap reduce(double lambda, int64_t rank, const at::Tensor& metric_RNHH) const;

  /// Every stream's error divided by the stream's variance: the metric that knows nothing of the
  /// receiver. [R, 1, D, D].
  at::Tensor variance_metric() const;

 private:
  using Choice = std::function<at::Tensor(const at::Tensor& of_outputs)>;
  at::Tensor factor(int64_t group, double lambda) const;
  at::Tensor cross_products(int64_t group, const Choice& choice) const;
  at::Tensor cross_products_of_stream(int64_t stream) const;

  RidgeStatistics training_;
  ProjectorShape shape_;
  double num_tokens_ = 0;
  at::Tensor mean_GF_, deviation_GF_, output_mean_RD_, output_variance_RD_;
  std::vector<at::Tensor> correlations_FF_;  ///< Z'Z / n, and the noise's; of each group
};

}  // namespace kvalign
