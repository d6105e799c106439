// How large FP8's error usually is, where errors are uniform in their rounding cells: an RMS model,
// not a certificate. Real errors exceed it about as often as they stay below it.
#pragma once

#include <Eigen/Core>

#include "kvalign/format/export.h"
#include "kvalign/format/fp8.h"

namespace kvalign {

/// Expected 2-norm of the error, modelled as uniform within +-bounds (of certify_codes): |h| /
/// sqrt(3), the standard deviation of a uniform variable times the half width (Widrow and Kollar,
/// Quantization Noise, section 1.3). Units of the values.
KVALIGN_API double rms_model_of_codes(const Eigen::VectorXd& bounds);

/// Root mean square of error / value for log-uniform values among the normal numbers: (u / sqrt 3)
/// sqrt(3 / (8 ln 2)); 2.654 % in E4M3, 5.307 % in E5M2.
KVALIGN_API double rms_model_relative(Fp8Format format);

}  // namespace kvalign
