// One step of FP8 conversion: kFp8Step elements to codes or back, equal to the scalar codec of
// format/ to the bit. Highway compiles this once for each instruction set; see fp8_rows-inl.h.
#if defined(KVALIGN_OPS_FP8_STEPS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KVALIGN_OPS_FP8_STEPS_INL_H_
#undef KVALIGN_OPS_FP8_STEPS_INL_H_
#else
#define KVALIGN_OPS_FP8_STEPS_INL_H_
#endif

#include "kvalign/format/fp8_layout.h"
#include "kvalign/format/half.h"
#include "src/ops/fp8_packing-inl.h"
#include "src/ops/fp8_vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvalign {
namespace HWY_NAMESPACE {

// Number of values that saturate.
template <Fp8Format format>
HWY_INLINE size_t count_saturated(FloatVector quotient) {
  const auto saturating = hn::Set(Floats(), fp8_smallest_saturating(format));
  return hn::CountTrue(Floats(), hn::Ge(hn::Abs(quotient), saturating));
}

// Number of values in a step, zeros aside, whose code is zero. Seldom needed: where a code is zero.
template <Fp8Format format, class Scales>
HWY_NOINLINE size_t count_flushed(const float* values, const Scales& scales, size_t first) {
  const Floats floats;
  const Words words;
  const auto flushed = hn::Set(floats, fp8_largest_flushed(format));
  size_t count = 0;
  for (size_t i = 0; i < kFp8Step; i += kFp8Lanes) {
    const FloatVector value = hn::LoadU(floats, values + first + i);
    const FloatVector magnitude = hn::Abs(scales.quotient(value, first + i));
    count += hn::CountTrue(floats, hn::Le(magnitude, flushed));
    // Zeros as bits: subnormal numbers may be read as zeros.
    count -= hn::CountTrue(words, hn::Eq(magnitude_bits(value), hn::Zero(words)));
  }
  return count;
}

#if HWY_TARGET == HWY_SCALAR  // no vectors: the codec itself

template <Fp8Format format, bool may_saturate, class Scales>
HWY_INLINE void encode_step(const float* values, const Scales& scales, size_t first, uint8_t* codes,
                            Fp8Result& counts) {
  for (size_t i = first; i < first + kFp8Step; ++i) {
    const FloatVector quotient = scales.quotient(hn::Set(Floats(), values[i]), i);
    codes[i] = encode_fp8(hn::GetLane(quotient), format, Fp8Overflow::kSaturate);
    counts.saturated += count_saturated<format>(quotient);
  }
  counts.flushed += count_flushed<format>(values, scales, first);
}

template <Fp8Format format, class Scales, class Output>
HWY_INLINE void decode_step(const uint8_t* codes, const Scales& scales, size_t first,
                            Output* values) {
  for (size_t i = first; i < first + kFp8Step; ++i) {
    const FloatVector value = hn::Set(Floats(), decode_fp8(codes[i], format));
    narrow_float(hn::GetLane(scales.product(value, i)), values[i]);
  }
}

#else

// Finite values to codes. Under scales of their own amax nothing saturates, nor need be counted.
template <Fp8Format format, bool may_saturate, class Scales>
HWY_INLINE void encode_step(const float* values, const Scales& scales, size_t first, uint8_t* codes,
                            Fp8Result& counts) {
  constexpr int mantissa_bits = fp8_mantissa_bits(format), bias = fp8_exponent_bias(format);
  const Floats floats;
  const Bytes bytes;
  const auto largest = hn::Set(floats, fp8_largest(format));
  FloatVector quotients[4];
  WordVector rounded[4];
  for (size_t i = 0; i < 4; ++i) {
    const size_t place = first + i * kFp8Lanes;
    quotients[i] = scales.quotient(hn::LoadU(floats, values + place), place);
    rounded[i] = round_vector<mantissa_bits, bias>(hn::Min(hn::Abs(quotients[i]), largest));
    if (may_saturate) counts.saturated += count_saturated<format>(quotients[i]);
  }
  const auto offset = hn::Set(bytes, static_cast<uint8_t>(round_offset(mantissa_bits, bias)));
  const auto magnitudes = hn::Sub(lowest_bytes(rounded), offset);
  hn::StoreU(in_order(hn::Or(magnitudes, sign_bytes(quotients))), bytes, codes + first);
  if (HWY_UNLIKELY(!hn::AllFalse(bytes, hn::Eq(magnitudes, hn::Zero(bytes))))) {
    counts.flushed += count_flushed<format>(values, scales, first);
  }
}

// Two vectors of float32, at `values`.
HWY_INLINE void store_pair(FloatVector first, FloatVector second, float* values) {
  hn::StoreU(first, Floats(), values);
  hn::StoreU(second, Floats(), values + kFp8Lanes);
}
HWY_INLINE void store_pair(FloatVector first, FloatVector second, Bfloat16* values) {
  hn::StoreU(round_to_bfloat16(first, second), Halfwords(), &values->bits);
}
HWY_INLINE void store_pair(FloatVector first, FloatVector second, Float16* values) {
  hn::StoreU(round_to_float16(first, second), Halfwords(), &values->bits);
}

// Finite codes to values. E5M2 is the upper byte of a float16; E4M3FN's bits, a place higher, are
// those of a float16 that is smaller by a factor of 2^8, subnormal numbers included.
template <Fp8Format format, class Scales, class Output>
HWY_INLINE void decode_step(const uint8_t* codes, const Scales& scales, size_t first,
                            Output* values) {
  constexpr bool e4m3 = format == Fp8Format::kE4M3FN;
  const Floats floats;
  const hn::RebindToSigned<Halfwords> halfwords;
  const hn::Rebind<int8_t, Halfwords> half_bytes;
  const hn::Half<decltype(halfwords)> half;
  const hn::Rebind<hwy::float16_t, Floats> floats16;
  const auto kept = hn::Set(halfwords, static_cast<int16_t>(0xBF80));
  const auto factor = hn::Set(floats, e4m3 ? 256.0f : 1.0f);
  for (size_t i = first; i < first + kFp8Step; i += 2 * kFp8Lanes) {
    const auto* stored = reinterpret_cast<const int8_t*>(codes + i);
    const auto wide = hn::PromoteTo(halfwords, hn::LoadU(half_bytes, stored));
    const auto bits = e4m3 ? hn::And(hn::ShiftLeft<7>(wide), kept) : hn::ShiftLeft<8>(wide);
    const auto first16 = hn::BitCast(floats16, hn::LowerHalf(half, bits));
    const auto second16 = hn::BitCast(floats16, hn::UpperHalf(half, bits));
    const auto lower = hn::PromoteTo(floats, first16), upper = hn::PromoteTo(floats, second16);
    store_pair(scales.product(e4m3 ? hn::Mul(lower, factor) : lower, i),
               scales.product(e4m3 ? hn::Mul(upper, factor) : upper, i + kFp8Lanes), values + i);
  }
}

#endif  // HWY_TARGET == HWY_SCALAR

}  // namespace HWY_NAMESPACE
}  // namespace kvalign
HWY_AFTER_NAMESPACE();

#endif  // include guard
