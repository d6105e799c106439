// The scale of a group of FP8 codes: x is sent as the code of x / scale, and read as value * scale.
// One group at a time, for the CPU, CUDA kernels and the edge encoder (C++17); tensors are in
// fp8_quantise.h.
#pragma once

#include <cmath>
#include <cstdint>

#include "kvalign/format/fp8.h"

namespace kvalign {

// No scale is smaller. From it on, neither x / scale nor value * scale has bits of its own among
// float32's subnormals, so that devices which flush those to zero compute the same codes and
// values. A group with a smaller quotient of amax and largest value loses resolution, in the end
// everything; what becomes zero is at most 2^-110, and is counted.
constexpr float kFp8SmallestScale = 0x1p-100f;

// May a group have this scale? At least kFp8SmallestScale, and small enough that the largest value
// times it is finite. False for NaN.
KVALIGN_HOST_DEVICE constexpr bool is_fp8_scale(float scale, Fp8Format format) {
  return scale >= kFp8SmallestScale && scale * fp8_largest(format) <= 0x1.fffffep127f;
}

// The float32 scale that sends amax, the largest magnitude of a group, to the largest finite value;
// 1 where amax is zero. amax must be finite and not negative.
KVALIGN_HOST_DEVICE constexpr float fp8_scale_of(float amax, Fp8Format format) {
  if (amax == 0) return 1.0f;
  const float scale = amax / fp8_largest(format);
  return scale < kFp8SmallestScale ? kFp8SmallestScale : scale;
}

// The same, as a power of two: 2^(floor(log2 amax) - exponent of the largest finite value), the X
// of the OCP Microscaling Formats Specification v1.0, section 6.3. Elements between the largest
// value and the next power of two saturate.
KVALIGN_HOST_DEVICE inline float fp8_block_scale_of(float amax, Fp8Format format) {
  if (amax == 0) return 1.0f;
  const uint32_t largest = bits_of_float(fp8_largest(format)) >> 23;
  const uint32_t smallest = bits_of_float(kFp8SmallestScale) >> 23;
  const uint32_t exponent = bits_of_float(amax) >> 23;  // 0 for subnormals: far below `smallest`
  const bool representable = exponent + 127 >= largest + smallest;
  return float_of_bits((representable ? exponent + 127 - largest : smallest) << 23);
}

// x / scale, kept within float32: a finite x stays finite. The quotient is IEEE's, correctly
// rounded: a kernel compiled with fast division makes other codes.
KVALIGN_HOST_DEVICE inline float fp8_quotient(float value, float scale) {
  const float quotient = value / scale;
  const uint32_t bits = bits_of_float(quotient);
  const bool overflowed = (bits & 0x7FFFFFFF) == 0x7F800000;
  return overflowed ? float_of_bits((bits & 0x80000000) | 0x7F7FFFFF) : quotient;
}

// 1 / scale, correctly rounded, for the function below; 0 for a scale so small that remainders of
// what is divided by it can leave float32.
KVALIGN_HOST_DEVICE constexpr float fp8_reciprocal(float scale) {
  return scale >= 0x1p-70f ? 1.0f / scale : 0.0f;
}

// The correctly rounded quotient of what fp8_divides_by_reciprocal allows, or one below 2^-18,
// which is half of the smallest code. No branches. An estimate, and its correction by the
// remainder, as of P. Markstein, Computation of elementary functions on the IBM RISC System/6000
// processor, 1990; that one correction is enough was tried for all quotients so near to a midpoint
// that it could not be.
KVALIGN_HOST_DEVICE inline float fp8_quotient(float value, float scale, float reciprocal) {
  const float estimate = value * reciprocal;
  const float quotient = std::fma(std::fma(-estimate, scale, value), reciprocal, estimate);
  const uint32_t sign = bits_of_float(value) & 0x80000000;  // a remainder of 0 hides that of -0
  return float_of_bits(sign | (bits_of_float(quotient) & 0x7FFFFFFF));
}

// Is there a reciprocal, and do quotients of values up to `amax` stay far within float32? Not for
// NaN.
KVALIGN_HOST_DEVICE constexpr bool fp8_divides_by_reciprocal(float amax, float reciprocal) {
  return reciprocal != 0 && amax * reciprocal < 0x1p32f;
}

// What is counted of an element: does its quotient, a number, round beyond the largest value? Did a
// value other than zero become zero?
KVALIGN_HOST_DEVICE inline bool fp8_saturates(float quotient, Fp8Format format) {
  const uint32_t magnitude = bits_of_float(quotient) & 0x7FFFFFFF;
  return magnitude >= bits_of_float(fp8_smallest_saturating(format));
}
KVALIGN_HOST_DEVICE inline bool fp8_flushes(float value, uint8_t code) {
  return (code & 0x7F) == 0 && (bits_of_float(value) & 0x7FFFFFFF) != 0;
}

// E8M0, in which a power-of-two scale is sent: 2^(code - 127), and 255 is NaN (OCP Microscaling
// Formats Specification v1.0, section 5.4.1). `scale` must be what fp8_block_scale_of returned.
KVALIGN_HOST_DEVICE inline uint8_t encode_e8m0(float scale) {
  return static_cast<uint8_t>(bits_of_float(scale) >> 23);
}
KVALIGN_HOST_DEVICE inline float decode_e8m0(uint8_t code) {
  if (code == 255) return float_of_bits(0x7FC00000);
  if (code == 0) return float_of_bits(0x00400000);  // 2^-127 is subnormal in float32
  return float_of_bits(static_cast<uint32_t>(code) << 23);
}

}  // namespace kvalign
