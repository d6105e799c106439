// Rows of contiguous float32 numbers to FP8 codes: the arithmetic of fp8.h and fp8_scale.h, and
// nothing else of a packet.
#pragma once

#include <cstdint>

#include "kvalign/format/fp8.h"

namespace kvalign {

struct RowCounts {
  uint64_t saturated = 0;
  uint64_t flushed = 0;
};

// Bits of the largest magnitude of a row; 0x7F800000 or more where one is not finite. Magnitudes of
// floats are in the order of their bits.
uint32_t amax_bits(const float* values, uint32_t count) noexcept;

// The codes of finite values / scale, a scale that is one (is_fp8_scale); what does not fit becomes
// the largest finite value.
void encode_fp8_row(const float* values, uint32_t count, float scale, Fp8Format format,
                    uint8_t* codes, RowCounts& counts) noexcept;

// The same with a scale for each value.
void encode_fp8_row(const float* values, uint32_t count, const float* scales, Fp8Format format,
                    uint8_t* codes, RowCounts& counts) noexcept;

}  // namespace kvalign
