// Several vectors to one of narrower elements: float32 to 16-bit formats, rounded, and the words'
// lowest bytes and signs. Highway compiles this once for each instruction set; see fp8_rows-inl.h.
#if defined(KVALIGN_OPS_FP8_PACKING_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KVALIGN_OPS_FP8_PACKING_INL_H_
#undef KVALIGN_OPS_FP8_PACKING_INL_H_
#else
#define KVALIGN_OPS_FP8_PACKING_INL_H_
#endif

#include "src/ops/fp8_vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvalign {
namespace HWY_NAMESPACE {

#if HWY_TARGET != HWY_SCALAR

// Two vectors' lower halves of words, in order, and upper ones.
template <class Vector>
HWY_INLINE HalfwordVector lower_halfwords(Vector first, Vector second) {
  const Halfwords halfwords;
  return hn::ConcatEven(halfwords, hn::BitCast(halfwords, second), hn::BitCast(halfwords, first));
}
template <class Vector>
HWY_INLINE HalfwordVector upper_halfwords(Vector first, Vector second) {
  const Halfwords halfwords;
  return hn::ConcatOdd(halfwords, hn::BitCast(halfwords, second), hn::BitCast(halfwords, first));
}

// Rounded in the upper halves of words.
HWY_INLINE WordVector bfloat16_words(FloatVector value) {
  const Words words;
  const auto bits = hn::BitCast(words, value);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(words, 1));
  return hn::Add(hn::Add(bits, hn::Set(words, 0x7FFF)), odd);
}
HWY_INLINE HalfwordVector round_to_bfloat16(FloatVector first, FloatVector second) {
  return upper_halfwords(bfloat16_words(first), bfloat16_words(second));
}

// Highway's cast to float16 rounds only where the CPU has an instruction for it.
#if HWY_TARGET == HWY_NEON || (HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2)
HWY_INLINE HalfwordVector round_to_float16(FloatVector first, FloatVector second) {
  const hn::Rebind<hwy::float16_t, Floats> halves;
  const hn::Half<Halfwords> half;
  const auto lower = hn::BitCast(half, hn::DemoteTo(halves, first));
  const auto upper = hn::BitCast(half, hn::DemoteTo(halves, second));
  return hn::Combine(Halfwords(), upper, lower);
}
#else
HWY_INLINE HalfwordVector round_to_float16(FloatVector first, FloatVector second) {
  const Halfwords halfwords;
  const auto infinite = hn::Set(Floats(), 65536.0f);  // and so is what is larger
  const auto rounded = lower_halfwords(round_vector<10, 15>(hn::Min(hn::Abs(first), infinite)),
                                       round_vector<10, 15>(hn::Min(hn::Abs(second), infinite)));
  const auto offset = hn::Set(halfwords, static_cast<uint16_t>(round_offset(10, 15)));
  const auto signs = hn::And(upper_halfwords(first, second), hn::Set(halfwords, 0x8000));
  return hn::Or(hn::Sub(rounded, offset), signs);
}
#endif

#if HWY_TARGET == HWY_AVX2

// AVX2 packs within each half of a vector. Packing both stages so, and putting the result in order
// once, takes half the instructions of Highway's ConcatEven.
HWY_INLINE ByteVector lowest_bytes(const WordVector (&words)[4]) {
  const auto mask = hn::Set(Words(), 0xFF);
  const auto low = [&](size_t i) HWY_ATTR { return hn::And(words[i], mask).raw; };
  return ByteVector{
      _mm256_packus_epi16(_mm256_packs_epi32(low(0), low(1)), _mm256_packs_epi32(low(2), low(3)))};
}
// Saturation keeps a word's sign.
HWY_INLINE ByteVector sign_bytes(const FloatVector (&floats)[4]) {
  const auto word = [&](size_t i) HWY_ATTR { return hn::BitCast(Words(), floats[i]).raw; };
  const ByteVector bytes{_mm256_packs_epi16(_mm256_packs_epi32(word(0), word(1)),
                                            _mm256_packs_epi32(word(2), word(3)))};
  return hn::And(bytes, hn::Set(Bytes(), 0x80));
}
HWY_INLINE ByteVector in_order(ByteVector bytes) {
  return ByteVector{
      _mm256_permutevar8x32_epi32(bytes.raw, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7))};
}

#else

HWY_INLINE ByteVector lowest_bytes(const WordVector (&words)[4]) {
  const Bytes bytes;
  const auto first = hn::BitCast(bytes, lower_halfwords(words[0], words[1]));
  const auto second = hn::BitCast(bytes, lower_halfwords(words[2], words[3]));
  return hn::ConcatEven(bytes, second, first);
}
HWY_INLINE ByteVector sign_bytes(const FloatVector (&floats)[4]) {
  const Bytes bytes;
  const auto first = hn::BitCast(bytes, upper_halfwords(floats[0], floats[1]));
  const auto second = hn::BitCast(bytes, upper_halfwords(floats[2], floats[3]));
  return hn::And(hn::ConcatOdd(bytes, second, first), hn::Set(bytes, 0x80));
}
HWY_INLINE ByteVector in_order(ByteVector bytes) {
  return bytes;
}

#endif  // HWY_TARGET == HWY_AVX2
#endif  // HWY_TARGET != HWY_SCALAR

}  // namespace HWY_NAMESPACE
}  // namespace kvalign
HWY_AFTER_NAMESPACE();

#endif  // include guard
