// The two formats, element by element, against three others: goldens of ml_dtypes, a search for the
// nearest value in double, and CUDA's header. All float32 inputs are in
// slow/fp8_exhaustive_test.cpp.
#include "kvalign/format/fp8.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/cuda_fp8.h"
#include "tests/support/fp8_reference.h"
#include "tests/support/golden_fp8.h"

namespace kvalign {
namespace {

using testing::fp8_constants;
using testing::kFp8Overflows;
using testing::reference_fp8_encode;
using testing::reference_fp8_value;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

class Fp8 : public ::testing::TestWithParam<Fp8Format> {
 protected:
  const Fp8Format format = GetParam();
};
INSTANTIATE_TEST_SUITE_P(Formats, Fp8, ::testing::ValuesIn(testing::kFp8Formats),
                         [](const auto& format) {
                           return format.param == Fp8Format::kE4M3FN ? "E4M3FN" : "E5M2";
                         });

// The value of a float16, by its definition (IEEE 754): exact in float32.
float float_of_half(uint32_t half) {
  const uint32_t exponent = (half >> 10) & 31;
  const uint32_t mantissa = half & 1023;
  double magnitude = std::ldexp(1024 + mantissa, static_cast<int>(exponent) - 25);
  if (exponent == 0) magnitude = std::ldexp(mantissa, -24);
  if (exponent == 31) magnitude = mantissa == 0 ? kInf : kNan;
  return static_cast<float>(half >> 15 == 0 ? magnitude : -magnitude);
}

// Every float32 next to a place where the code may change, both signs: all 256 values and the
// middles between them, float32's own ends, and specials.
std::vector<float> interesting_floats(Fp8Format format) {
  std::vector<float> magnitudes = {0x1p-149f,
                                   0x1p-127f,
                                   0x1p-126f,
                                   std::numeric_limits<float>::max(),
                                   kInf,
                                   kNan,
                                   float_of_bits(0x7F800001),
                                   float_of_bits(0x7FFFFFFF)};
  for (int code = 0; code <= fp8_constants(format).largest_code; ++code) {
    const double value = reference_fp8_value(code, format);
    const double middle = (value + reference_fp8_value(code + 1, format)) / 2;
    for (const double place : {value, middle}) {
      const auto exact = static_cast<float>(place);
      EXPECT_EQ(exact, place);
      magnitudes.insert(magnitudes.end(),
                        {exact, std::nextafter(exact, 0.0f), std::nextafter(exact, kInf)});
    }
  }
  std::vector<float> floats;
  for (const float magnitude : magnitudes) {
    floats.insert(floats.end(), {magnitude, std::copysign(magnitude, -1.0f)});
  }
  return floats;
}

TEST_P(Fp8, DecodesEveryCodeAsMlDtypesDoes) {
  const auto golden = std::make_unique<testing::GoldenFp8>();
  ASSERT_NO_FATAL_FAILURE(testing::read_golden_fp8(*golden));
  for (int code = 0; code < 256; ++code) {
    const float expected = golden->of(format).values[code];
    const float value = decode_fp8(static_cast<uint8_t>(code), format);
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(value)) << "code " << code;
    } else {
      EXPECT_EQ(bits_of_float(value), bits_of_float(expected)) << "code " << code;
    }
    EXPECT_EQ(std::signbit(value), code >= 128) << "code " << code;
    EXPECT_EQ(is_finite_fp8(static_cast<uint8_t>(code), format), std::isfinite(expected))
        << "code " << code;
  }
}

TEST_P(Fp8, DecodesEveryFiniteCodeAsTheSpecificationSays) {
  const auto fp8 = fp8_constants(format);
  for (int code = 0; code <= fp8.largest_code; ++code) {
    const double value = reference_fp8_value(code, format);
    EXPECT_EQ(decode_fp8(static_cast<uint8_t>(code), format), value) << "code " << code;
    EXPECT_EQ(decode_fp8(static_cast<uint8_t>(code + 128), format), -value) << "code " << code;
  }
  EXPECT_EQ(decode_fp8(static_cast<uint8_t>(fp8.largest_code), format), fp8.largest);
  EXPECT_EQ(fp8_largest(format), fp8.largest);
  EXPECT_EQ(decode_fp8(1, format), fp8.smallest);
  EXPECT_EQ(decode_fp8(static_cast<uint8_t>(1 << fp8.mantissa_bits), format), fp8.smallest_normal);
}

TEST_P(Fp8, EveryFiniteCodeSurvivesDecodeAndEncodeInEveryMode) {
  for (const Fp8Overflow overflow : kFp8Overflows) {
    for (int code = 0; code < 256; ++code) {
      if (!is_finite_fp8(static_cast<uint8_t>(code), format)) continue;
      const float value = decode_fp8(static_cast<uint8_t>(code), format);
      EXPECT_EQ(encode_fp8(value, format, overflow), code);
    }
  }
}

// Compares with one cast of ml_dtypes: 65,536 codes of inputs in the order of their bits.
template <class ToFloat>
void expect_as_ml_dtypes(const std::array<uint8_t, 65536>& golden, Fp8Format format,
                         ToFloat to_float) {
  const auto fp8 = fp8_constants(format);
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const float value = to_float(bits);
    const int cast = golden[bits];
    const int no_saturate = encode_fp8(value, format, Fp8Overflow::kNoSaturate);
    const int saturate = encode_fp8(value, format, Fp8Overflow::kSaturate);
    const int keep_special = encode_fp8(value, format, Fp8Overflow::kSaturateKeepSpecial);
    const int largest = fp8.largest_code | (cast & 128);
    if (std::isnan(value)) {  // a float16's cast to E5M2 keeps NaN's lower bit
      ASSERT_FALSE(is_finite_fp8(static_cast<uint8_t>(cast), format));
      ASSERT_EQ(no_saturate, 0x7F);
      ASSERT_EQ(saturate, 0x7F);
      ASSERT_EQ(keep_special | 1, cast | 1) << bits;
    } else {
      const bool fits = is_finite_fp8(static_cast<uint8_t>(cast), format);
      ASSERT_EQ(no_saturate, cast) << value;
      ASSERT_EQ(saturate, fits ? cast : largest) << value;
      ASSERT_EQ(keep_special, fits || std::isinf(value) ? cast : largest) << value;
    }
  }
}

TEST_P(Fp8, EncodesEveryFloat16AsMlDtypesDoes) {
  const auto golden = std::make_unique<testing::GoldenFp8>();
  ASSERT_NO_FATAL_FAILURE(testing::read_golden_fp8(*golden));
  expect_as_ml_dtypes(golden->of(format).of_float16, format, float_of_half);
}

TEST_P(Fp8, EncodesEveryBfloat16AsMlDtypesDoes) {
  const auto golden = std::make_unique<testing::GoldenFp8>();
  ASSERT_NO_FATAL_FAILURE(testing::read_golden_fp8(*golden));
  expect_as_ml_dtypes(golden->of(format).of_bfloat16, format,
                      [](uint32_t bits) { return float_of_bits(bits << 16); });
}

TEST_P(Fp8, RoundsToTheNearestValueAndTiesToEven) {
  for (const Fp8Overflow overflow : kFp8Overflows) {
    for (const float value : interesting_floats(format)) {
      EXPECT_EQ(encode_fp8(value, format, overflow), reference_fp8_encode(value, format, overflow))
          << value << ", bits " << std::hex << bits_of_float(value) << ", mode "
          << static_cast<int>(overflow);
    }
  }
}

TEST_P(Fp8, IsCudasConversionToTheBit) {
  if (!testing::kHaveCudaFp8) GTEST_SKIP() << "cuda_fp8.h was not found when this was compiled";
  std::vector<float> values = interesting_floats(format);
  for (uint32_t upper = 0; upper < 65536; ++upper) {
    for (const uint32_t lower : {0x0000u, 0x0001u, 0x7FFFu, 0x8000u, 0x8001u, 0xFFFFu}) {
      values.push_back(float_of_bits(upper << 16 | lower));
    }
  }
  for (const Fp8Overflow overflow : {Fp8Overflow::kSaturate, Fp8Overflow::kNoSaturate}) {
    for (const float value : values) {
      ASSERT_EQ(encode_fp8(value, format, overflow), testing::cuda_fp8(value, format, overflow))
          << "bits " << std::hex << bits_of_float(value);
    }
  }
  for (int code = 0; code < 256; ++code) {
    const float cuda = testing::cuda_float(static_cast<uint8_t>(code), format);
    const float value = decode_fp8(static_cast<uint8_t>(code), format);
    EXPECT_TRUE(value == cuda || (std::isnan(value) && std::isnan(cuda))) << "code " << code;
  }
}

// The table of fp8.h, in numbers.
TEST(Fp8Overflow, IsAsDocumented) {
  const auto codes = [](float value, Fp8Format format) {
    std::vector<int> codes;
    for (const Fp8Overflow overflow : kFp8Overflows) {
      codes.push_back(encode_fp8(value, format, overflow));
    }
    return codes;
  };
  using Codes = std::vector<int>;
  const Fp8Format e4m3 = Fp8Format::kE4M3FN;
  EXPECT_EQ(codes(464.0f, e4m3), (Codes{0x7E, 0x7E, 0x7E}));  // a tie, to the even code
  EXPECT_EQ(codes(464.00003f, e4m3), (Codes{0x7E, 0x7F, 0x7E}));
  EXPECT_EQ(codes(-3.4e38f, e4m3), (Codes{0xFE, 0xFF, 0xFE}));
  EXPECT_EQ(codes(kInf, e4m3), (Codes{0x7E, 0x7F, 0x7F}));
  EXPECT_EQ(codes(-kInf, e4m3), (Codes{0xFE, 0xFF, 0xFF}));
  EXPECT_EQ(codes(kNan, e4m3), (Codes{0x7F, 0x7F, 0x7F}));
  EXPECT_EQ(codes(-kNan, e4m3), (Codes{0x7F, 0x7F, 0xFF}));
  const Fp8Format e5m2 = Fp8Format::kE5M2;
  EXPECT_EQ(codes(61439.996f, e5m2), (Codes{0x7B, 0x7B, 0x7B}));
  EXPECT_EQ(codes(61440.0f, e5m2), (Codes{0x7B, 0x7C, 0x7B}));  // a tie, to the even code
  EXPECT_EQ(codes(-3.4e38f, e5m2), (Codes{0xFB, 0xFC, 0xFB}));
  EXPECT_EQ(codes(kInf, e5m2), (Codes{0x7B, 0x7C, 0x7C}));
  EXPECT_EQ(codes(-kInf, e5m2), (Codes{0xFB, 0xFC, 0xFC}));
  EXPECT_EQ(codes(kNan, e5m2), (Codes{0x7F, 0x7F, 0x7E}));
  EXPECT_EQ(codes(-kNan, e5m2), (Codes{0x7F, 0x7F, 0xFE}));
}

TEST(Fp8Overflow, IsKnownToTheCompiler) {
  static_assert(encode_fp8_bits(0x3F800000, Fp8Format::kE4M3FN, Fp8Overflow::kSaturate) == 0x38);
  static_assert(encode_fp8_bits(0xBF800000, Fp8Format::kE5M2, Fp8Overflow::kNoSaturate) == 0xBC);
  static_assert(!is_finite_fp8(0xFF, Fp8Format::kE4M3FN));
}

}  // namespace
}  // namespace kvalign
