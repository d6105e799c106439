// Certificates of low_rank: z = E x + c, y = D z + e. Two things may be rounded on the wire, the
// latent z or the cache x, and each has its bound; where both are, the sum holds.
//
// Shapes: n features, r latent numbers, d outputs; E [r, n], D [d, r].
#pragma once

#include <Eigen/Core>

#include "kvalign/bounds/evidence.h"
#include "kvalign/bounds/linear_map.h"
#include "kvalign/format/export.h"

namespace kvalign {

class KVALIGN_API LowRankCertificate {
 public:
  /// Throws std::invalid_argument as LinearMap does and where the maps do not fit each other.
  LowRankCertificate(Eigen::MatrixXd encoder, Eigen::MatrixXd decoder);

  /// The latent was rounded: |D dz| for every |dz_i| <= h_i. `half_widths` [r] are certify_codes'
  /// of the latent's codes, or half a unit in the last place of float16.
  Certified latent_bound(const Eigen::VectorXd& half_widths) const;

  /// The sender's cache was rounded: |D E dx| for every |dx_i| <= h_i, [n]. The better one of the
  /// product's bound and |D|_2 times the encoder's.
  Certified cache_bound(const Eigen::VectorXd& half_widths) const;

 private:
  LinearMap encoder_, decoder_, product_;
  Certified product_rounding_;
};

}  // namespace kvalign
