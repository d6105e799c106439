// The scale of one group: against goldens of ml_dtypes (E8M0) and definitions in double, at both
// ends of float32.
#include "kvalign/format/fp8_scale.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "tests/support/fp8_reference.h"
#include "tests/support/golden_fp8.h"

namespace kvalign {
namespace {

constexpr float kMax = std::numeric_limits<float>::max();
constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kDenormMin = std::numeric_limits<float>::denorm_min();

class Fp8Scale : public ::testing::TestWithParam<Fp8Format> {
 protected:
  const Fp8Format format = GetParam();
};
INSTANTIATE_TEST_SUITE_P(Formats, Fp8Scale, ::testing::ValuesIn(testing::kFp8Formats),
                         [](const auto& format) {
                           return format.param == Fp8Format::kE4M3FN ? "E4M3FN" : "E5M2";
                         });

TEST_P(Fp8Scale, SendsAmaxToTheLargestValue) {
  const auto largest = static_cast<uint8_t>(fp8_largest_code(format));
  for (const float amax : {kMax, std::nextafter(kMax, 0.0f), 1e30f, 3.0f, 0.7f, 1e-20f, 5e-26f}) {
    const float scale = fp8_scale_of(amax, format);
    EXPECT_TRUE(is_fp8_scale(scale, format)) << amax;
    EXPECT_EQ(encode_fp8(fp8_quotient(amax, scale), format, Fp8Overflow::kNoSaturate), largest);
    // Two roundings: of the scale, and of value * scale.
    EXPECT_NEAR(decode_fp8(largest, format) * scale / amax, 1.0, 0x1p-23) << amax;
  }
}

TEST_P(Fp8Scale, OfZerosIsOne) {
  EXPECT_EQ(fp8_scale_of(0.0f, format), 1.0f);
  EXPECT_EQ(fp8_block_scale_of(0.0f, format), 1.0f);
}

TEST_P(Fp8Scale, OfTinyGroupsNeitherVanishesNorOverflowsTheQuotient) {
  for (const float amax : {kDenormMin, 1e-40f, 0x1p-126f, 0x1p-110f, 1e-30f}) {
    for (const float scale : {fp8_scale_of(amax, format), fp8_block_scale_of(amax, format)}) {
      EXPECT_EQ(scale, kFp8SmallestScale) << amax;
      EXPECT_TRUE(is_fp8_scale(scale, format));
      EXPECT_LE(fp8_quotient(amax, scale), fp8_largest(format));
    }
  }
}

TEST_P(Fp8Scale, IsRefusedWhereItsProductsLeaveFloat32) {
  EXPECT_TRUE(is_fp8_scale(1.0f, format));
  EXPECT_TRUE(is_fp8_scale(kFp8SmallestScale, format));
  EXPECT_TRUE(is_fp8_scale(kMax / fp8_largest(format), format));
  const float too_large = std::nextafter(kMax / fp8_largest(format), kInf);
  for (const float scale : {std::nextafter(kFp8SmallestScale, 0.0f), too_large, kDenormMin, 0.0f,
                            -0.0f, -1.0f, kMax, kInf, -kInf, kNan}) {
    EXPECT_FALSE(is_fp8_scale(scale, format)) << scale;
  }
}

// As the reference encoder rounds, around every bfloat16.
TEST_P(Fp8Scale, CountsWhatSaturatesAndWhatIsFlushed) {
  for (uint32_t upper = 0; upper < 0x10000; ++upper) {
    for (const uint32_t lower : {0u, 1u, 0xFFFFu}) {
      const float value = float_of_bits(upper << 16 | lower);
      if (!std::isfinite(value)) continue;
      const uint8_t code = testing::reference_fp8_encode(value, format, Fp8Overflow::kSaturate);
      const uint8_t overflowing =
          testing::reference_fp8_encode(value, format, Fp8Overflow::kNoSaturate);
      ASSERT_EQ(fp8_saturates(value, format), code != overflowing) << value;
      ASSERT_EQ(fp8_flushes(value, code), value != 0 && code % 128 == 0) << value;
      ASSERT_EQ(std::abs(value) <= fp8_largest_flushed(format), code % 128 == 0) << value;
    }
  }
}

TEST_P(Fp8Scale, OfBlocksIsTheOneOfMlDtypesForEveryBfloat16) {
  const auto golden = std::make_unique<testing::GoldenFp8>();
  ASSERT_NO_FATAL_FAILURE(testing::read_golden_fp8(*golden));
  for (uint32_t bits = 0; bits < 0x7F80; ++bits) {
    const float scale = fp8_block_scale_of(float_of_bits(bits << 16), format);
    ASSERT_TRUE(is_fp8_scale(scale, format));
    ASSERT_EQ(encode_e8m0(scale), golden->block_scales[static_cast<int>(format)][bits]) << bits;
    ASSERT_EQ(decode_e8m0(encode_e8m0(scale)), scale);
  }
}

// Microscaling specification 6.3: the largest power of two that is at most amax, over the largest
// in the format. So amax / scale is in [2^e, 2^(e+1)) with e the largest value's exponent.
TEST_P(Fp8Scale, OfBlocksLeavesTheQuotientInTheTopBinade) {
  const double top = std::exp2(std::floor(std::log2(fp8_largest(format))));
  for (const float amax : {kMax, 513.0f, 512.0f, std::nextafter(512.0f, 0.0f), 1.0f, 1e-20f}) {
    const double quotient = static_cast<double>(amax) / fp8_block_scale_of(amax, format);
    EXPECT_GE(quotient, top) << amax;
    EXPECT_LT(quotient, 2 * top) << amax;
  }
}

TEST(Fp8Quotient, StaysWithinFloat32) {
  EXPECT_EQ(fp8_quotient(1.0f, 3.0f), 1.0f / 3.0f);
  EXPECT_EQ(fp8_quotient(kMax, 0.5f), kMax);
  EXPECT_EQ(fp8_quotient(-1e20f, kFp8SmallestScale), -kMax);
}

// Significands of a value and a scale decide, and their exponents in the ends of the range.
TEST_P(Fp8Scale, AReciprocalMakesTheCodesOfADivision) {
  std::mt19937 random(7);
  int64_t compared = 0;
  const auto expect_same = [&](float value, float scale) {
    const float reciprocal = fp8_reciprocal(scale);
    if (!fp8_divides_by_reciprocal(std::abs(value), reciprocal)) return;
    ++compared;
    const float quotient = fp8_quotient(value, scale);
    const float without = fp8_quotient(value, scale, reciprocal);
    if (std::abs(quotient) >= 0x1p-18f) {
      ASSERT_EQ(bits_of_float(without), bits_of_float(quotient)) << value << " / " << scale;
    }
    ASSERT_EQ(std::signbit(without), std::signbit(quotient)) << value << " / " << scale;
    ASSERT_EQ(encode_fp8(without, format, Fp8Overflow::kSaturate),
              encode_fp8(quotient, format, Fp8Overflow::kSaturate))
        << value << " / " << scale;
    ASSERT_EQ(fp8_saturates(without, format), fp8_saturates(quotient, format));
  };
  std::vector<float> scales = {kFp8SmallestScale, 1.0f, 0x1.fffffep0f, 0x1.000002p0f,
                               kMax / fp8_largest(format)};
  while (scales.size() < 40) {
    const float scale = float_of_bits(static_cast<uint32_t>(random()));
    if (is_fp8_scale(scale, format)) scales.push_back(scale);
  }
  for (const float scale : scales) {
    ASSERT_TRUE(is_fp8_scale(scale, format)) << scale;
    for (int i = 0; i < 20'000; ++i) {
      const auto pattern = static_cast<uint32_t>(random());
      expect_same(float_of_bits(pattern), scale);
      // Near what rounding decides: a code's neighbourhood times the scale.
      const float code = decode_fp8(static_cast<uint8_t>(pattern), format);
      if (!std::isfinite(code * scale)) continue;
      expect_same(float_of_bits(bits_of_float(code * 1.0625f * scale) + pattern % 5 - 2), scale);
    }
    for (const float value : {0.0f, -0.0f, kInf, -kInf, kNan, 0x1.fffffep127f, 0x1p-149f}) {
      expect_same(value, scale);
    }
  }
  EXPECT_GT(compared, 500'000);
}

// An estimate x RN(1/s) is within 1.5 units in the last place u of x/s, and its correction, before
// it is rounded, within 1.5 2^-24 u. It can only be rounded wrongly where x/s is as near to a
// midpoint of two floats, M/2^k with an odd M of 25 bits: where M s = x 2^k + j with |j| <= 3. All
// of those:
TEST(Fp8Quotient, IsRoundedCorrectlyNextToAMidpoint) {
  int64_t cases = 0;
  for (uint64_t midpoint = (1 << 24) + 1; midpoint < 1 << 25; midpoint += 2) {
    uint64_t inverse = midpoint;  // modulo 2^64, by Newton's method
    for (int i = 0; i < 5; ++i) inverse *= 2 - midpoint * inverse;
    for (const int k : {24, 25}) {
      for (const int64_t j : {-3, -2, -1, 1, 2, 3}) {
        const uint64_t scale = (static_cast<uint64_t>(j) * inverse) & ((uint64_t{1} << k) - 1);
        const uint64_t value = (midpoint * scale - static_cast<uint64_t>(j)) >> k;
        if (scale >> 23 != 1 || value >> 23 != 1) continue;  // significands of 24 bits
        const auto x = static_cast<float>(value), s = static_cast<float>(scale);
        ASSERT_EQ(fp8_quotient(x, s, fp8_reciprocal(s)), x / s) << value << " / " << scale;
        ++cases;
      }
    }
  }
  EXPECT_GT(cases, 17'000'000);
}

TEST(Fp8Quotient, NeedsADivisionAtTheEndsOfTheRange) {
  EXPECT_TRUE(fp8_divides_by_reciprocal(1.0f, fp8_reciprocal(0x1p-31f)));
  EXPECT_FALSE(fp8_divides_by_reciprocal(1.0f, fp8_reciprocal(0x1p-32f)));
  EXPECT_FALSE(fp8_divides_by_reciprocal(0.0f, fp8_reciprocal(kFp8SmallestScale)));
  EXPECT_FALSE(fp8_divides_by_reciprocal(kInf, fp8_reciprocal(1.0f)));
  EXPECT_FALSE(fp8_divides_by_reciprocal(kNan, fp8_reciprocal(1.0f)));
}

TEST(E8M0, DecodesEveryCodeAsMlDtypesDoes) {
  const auto golden = std::make_unique<testing::GoldenFp8>();
  ASSERT_NO_FATAL_FAILURE(testing::read_golden_fp8(*golden));
  for (int code = 0; code < 255; ++code) {
    EXPECT_EQ(decode_e8m0(static_cast<uint8_t>(code)), golden->e8m0_values[code]);
    EXPECT_EQ(decode_e8m0(static_cast<uint8_t>(code)), std::ldexp(1.0, code - 127));
  }
  EXPECT_TRUE(std::isnan(golden->e8m0_values[255]));
  EXPECT_TRUE(std::isnan(decode_e8m0(255)));
}

}  // namespace
}  // namespace kvalign
