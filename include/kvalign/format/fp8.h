// The two FP8 formats, one element at a time: the only definition of their arithmetic, for the CPU,
// for CUDA kernels and for the edge encoder. C++17, integers only, nothing allocated, nothing
// thrown. Scales are in fp8_scale.h, tensors in fp8_quantise.h.
//
// Both formats are sign, exponent, mantissa, with subnormal numbers (OCP 8-bit Floating Point
// Specification, revision 1.0; Micikevicius et al., arXiv 2209.05433):
//
//            bits   bias  largest  smallest normal  smallest  Inf            NaN
//   E4M3FN  1-4-3      7      448             2^-6      2^-9  none           0x7F
//   E5M2    1-5-2     15    57344            2^-14     2^-16  0x7C           0x7D to 0x7F
#pragma once

#include <cstdint>
#include <cstring>

#include "kvalign/format/host_device.h"

namespace kvalign {

enum class Fp8Format : uint8_t { kE4M3FN, kE5M2 };

// What becomes of values that round beyond the largest finite one, of infinities and of NaN:
//
//                          format   too large      +-Inf          NaN
//   kSaturate              E4M3FN   +-448          +-448          0x7F
//                          E5M2     +-57344        +-57344        0x7F
//   kNoSaturate            E4M3FN   0x7F, 0xFF     0x7F, 0xFF     0x7F
//                          E5M2     +-Inf          +-Inf          0x7F
//   kSaturateKeepSpecial   E4M3FN   +-448          0x7F, 0xFF     0x7F, 0xFF
//                          E5M2     +-57344        +-Inf          0x7E, 0xFE
//
// Where two codes stand, the sign of the value chooses. kSaturate and kNoSaturate are CUDA's
// __NV_SATFINITE and __NV_NOSAT to the bit, which drop the sign of a NaN. kSaturateKeepSpecial is
// ConvertFrom<kSaturate = true> in ml_dtypes' float8.h, which keeps it. The NumPy casts of
// ml_dtypes are kNoSaturate but for that sign and for E5M2's 0x7E.
enum class Fp8Overflow : uint8_t { kSaturate, kNoSaturate, kSaturateKeepSpecial };

KVALIGN_HOST_DEVICE constexpr int fp8_mantissa_bits(Fp8Format format) {
  return format == Fp8Format::kE4M3FN ? 3 : 2;
}
KVALIGN_HOST_DEVICE constexpr int fp8_exponent_bias(Fp8Format format) {
  return format == Fp8Format::kE4M3FN ? 7 : 15;
}
// Code of the largest finite value, and that value.
KVALIGN_HOST_DEVICE constexpr uint32_t fp8_largest_code(Fp8Format format) {
  return format == Fp8Format::kE4M3FN ? 0x7E : 0x7B;
}
KVALIGN_HOST_DEVICE constexpr float fp8_largest(Fp8Format format) {
  return format == Fp8Format::kE4M3FN ? 448.0f : 57344.0f;
}

// The smallest magnitude that rounds beyond the largest value, and the largest that rounds to zero.
// A tie goes to the even code, which is E4M3FN's largest but not E5M2's.
KVALIGN_HOST_DEVICE constexpr float fp8_smallest_saturating(Fp8Format format) {
  return format == Fp8Format::kE4M3FN ? 0x1.d00002p8f : 0x1.ep15f;
}
KVALIGN_HOST_DEVICE constexpr float fp8_largest_flushed(Fp8Format format) {
  return format == Fp8Format::kE4M3FN ? 0x1p-10f : 0x1p-17f;
}

KVALIGN_HOST_DEVICE inline uint32_t bits_of_float(float value) {
  uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}
KVALIGN_HOST_DEVICE inline float float_of_bits(uint32_t bits) {
  float value = 0;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// Round to nearest, ties to even, as if exponents had no upper end: the bits without sign, in a
// format of fewer mantissa bits and a smaller bias, of a float32's magnitude (bits without the
// sign).
KVALIGN_HOST_DEVICE constexpr uint32_t round_to_narrow(uint32_t magnitude, int mantissa_bits,
                                                       int exponent_bias) {
  const int dropped = 23 - mantissa_bits;  // mantissa bits that do not fit
  const int exponent = static_cast<int>(magnitude >> 23);
  const int smallest_normal = 128 - exponent_bias;
  // A normal number only changes its exponent's bias. A subnormal one has its leading bit written
  // out and loses a bit more with each binade; from 25 bits on nothing is left to round up.
  const bool normal = exponent >= smallest_normal;
  const uint32_t rebiased = magnitude - (static_cast<uint32_t>(smallest_normal - 1) << 23);
  const uint32_t significand = (magnitude & 0x7FFFFF) | 0x800000;
  const int deeper = dropped + smallest_normal - exponent;
  const uint32_t value = normal ? rebiased : significand;
  const int shift = normal ? dropped : (deeper < 25 ? deeper : 25);
  const uint32_t below_half = (uint32_t{1} << (shift - 1)) - 1;
  // Adding just below a half, and one more where the kept part is odd, carries as it must: into the
  // next binade too, since the codes of a sign are in the order of their values.
  return (value + below_half + ((value >> shift) & 1)) >> shift;
}

// The code without its sign; above fp8_largest_code the value does not fit.
KVALIGN_HOST_DEVICE constexpr uint32_t round_to_fp8(uint32_t magnitude, Fp8Format format) {
  return round_to_narrow(magnitude, fp8_mantissa_bits(format), fp8_exponent_bias(format));
}

// The code of a float32, given by its bits.
KVALIGN_HOST_DEVICE constexpr uint8_t encode_fp8_bits(uint32_t bits, Fp8Format format,
                                                      Fp8Overflow overflow) {
  const uint32_t magnitude = bits & 0x7FFFFFFF;
  const uint32_t sign = bits >> 31 << 7;
  const bool keeps_special = overflow == Fp8Overflow::kSaturateKeepSpecial;
  if (magnitude > 0x7F800000) {  // NaN
    return static_cast<uint8_t>(
        !keeps_special ? 0x7F : (sign | (format == Fp8Format::kE4M3FN ? 0x7F : 0x7E)));
  }
  const uint32_t code = round_to_fp8(magnitude, format);
  if (code <= fp8_largest_code(format)) return static_cast<uint8_t>(sign | code);
  const bool saturates =
      overflow == Fp8Overflow::kSaturate || (keeps_special && magnitude != 0x7F800000);
  // One above the largest code is Inf, or NaN where the format has no Inf.
  return static_cast<uint8_t>(sign | (fp8_largest_code(format) + (saturates ? 0 : 1)));
}

KVALIGN_HOST_DEVICE inline uint8_t encode_fp8(float value, Fp8Format format, Fp8Overflow overflow) {
  return encode_fp8_bits(bits_of_float(value), format, overflow);
}

// False for the codes of NaN and Inf.
KVALIGN_HOST_DEVICE constexpr bool is_finite_fp8(uint8_t code, Fp8Format format) {
  return (code & 0x7F) <= fp8_largest_code(format);
}

// The exact value of a code; a quiet NaN of the code's sign for a NaN.
KVALIGN_HOST_DEVICE inline float decode_fp8(uint8_t code, Fp8Format format) {
  const int mantissa_bits = fp8_mantissa_bits(format);
  const int bias = fp8_exponent_bias(format);
  const uint32_t sign = static_cast<uint32_t>(code) >> 7 << 31;
  const uint32_t magnitude = code & 0x7F;
  if (!is_finite_fp8(code, format)) {
    const bool infinite = format == Fp8Format::kE5M2 && magnitude == 0x7C;
    return float_of_bits(sign | (infinite ? 0x7F800000u : 0x7FC00000u));
  }
  if (magnitude >> mantissa_bits == 0) {  // zero and subnormal: multiples of the smallest value
    const uint32_t smallest = static_cast<uint32_t>(128 - bias - mantissa_bits) << 23;
    const float value = static_cast<float>(magnitude) * float_of_bits(smallest);
    return float_of_bits(sign | bits_of_float(value));
  }
  const uint32_t rebias = static_cast<uint32_t>(127 - bias) << 23;
  return float_of_bits(sign | ((magnitude << (23 - mantissa_bits)) + rebias));
}

}  // namespace kvalign
