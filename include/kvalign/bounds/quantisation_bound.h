// What FP8 can have done to a value: bounds that hold for every value which the encoder of
// format/fp8_quantise.h turns into these codes, and bounds from magnitudes alone, before encoding.
// A model of the usual error, which bounds nothing, is in quantisation_model.h.
//
// Notation: u/(1+u) is the largest relative error of a normal number (1/17 in E4M3, 1/9 in E5M2),
// eta the smallest positive value, V the largest (Higham, Accuracy and Stability of Numerical
// Algorithms, 2nd ed., theorem 2.3; formats: OCP 8-bit Floating Point Specification 1.0).
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <span>

#include "kvalign/bounds/evidence.h"
#include "kvalign/format/export.h"
#include "kvalign/format/fp8_layout.h"

namespace kvalign {

/// Where scales come from. Blocks of 32 have powers of two (fp8_block_scale_of), all others
/// fp8_scale_of.
enum class ScaleOrigin : uint8_t {
  kOwnAmax,  // of the amax of the very values that were encoded
  kEarlier,  // of other data: values may be any amount larger than the largest code says
};

struct CodeBounds {
  Eigen::VectorXd bounds;     // [elements]: |value - decoded value|; infinity where unbounded
  int64_t num_unbounded = 0;  // largest codes under earlier scales: perhaps saturated, never
                              // certifiable
};

/// Half the gap of values around a code: |y - value of code| for every y that is rounded to it and
/// is not beyond the largest value by more than half a gap. In units of the scale; the code must be
/// finite (is_finite_fp8).
KVALIGN_API double fp8_half_gap(uint8_t code, Fp8Format format);

/// Bounds from codes and scales alone, which is all that a server has: scale * (half gap + 2^-22
/// (|value| + half gap)). The second term covers float32's rounding of x / scale and value * scale,
/// 2^-24 each. Under kBlock32 the largest code's own gap reaches up to the next power of two.
///
/// Shapes as in fp8_layout.h. Throws std::invalid_argument for buffers of other sizes, for a scale
/// that is none and for codes of NaN or Inf.
KVALIGN_API CodeBounds certify_codes(const Fp8Layout& layout, std::span<const uint8_t> codes,
                                     std::span<const float> scales, ScaleOrigin origin);

/// What is known of a token before it is encoded.
struct TokenMagnitude {
  double norm = 0;    // 2-norm of its values
  double amax = 0;    // largest magnitude among them
  int64_t width = 0;  // number of values
};

/// The 2-norm of a token's quantisation error under one scale, of any origin:
///   min( sqrt((u/(1+u))^2 |x|^2 + width (scale eta / 2)^2), sqrt(width) * scale * top half gap )
/// where amax is not beyond the largest value; otherwise at most (|x| / (V scale))^2 elements
/// saturate, and each of those loses at most amax - V scale. With the scale of its own amax the
/// second is sqrt(width) amax / 28 (E5M2: / 14).
/// Throws std::invalid_argument for a negative or non-finite magnitude or a scale that is none.
KVALIGN_API Certified a_priori_token_bound(const TokenMagnitude& token, float scale,
                                           Fp8Format format);

}  // namespace kvalign
