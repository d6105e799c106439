// Moves of a linear map's output. See linear_map.h.
#include "kvalign/bounds/linear_map.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "check.h"

namespace kvalign {

LinearMap::LinearMap(Eigen::MatrixXd weight, Eigen::VectorXd bias, const LinearMapOptions& options)
    : weight_(std::move(weight)), bias_(std::move(bias)) {
  check(weight_.size() > 0, "LinearMap: expected a weight of at least 1 x 1, got ", weight_.rows(),
        " x ", weight_.cols());
  check(bias_.size() == 0 || bias_.size() == weight_.rows(), "LinearMap: expected a bias of ",
        weight_.rows(), " numbers or none, got ", bias_.size(),
        ". Is the weight [outputs, inputs]?");
  check(
      weight_.allFinite() && bias_.allFinite(),
      "LinearMap: expected finite weights and biases, got NaN or infinity. Did training diverge?");
  if (bias_.size() == 0) bias_ = Eigen::VectorXd::Zero(weight_.rows());
  const CentredMatrix centred = options.centred ? centre_columns(weight_) : CentredMatrix{};
  const Eigen::MatrixXd& moved = options.centred ? centred.matrix : weight_;
  centring_ = centred.rounding;
  spectral_norm_ = spectral_norm_upper(moved) + centring_;
  if (weight_.cols() > options.largest_gram) return;
  const auto rows = static_cast<double>(weight_.rows());
  const Eigen::MatrixXd magnitudes = moved.cwiseAbs();
  gram_ = (moved.transpose() * moved).cwiseAbs() +
          rounding_gamma(rows + 4) * (magnitudes.transpose() * magnitudes);
  gram_ *= raised(1.0, 4);
}

void LinearMap::check_input(const Eigen::VectorXd& vector, const char* where) const {
  check(vector.size() == input_size(), "LinearMap::", where, ": expected ", input_size(),
        " numbers, got ", vector.size(), ". Does this token come from another model?");
}

Certified LinearMap::box_bound(const Eigen::VectorXd& half_widths) const {
  check_input(half_widths, "box_bound");
  check((half_widths.array() >= 0).all(), "LinearMap::box_bound: expected half widths >= 0, got ",
        half_widths.minCoeff());
  if (!half_widths.allFinite()) return Certified(std::numeric_limits<double>::infinity());
  const double norm = norm_upper(half_widths);
  const Certified ball = ball_bound(Certified(norm));
  if (gram_.size() == 0 || norm == 0) return ball;
  const double scale = power_of_two_scale(norm);
  const Eigen::VectorXd scaled = half_widths * scale;
  const double form = raised(scaled.dot(gram_ * scaled), 2 * static_cast<double>(scaled.size()));
  return tighter(ball, Certified(raised(std::sqrt(form), 1) / scale) + centring_ * Certified(norm));
}

LinearMap::Output LinearMap::apply(const Eigen::VectorXd& input,
                                   const Eigen::VectorXd& error_n) const {
  check_input(input, "apply");
  const auto terms = static_cast<double>(input.size());
  Output output{weight_ * input + bias_, {}};
  const Eigen::VectorXd magnitudes = weight_.cwiseAbs() * input.cwiseAbs() + bias_.cwiseAbs();
  output.errors = magnitudes * raised(rounding_gamma(terms + 2), terms + 4);
  if (error_n.size() > 0) output.errors += output_box(error_n);
  output.errors *= raised(1.0, 2);
  return output;
}

Eigen::VectorXd LinearMap::output_box(const Eigen::VectorXd& half_widths) const {
  check_input(half_widths, "output_box");
  if (!half_widths.allFinite()) {
    return Eigen::VectorXd::Constant(output_size(), std::numeric_limits<double>::infinity());
  }
  const Eigen::VectorXd box = weight_.cwiseAbs() * half_widths;
  return box * raised(1.0, static_cast<double>(half_widths.size()) + 2);
}

}  // namespace kvalign
