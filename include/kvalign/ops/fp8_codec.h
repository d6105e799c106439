// The conversions of format/fp8_quantise.h in the vector instructions of the CPU at hand, chosen at
// run time: the same arguments, results and bits. One thread; memory is read once where a group of
// elements is contiguous (tokens and blocks), twice elsewhere. No LibTorch.
#pragma once

#include <cstdint>
#include <span>

#include "kvalign/format/export.h"
#include "kvalign/format/fp8_layout.h"
#include "kvalign/format/half.h"

namespace kvalign::fast {

// Highway's name of the instruction set in use: AVX3_DL (AVX-512 with VBMI), AVX3, AVX2, SSE4,
// SSSE3, NEON or SCALAR.
KVALIGN_API const char* instruction_set() noexcept;

[[nodiscard]] KVALIGN_API Fp8Result choose_fp8_scales(const Fp8Layout& layout,
                                                      std::span<const float> values,
                                                      std::span<float> scales) noexcept;

[[nodiscard]] KVALIGN_API Fp8Result encode_fp8(const Fp8Layout& layout,
                                               std::span<const float> values,
                                               std::span<const float> scales,
                                               std::span<uint8_t> codes) noexcept;

[[nodiscard]] KVALIGN_API Fp8Result quantise_fp8(const Fp8Layout& layout,
                                                 std::span<const float> values,
                                                 std::span<float> scales,
                                                 std::span<uint8_t> codes) noexcept;

// Narrower values are the float32 ones rounded to nearest, ties to even; those that round beyond
// the largest finite value are Inf, as in LibTorch's casts.
[[nodiscard]] KVALIGN_API Fp8Result dequantise_fp8(const Fp8Layout& layout,
                                                   std::span<const uint8_t> codes,
                                                   std::span<const float> scales,
                                                   std::span<float> values) noexcept;
[[nodiscard]] KVALIGN_API Fp8Result dequantise_fp8(const Fp8Layout& layout,
                                                   std::span<const uint8_t> codes,
                                                   std::span<const float> scales,
                                                   std::span<Bfloat16> values) noexcept;
[[nodiscard]] KVALIGN_API Fp8Result dequantise_fp8(const Fp8Layout& layout,
                                                   std::span<const uint8_t> codes,
                                                   std::span<const float> scales,
                                                   std::span<Float16> values) noexcept;

}  // namespace kvalign::fast
