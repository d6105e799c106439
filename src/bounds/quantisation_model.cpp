// The RMS model of FP8's error. See quantisation_model.h.
#include "kvalign/bounds/quantisation_model.h"

#include <cmath>
#include <numbers>

namespace kvalign {

double rms_model_of_codes(const Eigen::VectorXd& bounds) {
  return bounds.norm() / std::sqrt(3.0);
}

double rms_model_relative(Fp8Format format) {
  const double u = std::ldexp(1.0, -fp8_mantissa_bits(format) - 1);
  return u / std::sqrt(3.0) * std::sqrt(3 / (8 * std::numbers::ln2));
}

}  // namespace kvalign
