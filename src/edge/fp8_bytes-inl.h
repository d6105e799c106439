// Four vectors of words to one of bytes: the words' lowest bytes, and their signs. Highway compiles
// this once for each instruction set; see fp8_rows-inl.h.
#if defined(KVALIGN_EDGE_FP8_BYTES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KVALIGN_EDGE_FP8_BYTES_INL_H_
#undef KVALIGN_EDGE_FP8_BYTES_INL_H_
#else
#define KVALIGN_EDGE_FP8_BYTES_INL_H_
#endif

#include "src/edge/fp8_vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvalign {
namespace HWY_NAMESPACE {

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

#elif HWY_TARGET != HWY_SCALAR

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

#endif

}  // namespace HWY_NAMESPACE
}  // namespace kvalign
HWY_AFTER_NAMESPACE();

#endif  // include guard
