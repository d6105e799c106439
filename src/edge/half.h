// float16 and bfloat16, one element at a time, in integers: the same bits whatever the machine's
// own conversions do. Written without branches, so that compilers vectorise loops of them.
#pragma once

#include <cstdint>

#include "kvalign/format/fp8.h"

namespace kvalign {

// Exact.
inline float float_of_f16(uint16_t half) noexcept {
  const uint32_t sign = uint32_t{half} >> 15 << 31;
  const uint32_t magnitude = half & 0x7FFF;
  // Inf and NaN have the largest exponent, also in float32.
  const uint32_t rebias = magnitude >= 0x7C00 ? 224u << 23 : 112u << 23;
  const uint32_t normal = (magnitude << 13) + rebias;
  const uint32_t subnormal =
      bits_of_float(static_cast<float>(static_cast<int32_t>(magnitude)) * 0x1p-24f);
  return float_of_bits(sign | (magnitude < 0x400 ? subnormal : normal));
}

inline float float_of_bf16(uint16_t half) noexcept {
  return float_of_bits(uint32_t{half} << 16);
}

constexpr uint32_t kLargestF16 = 0x7BFF;   // 65504
constexpr uint32_t kLargestBf16 = 0x7F7F;  // 2^128 - 2^120

// The code without its sign of a finite float32's magnitude (bits without the sign), rounded to
// nearest, ties to even; above the largest one where the value does not fit.
inline uint32_t round_to_f16(uint32_t magnitude) noexcept {
  const uint32_t exponent = magnitude >> 23;
  const bool normal = exponent >= 113;
  const uint32_t deeper =
      126 - exponent;  // bits dropped from a subnormal's written-out significand
  const uint32_t shift = normal ? 13 : (deeper < 25 ? deeper : 25);
  const uint32_t value =
      normal ? magnitude - (uint32_t{112} << 23) : (magnitude & 0x7FFFFF) | 0x800000;
  return (value + (uint32_t{1} << (shift - 1)) - 1 + ((value >> shift) & 1)) >> shift;
}

inline uint32_t round_to_bf16(uint32_t magnitude) noexcept {
  return (magnitude + 0x7FFF + ((magnitude >> 16) & 1)) >> 16;
}

}  // namespace kvalign
