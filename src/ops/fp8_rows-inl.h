// Rows of contiguous elements to FP8 codes and back, equal to the scalar codec of format/ to the
// bit. Include it after <hwy/foreach_target.h> to have it once for each instruction set, or alone
// for the compiler's own (HWY_STATIC_DISPATCH); call it between HWY_BEFORE_NAMESPACE and
// HWY_AFTER_NAMESPACE. C++17; nothing is allocated or thrown. Buffers need no alignment. Sizes and
// scales are the caller's to check.
#if defined(KVALIGN_OPS_FP8_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KVALIGN_OPS_FP8_ROWS_INL_H_
#undef KVALIGN_OPS_FP8_ROWS_INL_H_
#else
#define KVALIGN_OPS_FP8_ROWS_INL_H_
#endif

#include <hwy/cache_control.h>

#include "src/ops/fp8_steps-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvalign {
namespace HWY_NAMESPACE {

// The largest magnitude, as bits: from 0x7F800000 on, an element is NaN or Inf.
HWY_INLINE uint32_t amax_bits(const float* values, size_t count) {
  const Floats floats;
  const Words words;
  WordVector even = hn::Zero(words), odd = hn::Zero(words);
  size_t i = 0;
  for (; i + 2 * kFp8Lanes <= count; i += 2 * kFp8Lanes) {
    even = hn::Max(even, magnitude_bits(hn::LoadU(floats, values + i)));
    odd = hn::Max(odd, magnitude_bits(hn::LoadU(floats, values + i + kFp8Lanes)));
  }
  uint32_t largest = hn::GetLane(hn::MaxOfLanes(words, hn::Max(even, odd)));
  for (; i < count; ++i) largest = std::max(largest, bits_of_float(values[i]) & 0x7FFFFFFF);
  return largest;
}

// amax[i] becomes the larger of itself and the magnitude of values[i], compared as bits.
HWY_INLINE void update_amax_each(const float* values, size_t count, float* amax) {
  const Floats floats;
  const Words words;
  size_t i = 0;
  for (; i + kFp8Lanes <= count; i += kFp8Lanes) {
    const auto before = hn::BitCast(words, hn::LoadU(floats, amax + i));
    const auto larger = hn::Max(before, magnitude_bits(hn::LoadU(floats, values + i)));
    hn::StoreU(hn::BitCast(floats, larger), floats, amax + i);
  }
  for (; i < count; ++i) {
    amax[i] =
        float_of_bits(std::max(bits_of_float(amax[i]), bits_of_float(values[i]) & 0x7FFFFFFF));
  }
}

// Codes of finite values; adds to the counts of saturated and flushed elements. `may_saturate` is
// false under scales that fp8_scale_of made of these values.
template <Fp8Format format, bool may_saturate, class Scales>
HWY_INLINE void encode_row(const float* values, size_t count, const Scales& scales, uint8_t* codes,
                           Fp8Result& counts) {
  // A row is read once for its amax and then encoded from the cache; memory is busy meanwhile only
  // if the next rows are asked for. 8 KiB ahead measured best.
  constexpr size_t kAhead = 2048, kCacheLine = 16;
  size_t i = 0;
  for (; i + kFp8Step <= count; i += kFp8Step) {
    for (size_t line = 0; line < kFp8Step; line += kCacheLine) {
      hwy::Prefetch(values + i + kAhead + line);
    }
    encode_step<format, may_saturate>(values, scales, i, codes, counts);
  }
  if (i == count) return;
  float rest[kFp8Step] = {}, rest_scales[kFp8Step];
  uint8_t rest_codes[kFp8Step];
  std::copy(values + i, values + count, rest);
  encode_step<format, may_saturate>(rest, scales.tail(i, count - i, rest_scales), 0, rest_codes,
                                    counts);
  std::copy_n(rest_codes, count - i, codes + i);
}

// False where a code is NaN or Inf.
template <Fp8Format format>
HWY_INLINE bool codes_are_finite(const uint8_t* codes, size_t count) {
  const hn::ScalableTag<uint8_t> bytes;
  const size_t lanes = hn::Lanes(bytes);
  auto largest = hn::Zero(bytes);
  size_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    largest = hn::Max(largest, hn::And(hn::LoadU(bytes, codes + i), hn::Set(bytes, 0x7F)));
  }
  const auto limit = hn::Set(bytes, static_cast<uint8_t>(fp8_largest_code(format)));
  bool finite = hn::AllFalse(bytes, hn::Gt(largest, limit));
  for (; i < count; ++i) finite &= is_finite_fp8(codes[i], format);
  return finite;
}

// Values of finite codes, as float, Bfloat16 or Float16.
template <Fp8Format format, class Scales, class Output>
HWY_INLINE void decode_row(const uint8_t* codes, size_t count, const Scales& scales,
                           Output* values) {
  size_t i = 0;
  for (; i + kFp8Step <= count; i += kFp8Step) decode_step<format>(codes, scales, i, values);
  if (i == count) return;
  uint8_t rest[kFp8Step] = {};
  float rest_scales[kFp8Step];
  Output rest_values[kFp8Step];
  std::copy(codes + i, codes + count, rest);
  decode_step<format>(rest, scales.tail(i, count - i, rest_scales), 0, rest_values);
  std::copy_n(rest_values, count - i, values + i);
}

}  // namespace HWY_NAMESPACE
}  // namespace kvalign
HWY_AFTER_NAMESPACE();

#endif  // include guard
