// Certificates of projectors with a hidden layer, as in projector_certificate.h:
//   mlp           norm(W2 gelu(W1 x + b1) + b2)
//   residual_mlp  W x + b + W2 gelu(W1 x + b1) + b2
// Hidden unit i moves by at most r_i = (|W1| h)_i, and GELU is at most l_i steep within that reach:
//   radius = min( box bound of W2 over l_i r_i, |W2|_2 max(l) |W1|_2 |h| )
// (mean value theorem, unit by unit). Exact (erf) GELU, no dropout.
//
// Shapes: n features, m hidden units, d outputs; W1 [m, n], W2 [d, m], W [d, n].
#pragma once

#include <Eigen/Core>
#include <optional>

#include "kvalign/bounds/evidence.h"
#include "kvalign/bounds/linear_map.h"
#include "kvalign/bounds/projector_certificate.h"
#include "kvalign/format/export.h"

namespace kvalign {

struct MlpWeights {
  Eigen::MatrixXd hidden_weight;  // [m, n]
  Eigen::VectorXd hidden_bias;    // [m], or empty
  Eigen::MatrixXd output_weight;  // [d, m]
  Eigen::VectorXd output_bias;    // [d], or empty
};

class KVALIGN_API MlpCertificate {
 public:
  /// Throws std::invalid_argument as LinearMap and OutputNormParameters::validate do, and where the
  /// layers do not fit each other.
  MlpCertificate(MlpWeights weights, OutputNormParameters norm);

  /// Throws std::invalid_argument for vectors that are not [n] and for an h_i below 0.
  Certified bound(const Eigen::VectorXd& decoded, const Eigen::VectorXd& half_widths) const;

 private:
  OutputNormParameters norm_;
  LinearMap hidden_, output_;
};

class KVALIGN_API ResidualMlpCertificate {
 public:
  /// The linear part [d, n] and the MLP on top of it. Throws std::invalid_argument as
  /// MlpCertificate does.
  ResidualMlpCertificate(Eigen::MatrixXd weight, MlpWeights weights);

  /// The sum of both parts' bounds. Throws as MlpCertificate::bound.
  Certified bound(const Eigen::VectorXd& decoded, const Eigen::VectorXd& half_widths) const;

 private:
  LinearMap linear_;
  MlpCertificate mlp_;
};

}  // namespace kvalign
