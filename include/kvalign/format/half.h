// The two 16-bit floating-point formats that decoded values are wanted in, one element at a time,
// for the CPU and for CUDA kernels (C++17). Types of their own, since both are 16 bits.
#pragma once

#include <cstdint>

#include "kvalign/format/fp8.h"

namespace kvalign {

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
  narrow.bits = static_cast<uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}
KVALIGN_HOST_DEVICE inline void narrow_float(float value, Float16& narrow) {
  const uint32_t bits = bits_of_float(value);
  const uint32_t magnitude = bits & 0x7FFFFFFF;
  const bool fits = magnitude < 0x47800000;  // 65536: all above is Inf, as is what rounds to it
  const uint32_t rounded = fits ? round_to_narrow(magnitude, 10, 15) : 0x7C00;
  narrow.bits = static_cast<uint16_t>(bits >> 31 << 15 | rounded);
}
KVALIGN_HOST_DEVICE inline void narrow_float(float value, float& same) {
  same = value;
}

}  // namespace kvalign
