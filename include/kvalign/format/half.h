// The two 16-bit floating-point formats, one element at a time, in integers: the same bits whatever
// the machine's own conversions do. For the CPU, for CUDA kernels and for the edge encoder (C++17).
// Written without branches, so that compilers vectorise loops of them.
#pragma once

#include <cstdint>

#include "kvalign/format/fp8.h"

namespace kvalign {

// Exact.
KVALIGN_HOST_DEVICE inline float float_of_f16(uint16_t half) noexcept {
  const uint32_t sign = uint32_t{half} >> 15 << 31;
  const uint32_t magnitude = half & 0x7FFF;
  // Inf and NaN have the largest exponent, also in float32.
  const uint32_t rebias = magnitude >= 0x7C00 ? 224u << 23 : 112u << 23;
  const uint32_t normal = (magnitude << 13) + rebias;
  const uint32_t subnormal =
      bits_of_float(static_cast<float>(static_cast<int32_t>(magnitude)) * 0x1p-24f);
  return float_of_bits(sign | (magnitude < 0x400 ? subnormal : normal));
}

KVALIGN_HOST_DEVICE inline float float_of_bf16(uint16_t half) noexcept {
  return float_of_bits(uint32_t{half} << 16);
}

constexpr uint32_t kLargestF16 = 0x7BFF;   // 65504
constexpr uint32_t kLargestBf16 = 0x7F7F;  // 2^128 - 2^120

// The code without its sign of a finite float32's magnitude (bits without the sign), rounded to
// nearest, ties to even; above the largest one where the value does not fit.
KVALIGN_HOST_DEVICE inline uint32_t round_to_f16(uint32_t magnitude) noexcept {
  return round_to_narrow(magnitude, 10, 15);
}

KVALIGN_HOST_DEVICE inline uint32_t round_to_bf16(uint32_t magnitude) noexcept {
  return (magnitude + 0x7FFF + ((magnitude >> 16) & 1)) >> 16;
}

// Types of their own, since both are 16 bits.
struct Bfloat16 {
  uint16_t bits;
};
struct Float16 {  // IEEE binary16
  uint16_t bits;
};

// Round to nearest, ties to even; what rounds beyond the largest finite value becomes Inf, as in
// LibTorch's casts. The value must be no NaN.
KVALIGN_HOST_DEVICE inline void narrow_float(float value, Bfloat16& narrow) {
  const uint32_t bits = bits_of_float(value);
  narrow.bits = static_cast<uint16_t>(bits >> 31 << 15 | round_to_bf16(bits & 0x7FFFFFFF));
}
KVALIGN_HOST_DEVICE inline void narrow_float(float value, Float16& narrow) {
  const uint32_t bits = bits_of_float(value);
  const uint32_t magnitude = bits & 0x7FFFFFFF;
  const bool fits = magnitude < 0x47800000;  // 65536: all above is Inf, as is what rounds to it
  const uint32_t rounded = fits ? round_to_f16(magnitude) : 0x7C00;
  narrow.bits = static_cast<uint16_t>(bits >> 31 << 15 | rounded);
}
KVALIGN_HOST_DEVICE inline void narrow_float(float value, float& same) {
  same = value;
}

}  // namespace kvalign
