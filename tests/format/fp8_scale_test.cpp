// The scale of one group: against goldens of ml_dtypes (E8M0) and definitions in double, at both
// ends of float32.
#include "kvalign/format/fp8_scale.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>

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
