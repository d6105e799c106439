// Every float32 there is, 2^32 of them, through each format and mode. One pass compares with the
// search of tests/support/fp8_reference.h, made fast by thresholds: codes rise with the value, so
// each code owns one range of bits. Another compares every 61st with CUDA's header.
#include <gtest/gtest.h>

#include <array>
#include <cstdint>

#include "kvalign/format/fp8.h"
#include "tests/support/cuda_fp8.h"
#include "tests/support/fp8_reference.h"

namespace kvalign {
namespace {

constexpr uint32_t kSignBit = 0x80000000;
constexpr uint32_t kInfBits = 0x7F800000;

class Fp8Exhaustive : public ::testing::TestWithParam<Fp8Format> {
 protected:
  const Fp8Format format = GetParam();
};
INSTANTIATE_TEST_SUITE_P(Formats, Fp8Exhaustive, ::testing::ValuesIn(testing::kFp8Formats),
                         [](const auto& format) {
                           return format.param == Fp8Format::kE4M3FN ? "E4M3FN" : "E5M2";
                         });

// The codes that a range of magnitudes must have: by mode, then by sign.
using Codes = std::array<std::array<uint8_t, 2>, 3>;

template <Fp8Format kFormat>
bool has_codes(uint32_t magnitude, const Codes& codes) {
  bool right = true;
  for (int mode = 0; mode < 3; ++mode) {
    for (uint32_t sign = 0; sign < 2; ++sign) {
      right &= encode_fp8_bits(magnitude | sign << 31, kFormat, static_cast<Fp8Overflow>(mode)) ==
               codes[mode][sign];
    }
  }
  return right;
}

// Expects the codes of every magnitude first .. last; returns how many inputs that were.
template <Fp8Format kFormat>
uint64_t expect_codes(uint32_t first, uint32_t last, const Codes& codes) {
  uint64_t wrong = 0;
  for (uint32_t magnitude = first; magnitude <= last; ++magnitude) {
    wrong += !has_codes<kFormat>(magnitude, codes);
  }
  if (wrong != 0) {
    while (has_codes<kFormat>(first, codes)) ++first;
    ADD_FAILURE() << wrong << " magnitudes have other codes than expected; the first has bits "
                  << std::hex << first;
  }
  return 2 * (uint64_t{last} - first + 1);
}

// expected(overflow, negative) gives a code.
template <class Expected>
uint64_t expect_range(Fp8Format format, uint32_t first, uint32_t last, Expected expected) {
  Codes codes;
  for (const Fp8Overflow overflow : testing::kFp8Overflows) {
    for (const bool negative : {false, true}) {
      codes[static_cast<int>(overflow)][negative] =
          static_cast<uint8_t>(expected(overflow, negative));
    }
  }
  return format == Fp8Format::kE4M3FN ? expect_codes<Fp8Format::kE4M3FN>(first, last, codes)
                                      : expect_codes<Fp8Format::kE5M2>(first, last, codes);
}

// Bits of the last finite magnitude that rounds to a code: the middle between it and the next, or
// the float32 just below where the tie goes to the next.
uint32_t last_bits_of(int code, Fp8Format format) {
  const double middle = (testing::reference_fp8_value(code, format) +
                         testing::reference_fp8_value(code + 1, format)) /
                        2;
  const uint32_t bits = bits_of_float(static_cast<float>(middle));
  return code % 2 == 0 ? bits : bits - 1;
}

TEST_P(Fp8Exhaustive, EveryFloat32HasTheCodeOfTheNearestValue) {
  const int largest = testing::fp8_constants(format).largest_code;
  uint64_t inputs = 0;
  uint32_t first = 0;
  for (int rounded = 0; rounded <= largest + 1; ++rounded) {
    const uint32_t last = rounded <= largest ? last_bits_of(rounded, format) : kInfBits - 1;
    ASSERT_EQ(testing::reference_fp8_round(float_of_bits(first), format), rounded);
    ASSERT_EQ(testing::reference_fp8_round(float_of_bits(last), format), rounded);
    inputs += expect_range(format, first, last, [&](Fp8Overflow overflow, bool negative) {
      return testing::reference_fp8_fit(rounded, false, negative, format, overflow);
    });
    first = last + 1;
  }
  inputs += expect_range(format, kInfBits, kInfBits, [&](Fp8Overflow overflow, bool negative) {
    return testing::reference_fp8_fit(largest + 1, true, negative, format, overflow);
  });
  inputs +=
      expect_range(format, kInfBits + 1, kSignBit - 1, [&](Fp8Overflow overflow, bool negative) {
        return testing::reference_fp8_nan(negative, format, overflow);
      });
  EXPECT_EQ(inputs, uint64_t{1} << 32);
}

template <Fp8Format kFormat>
bool is_cudas(uint32_t bits) {
  const float value = float_of_bits(bits);
  bool same = true;
  for (const Fp8Overflow overflow : {Fp8Overflow::kSaturate, Fp8Overflow::kNoSaturate}) {
    same &= encode_fp8(value, kFormat, overflow) == testing::cuda_fp8(value, kFormat, overflow);
  }
  return same;
}

// CUDA's header is slow on a CPU. A prime meets every pattern of low bits; fp8_test.cpp has the
// ties.
constexpr uint64_t kCudaStride = 61;

template <Fp8Format kFormat>
void expect_cudas() {
  uint64_t wrong = 0;
  uint32_t last_wrong = 0;
  for (uint64_t bits = 0; bits < uint64_t{1} << 32; bits += kCudaStride) {
    if (is_cudas<kFormat>(static_cast<uint32_t>(bits))) continue;
    ++wrong;
    last_wrong = static_cast<uint32_t>(bits);
  }
  EXPECT_EQ(wrong, 0u) << "the last has bits " << std::hex << last_wrong;
}

TEST_P(Fp8Exhaustive, Float32OfAllSizesHaveCudasCode) {
  if (!testing::kHaveCudaFp8) GTEST_SKIP() << "cuda_fp8.h was not found when this was compiled";
  if (format == Fp8Format::kE4M3FN) {
    expect_cudas<Fp8Format::kE4M3FN>();
  } else {
    expect_cudas<Fp8Format::kE5M2>();
  }
}

}  // namespace
}  // namespace kvalign
