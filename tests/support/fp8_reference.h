// FP8 as its specification writes it: the values of the codes by ldexp, and rounding by looking for
// the nearest value. Shares nothing with format/fp8.h but the names of formats and modes.
#pragma once

#include <cmath>

#include "kvalign/format/fp8.h"

namespace kvalign::testing {

constexpr Fp8Format kFp8Formats[] = {Fp8Format::kE4M3FN, Fp8Format::kE5M2};
constexpr Fp8Overflow kFp8Overflows[] = {Fp8Overflow::kSaturate, Fp8Overflow::kNoSaturate,
                                         Fp8Overflow::kSaturateKeepSpecial};

struct Fp8Constants {
  int mantissa_bits, bias;
  int largest_code;
  double largest, smallest_normal, smallest;  // values; smallest is the step of subnormal numbers
  int inf_code, nan_code;                     // without sign; the NaN of ml_dtypes
};

inline Fp8Constants fp8_constants(Fp8Format format) {
  if (format == Fp8Format::kE4M3FN) return {3, 7, 0x7E, 448, 0x1p-6, 0x1p-9, 0x7F, 0x7F};
  return {2, 15, 0x7B, 57344, 0x1p-14, 0x1p-16, 0x7C, 0x7E};
}

// Value of a code without sign, up to one above the largest, which stands for what does not fit.
inline double reference_fp8_value(int code, Fp8Format format) {
  const auto [mantissa_bits, bias, largest_code, largest, normal, smallest, inf, nan] =
      fp8_constants(format);
  const int steps = 1 << mantissa_bits;
  const int exponent = code / steps;
  const int mantissa = code % steps;
  if (exponent == 0) return mantissa * smallest;
  return std::ldexp(1.0 + static_cast<double>(mantissa) / steps, exponent - bias);
}

// Nearest code without sign, ties to the even one; one above the largest for all that does not fit.
inline int reference_fp8_round(double magnitude, Fp8Format format) {
  const int past = fp8_constants(format).largest_code + 1;
  for (int code = 0; code < past; ++code) {
    const double middle =
        (reference_fp8_value(code, format) + reference_fp8_value(code + 1, format)) / 2;
    if (magnitude < middle || (magnitude == middle && code % 2 == 0)) return code;
  }
  return past;
}

// What a mode makes of a code without sign, one above the largest included.
inline int reference_fp8_fit(int rounded, bool infinite, bool negative, Fp8Format format,
                             Fp8Overflow overflow) {
  const Fp8Constants fp8 = fp8_constants(format);
  int code = rounded;
  if (rounded > fp8.largest_code) {
    switch (overflow) {
      case Fp8Overflow::kSaturate:
        code = fp8.largest_code;
        break;
      case Fp8Overflow::kNoSaturate:
        code = fp8.inf_code;
        break;
      case Fp8Overflow::kSaturateKeepSpecial:
        code = infinite ? fp8.inf_code : fp8.largest_code;
        break;
    }
  }
  return negative ? code + 128 : code;
}

inline int reference_fp8_nan(bool negative, Fp8Format format, Fp8Overflow overflow) {
  if (overflow != Fp8Overflow::kSaturateKeepSpecial) return 0x7F;
  return fp8_constants(format).nan_code + (negative ? 128 : 0);
}

inline int reference_fp8_encode(float value, Fp8Format format, Fp8Overflow overflow) {
  const bool negative = std::signbit(value);
  if (std::isnan(value)) return reference_fp8_nan(negative, format, overflow);
  const int rounded = reference_fp8_round(std::abs(static_cast<double>(value)), format);
  return reference_fp8_fit(rounded, std::isinf(value), negative, format, overflow);
}

}  // namespace kvalign::testing
