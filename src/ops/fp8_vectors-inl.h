// Vectors that FP8 conversion works on, the scales they are divided by or multiplied with, and
// rounding to fewer mantissa bits. Highway compiles this once for each instruction set; see
// fp8_rows-inl.h.
#if defined(KVALIGN_OPS_FP8_VECTORS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KVALIGN_OPS_FP8_VECTORS_INL_H_
#undef KVALIGN_OPS_FP8_VECTORS_INL_H_
#else
#define KVALIGN_OPS_FP8_VECTORS_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kvalign/format/fp8.h"

HWY_BEFORE_NAMESPACE();
namespace kvalign {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// At most 8 lanes: a step is then at most 32 elements, an OCP MX block. Wider vectors would gain
// nothing, as memory is the limit; AVX-512's shuffles are used all the same.
using Floats = hn::CappedTag<float, 8>;
using Words = hn::RebindToUnsigned<Floats>;
using FloatVector = hn::Vec<Floats>;
using WordVector = hn::Vec<Words>;
constexpr size_t kFp8Lanes = hn::MaxLanes(Floats());
// Elements of a step: four vectors of float32, or one of codes.
constexpr size_t kFp8Step = HWY_TARGET == HWY_SCALAR ? 16 : 4 * kFp8Lanes;

// The scales of a run of elements: what a vector of values is divided by, or multiplied with.
// tail() gives those of the last elements from `first` on, followed by ones up to a step in
// `buffer`.
struct OneScale {
  float scale;

  HWY_INLINE FloatVector quotient(FloatVector value, size_t) const {
    return hn::Div(value, hn::Set(Floats(), scale));  // no reciprocal is as exact
  }
  HWY_INLINE FloatVector product(FloatVector value, size_t) const {
    return hn::Mul(value, hn::Set(Floats(), scale));
  }
  OneScale tail(size_t, size_t, float*) const { return *this; }
};

// Dividing by a power of two is multiplying with its inverse, to the bit.
struct PowerOfTwoScale {
  float inverse;

  explicit PowerOfTwoScale(float scale)
      : inverse(float_of_bits((254u << 23) - bits_of_float(scale))) {}
  HWY_INLINE FloatVector quotient(FloatVector value, size_t) const {
    return hn::Mul(value, hn::Set(Floats(), inverse));
  }
  PowerOfTwoScale tail(size_t, size_t, float*) const { return *this; }
};

struct ScaleEach {
  const float* scales;

  HWY_INLINE FloatVector quotient(FloatVector value, size_t i) const {
    return hn::Div(value, hn::LoadU(Floats(), scales + i));
  }
  HWY_INLINE FloatVector product(FloatVector value, size_t i) const {
    return hn::Mul(value, hn::LoadU(Floats(), scales + i));
  }
  ScaleEach tail(size_t first, size_t count, float* buffer) const {
    std::copy_n(scales + first, count, buffer);
    std::fill(buffer + count, buffer + kFp8Step, 1.0f);
    return {buffer};
  }
};

HWY_INLINE WordVector magnitude_bits(FloatVector value) {
  return hn::BitCast(Words(), hn::Abs(value));
}

#if HWY_TARGET != HWY_SCALAR

using Halfwords = hn::Repartition<uint16_t, Floats>;
using Bytes = hn::Repartition<uint8_t, Floats>;
using HalfwordVector = hn::Vec<Halfwords>;
using ByteVector = hn::Vec<Bytes>;

// A float32 that is a power of two.
constexpr float power_of_two(int exponent) {
  return exponent < 0 ? 1 / power_of_two(-exponent)
                      : (exponent == 0 ? 1.0f : 2 * power_of_two(exponent - 1));
}

// round_to_narrow of format/fp8.h in the low bits of each word, plus round_offset, below bits that
// mean nothing. The sum of a value and 2^(23 - mantissa bits) times the lower end of its binade
// ends in the rounded significand; subnormal numbers count in units of the smallest normal binade.
template <int mantissa_bits, int exponent_bias>
HWY_INLINE WordVector round_vector(FloatVector magnitude) {
  const Floats floats;
  const Words words;
  const auto exponent = hn::BitCast(floats, hn::Set(words, 0x7F800000));
  const auto smallest_normal = hn::Set(floats, power_of_two(1 - exponent_bias));
  const auto binade = hn::Max(hn::And(magnitude, exponent), smallest_normal);
  const auto unit = hn::Set(floats, power_of_two(23 - mantissa_bits));
  const auto sum = hn::BitCast(words, hn::MulAdd(binade, unit, magnitude));
  return hn::Add(sum, hn::ShiftRight<23 - mantissa_bits>(hn::BitCast(words, binade)));
}
constexpr uint32_t round_offset(int mantissa_bits, int exponent_bias) {
  return static_cast<uint32_t>(128 - exponent_bias) << mantissa_bits;
}

#endif  // HWY_TARGET != HWY_SCALAR

}  // namespace HWY_NAMESPACE
}  // namespace kvalign
HWY_AFTER_NAMESPACE();

#endif  // include guard
