// A linear map y = W x + b with what certificates need of it, computed once: how far the output
// moves (2-norm) when the input moves within a box or a ball, and the output itself with its
// rounding error. Float64; deployed float32 or bfloat16 arithmetic adds an error of its own, which
// is measured, not certified, here.
//
// Shapes: W [d, n]; b [d], or empty for none; x and box half widths h [n].
#pragma once

#include <Eigen/Core>

#include "kvalign/bounds/evidence.h"
#include "kvalign/bounds/norm_bound.h"
#include "kvalign/bounds/spectral_norm.h"
#include "kvalign/format/export.h"

namespace kvalign {

struct LinearMapOptions {
  bool centred = false;  // bound the move of the output without its mean (before a LayerNorm)
  Eigen::Index largest_gram = 2048;  // |G| is kept, n^2 doubles, for inputs up to this width
};

class KVALIGN_API LinearMap {
 public:
  /// Throws std::invalid_argument for NaN, infinity, no weights or a bias of another size than d.
  LinearMap(Eigen::MatrixXd weight, Eigen::VectorXd bias, const LinearMapOptions& options = {});

  Eigen::Index input_size() const { return weight_.cols(); }
  Eigen::Index output_size() const { return weight_.rows(); }

  /// At least |W|_2, or |P W|_2 where centred (P removes the mean).
  Certified spectral_norm() const { return spectral_norm_; }

  /// At least |W e| for every |e|_2 <= radius.
  Certified ball_bound(Certified radius) const { return spectral_norm_ * radius; }

  /// At least |W e| for every |e_i| <= h_i: min(|W|_2 |h|, sqrt(h^T |G| h)) with G = W^T W and its
  /// magnitudes entry by entry (e^T G e <= |e|^T |G| |e|; Horn and Johnson, Matrix Analysis, 8.1).
  /// Infinity where an h_i is. Throws std::invalid_argument for another size or an h_i below 0.
  Certified box_bound(const Eigen::VectorXd& half_widths) const;

  /// W x + b, not centred. `error_n` [n] or empty: bounds of |x_i - exact x_i|, which it passes on.
  /// `errors` of the result are bounds for each output. Throws as box_bound.
  struct Output {
    Eigen::VectorXd value, errors;  // [d]
  };
  Output apply(const Eigen::VectorXd& input, const Eigen::VectorXd& error_n = {}) const;

  /// At least |W| h, entry by entry: how far each output moves within the box. [d]
  Eigen::VectorXd output_box(const Eigen::VectorXd& half_widths) const;

 private:
  void check_input(const Eigen::VectorXd& vector, const char* where) const;

  Eigen::MatrixXd weight_;
  Eigen::VectorXd bias_;
  Certified spectral_norm_{0.0};
  Certified centring_{0.0};  // spectral norm of the rounding in P W
  Eigen::MatrixXd gram_;     // at least |G|, or empty
};

}  // namespace kvalign
