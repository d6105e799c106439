// The exact GELU, x Phi(x) with the normal distribution's Phi (Hendrycks and Gimpel, arXiv
// 1606.08415), and how steep it is on an interval. GELU'(x) = Phi(x) + x phi(x), and GELU''(x) =
// phi(x) (2 - x^2): the slope is largest at sqrt(2), 1.1289041451851, and smallest at -sqrt(2), the
// same distance below 0 as the other lies above 1.
#pragma once

#include "kvalign/bounds/evidence.h"
#include "kvalign/format/export.h"

namespace kvalign {

constexpr double kLargestGeluSlope = 1.1289041451852;

KVALIGN_API double gelu(double x);

/// At least |GELU'| on [low, high], infinities included. Throws std::invalid_argument unless low <=
/// high.
KVALIGN_API Certified gelu_slope_bound(double low, double high);

/// At least the rounding error of gelu(x) itself.
KVALIGN_API double gelu_rounding(double x);

}  // namespace kvalign
