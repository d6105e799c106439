// How far a projector's output can move when a token's features move within the box that its FP8
// codes leave open: |P(x) - P(x_hat)|_2 <= bound for every x with |x - x_hat|_i <= h_i, in exact
// arithmetic. One token and one stream at a time; weights are plain matrices, statistics folded in.
// MLPs are in mlp_certificate.h, latents in low_rank_certificate.h.
//
// Shapes: n features, d outputs; x_hat [n] as decoded (value * scale), h [n] from certify_codes.
#pragma once

#include <Eigen/Core>
#include <cstdint>

#include "kvalign/bounds/evidence.h"
#include "kvalign/bounds/linear_map.h"
#include "kvalign/format/export.h"

namespace kvalign {

enum class OutputNorm : uint8_t { kNone, kLayer, kRms };

/// The projector's last step: gamma g(v) + beta, with g as in norm_bound.h; beta moves nothing.
struct OutputNormParameters {
  OutputNorm kind = OutputNorm::kNone;
  double epsilon = 1e-5;
  Eigen::VectorXd gamma;  // [d]; empty for kNone

  /// Throws std::invalid_argument for a gamma that is not finite or not [d], or an epsilon < 0.
  KVALIGN_API void validate(Eigen::Index output_size) const;
};

/// The bound behind an output norm: `radius` before it becomes max|gamma| Phi(radius; sigma) after
/// it, at the pre-norm output `centre`. Without a norm the radius itself.
KVALIGN_API Certified bound_after_norm(const OutputNormParameters& norm,
                                       const LinearMap::Output& centre, Certified radius);

/// `linear_residual`: W x + b and a norm. Also truncation, interpolation and every other linear
/// map.
class KVALIGN_API LinearCertificate {
 public:
  /// Throws std::invalid_argument as LinearMap and OutputNormParameters::validate do.
  LinearCertificate(Eigen::MatrixXd weight, Eigen::VectorXd bias, OutputNormParameters norm);

  /// Throws std::invalid_argument for vectors that are not [n] and for an h_i below 0.
  Certified bound(const Eigen::VectorXd& decoded, const Eigen::VectorXd& half_widths) const;

  const LinearMap& map() const { return map_; }

 private:
  OutputNormParameters norm_;
  LinearMap map_;
};

}  // namespace kvalign
