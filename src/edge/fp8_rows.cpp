// Plain loops without branches, which compilers vectorise (GCC 12 does for NEON, and for AVX2).
#include "fp8_rows.h"

#include "kvalign/format/fp8_scale.h"

namespace kvalign {
namespace {

// The format is a template argument for the compiler to fold it into constants.
template <Fp8Format format, class ScaleAt>
void encode(const float* __restrict values, uint32_t count, ScaleAt scale_at,
            uint8_t* __restrict codes, RowCounts& counts) noexcept {
  constexpr uint32_t largest = fp8_largest_code(format);
  uint32_t saturated = 0;
  uint32_t flushed = 0;
  for (uint32_t i = 0; i < count; ++i) {
    const uint32_t bits = bits_of_float(fp8_quotient(values[i], scale_at(i)));
    const uint32_t rounded = round_to_fp8(bits & 0x7FFFFFFF, format);
    const uint32_t code = rounded > largest ? largest : rounded;
    codes[i] = static_cast<uint8_t>(code | bits >> 31 << 7);
    saturated += rounded > largest ? 1 : 0;
    flushed += (code == 0 ? 1 : 0) & ((bits_of_float(values[i]) & 0x7FFFFFFF) != 0 ? 1 : 0);
  }
  counts.saturated += saturated;
  counts.flushed += flushed;
}

template <class ScaleAt>
void encode(const float* values, uint32_t count, ScaleAt scale_at, Fp8Format format, uint8_t* codes,
            RowCounts& counts) noexcept {
  if (format == Fp8Format::kE4M3FN) {
    encode<Fp8Format::kE4M3FN>(values, count, scale_at, codes, counts);
  } else {
    encode<Fp8Format::kE5M2>(values, count, scale_at, codes, counts);
  }
}

}  // namespace

uint32_t amax_bits(const float* values, uint32_t count) noexcept {
  uint32_t largest = 0;
  for (uint32_t i = 0; i < count; ++i) {
    const uint32_t magnitude = bits_of_float(values[i]) & 0x7FFFFFFF;
    largest = largest > magnitude ? largest : magnitude;
  }
  return largest;
}

void encode_fp8_row(const float* values, uint32_t count, float scale, Fp8Format format,
                    uint8_t* codes, RowCounts& counts) noexcept {
  encode(
      values, count, [scale](uint32_t) { return scale; }, format, codes, counts);
}

void encode_fp8_row(const float* values, uint32_t count, const float* scales, Fp8Format format,
                    uint8_t* codes, RowCounts& counts) noexcept {
  encode(
      values, count, [scales](uint32_t i) { return scales[i]; }, format, codes, counts);
}

}  // namespace kvalign
