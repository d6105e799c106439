// A tensor of keys or values to FP8 codes and their scales, and back: the reference that vector and
// CUDA versions are compared with. Works in the caller's buffers; nothing is allocated or thrown.
// Shapes are in fp8_layout.h.
#pragma once

#include <cstdint>
#include <span>

#include "kvalign/format/export.h"
#include "kvalign/format/fp8_layout.h"

namespace kvalign {

// Each group's scale from its amax: 1 for a group of zeros. Returns kWrongSize or kNotFinite; the
// content of `scales` then means nothing.
[[nodiscard]] KVALIGN_API Fp8Result choose_fp8_scales(const Fp8Layout& layout,
                                                      std::span<const float> values,
                                                      std::span<float> scales) noexcept;

// Codes of values under given scales, such as those of earlier data: larger values saturate and are
// counted. Returns kWrongSize, kBadScale or kNotFinite; the content of `codes` then means nothing.
[[nodiscard]] KVALIGN_API Fp8Result encode_fp8(const Fp8Layout& layout,
                                               std::span<const float> values,
                                               std::span<const float> scales,
                                               std::span<uint8_t> codes) noexcept;

// choose_fp8_scales, then encode_fp8. With float32 scales nothing saturates.
[[nodiscard]] KVALIGN_API Fp8Result quantise_fp8(const Fp8Layout& layout,
                                                 std::span<const float> values,
                                                 std::span<float> scales,
                                                 std::span<uint8_t> codes) noexcept;

// value * scale for each code. Returns kWrongSize, kBadScale, or kNotFinite for a code that is NaN
// or Inf (the encoder makes none); the content of `values` then means nothing.
[[nodiscard]] KVALIGN_API Fp8Result dequantise_fp8(const Fp8Layout& layout,
                                                   std::span<const uint8_t> codes,
                                                   std::span<const float> scales,
                                                   std::span<float> values) noexcept;

}  // namespace kvalign
