// Tensors to codes and back: which elements share a scale, the error of each element, what is
// counted and what is refused. The reference indexes element by element; it knows nothing of rows
// and pieces.
#include "kvalign/format/fp8_quantise.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "kvalign/format/fp8_scale.h"
#include "tests/support/fp8_reference.h"

namespace kvalign {
namespace {

using testing::fp8_constants;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr ScaleGranularity kGranularities[] = {ScaleGranularity::kTensor, ScaleGranularity::kHead,
                                               ScaleGranularity::kToken, ScaleGranularity::kChannel,
                                               ScaleGranularity::kBlock32};

struct Tensor {
  Fp8Layout layout;
  std::vector<float> values, scales, decoded;
  std::vector<uint8_t> codes;

  explicit Tensor(const Fp8Layout& layout)
      : layout(layout),
        values(layout.tokens * layout.num_kv_heads * layout.head_dim),
        scales(num_fp8_scales(layout)),
        decoded(values.size()),
        codes(values.size()) {}

  Fp8Result quantise() { return quantise_fp8(layout, values, scales, codes); }
  Fp8Result encode() { return encode_fp8(layout, values, scales, codes); }
  Fp8Result dequantise() { return dequantise_fp8(layout, codes, scales, decoded); }

  // Index of an element's scale, from the shapes in fp8_quantise.h.
  size_t scale_index(size_t element) const {
    const size_t channel = element % layout.head_dim;
    const size_t head = element / layout.head_dim % layout.num_kv_heads;
    const size_t token = element / layout.head_dim / layout.num_kv_heads;
    switch (layout.granularity) {
      case ScaleGranularity::kTensor:
        return 0;
      case ScaleGranularity::kHead:
        return head;
      case ScaleGranularity::kToken:
        return token;
      case ScaleGranularity::kChannel:
        return head * layout.head_dim + channel;
      case ScaleGranularity::kBlock32: {
        const size_t blocks = (layout.head_dim + 31) / 32;
        return (token * layout.num_kv_heads + head) * blocks + channel / 32;
      }
    }
    return 0;
  }
};

// Outliers in some channels and tokens, values down to float32's subnormals, and zeros of both
// signs.
void fill(std::vector<float>& values, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  std::uniform_real_distribution<double> exponent(-30, 2);
  for (float& value : values) {
    const uint32_t kind = random() % 16;
    double number = normal(random);
    if (kind == 0) number *= std::exp2(-110 - static_cast<double>(random() % 39));
    if (kind == 1) number = std::copysign(0.0, number);
    if (kind > 10) number *= std::exp2(exponent(random));
    if (kind == 2) number *= 1000;
    value = static_cast<float>(number);
  }
}

using Case = std::tuple<Fp8Format, ScaleGranularity>;

class Fp8Quantise : public ::testing::TestWithParam<Case> {
 protected:
  Fp8Layout layout(size_t tokens, size_t num_kv_heads, size_t head_dim) const {
    const auto [format, granularity] = GetParam();
    return {tokens, num_kv_heads, head_dim, granularity, format};
  }
  // Heads of one channel, of one block more or less one, of primes, of no block's multiple.
  std::vector<Fp8Layout> layouts() const {
    return {layout(1, 1, 1),  layout(7, 3, 31), layout(7, 3, 32), layout(5, 2, 33),
            layout(6, 1, 80), layout(3, 4, 64), layout(40, 2, 13)};
  }
};
std::string case_name(const ::testing::TestParamInfo<Case>& info) {
  const auto [format, granularity] = info.param;
  const char* const granularities[] = {"Tensor", "Head", "Token", "Channel", "Block32"};
  return std::string(format == Fp8Format::kE4M3FN ? "E4M3FN" : "E5M2") +
         granularities[static_cast<int>(granularity)];
}
INSTANTIATE_TEST_SUITE_P(All, Fp8Quantise,
                         ::testing::Combine(::testing::ValuesIn(testing::kFp8Formats),
                                            ::testing::ValuesIn(kGranularities)),
                         case_name);

TEST_P(Fp8Quantise, ScalesAreThoseOfTheirGroupsAmax) {
  for (const Fp8Layout& layout : layouts()) {
    Tensor tensor(layout);
    fill(tensor.values, 1);
    std::vector<float> amax(tensor.scales.size(), 0.0f);
    std::vector<int> members(tensor.scales.size(), 0);
    for (size_t i = 0; i < tensor.values.size(); ++i) {
      const size_t scale = tensor.scale_index(i);
      const size_t row = i / layout.head_dim;
      EXPECT_EQ(fp8_scale_index(layout, row / layout.num_kv_heads, row % layout.num_kv_heads,
                                i % layout.head_dim),
                scale);
      amax.at(scale) = std::max(amax.at(scale), std::abs(tensor.values[i]));
      ++members.at(scale);
    }
    ASSERT_TRUE(tensor.quantise().ok());
    const bool blocks = layout.granularity == ScaleGranularity::kBlock32;
    for (size_t scale = 0; scale < amax.size(); ++scale) {
      EXPECT_GT(members[scale], 0) << "num_fp8_scales is too large";
      EXPECT_EQ(tensor.scales[scale], blocks ? fp8_block_scale_of(amax[scale], layout.format)
                                             : fp8_scale_of(amax[scale], layout.format));
    }
  }
}

// |x - x^| <= max(u / (1 + u) |x|, scale eta / 2, |x| - largest scale), u half a unit in the last
// place of 1 and eta the smallest value: relative and subnormal rounding, and saturation. float32
// adds the roundings of x / scale and of value * scale, 2^-24 of |x| and |x^| each: 2^-22 of both
// covers them.
void expect_element_bound(const Tensor& tensor) {
  const auto fp8 = fp8_constants(tensor.layout.format);
  const double u = std::exp2(-fp8.mantissa_bits - 1);
  for (size_t i = 0; i < tensor.values.size(); ++i) {
    const double value = tensor.values[i];
    const double decoded = tensor.decoded[i];
    const double scale = tensor.scales[tensor.scale_index(i)];
    const double bound = std::max({u / (1 + u) * std::abs(value), scale * fp8.smallest / 2,
                                   std::abs(value) - fp8.largest * scale});
    const double float32 = 0x1p-22 * (std::abs(value) + std::abs(decoded));
    ASSERT_LE(std::abs(value - decoded), bound + float32)
        << "element " << i << ", " << value << " became " << decoded << ", scale " << scale;
  }
}

TEST_P(Fp8Quantise, EveryElementKeepsTheBound) {
  for (const Fp8Layout& layout : layouts()) {
    for (const uint32_t seed : {2u, 3u, 4u}) {
      Tensor tensor(layout);
      fill(tensor.values, seed);
      ASSERT_TRUE(tensor.quantise().ok());
      ASSERT_TRUE(tensor.dequantise().ok());
      expect_element_bound(tensor);
      // An amax scale is tight: half the top gap is 1/28 of it, or 1/14; float32 as above.
      if (layout.granularity == ScaleGranularity::kBlock32) continue;
      const double part = layout.format == Fp8Format::kE4M3FN ? 28 : 14;
      for (size_t i = 0; i < tensor.values.size(); ++i) {
        const double amax = tensor.scales[tensor.scale_index(i)] * fp8_largest(layout.format);
        ASSERT_LE(std::abs(tensor.values[i] - tensor.decoded[i]), amax * (1 / part + 0x1p-21));
      }
    }
  }
}

// Codes are those of the second encoder for x / scale, and the counts are a plain count.
TEST_P(Fp8Quantise, CodesAndCountsAreThoseOfTheReference) {
  for (const Fp8Layout& layout : layouts()) {
    for (const float shrink : {1.0f, 0x1p-4f}) {  // the second: scales of earlier, smaller data
      Tensor tensor(layout);
      fill(tensor.values, 5);
      ASSERT_TRUE(choose_fp8_scales(layout, tensor.values, tensor.scales).ok());
      for (float& scale : tensor.scales) scale = std::max(scale * shrink, kFp8SmallestScale);
      const Fp8Result result = tensor.encode();
      ASSERT_TRUE(result.ok());
      size_t saturated = 0;
      size_t flushed = 0;
      for (size_t i = 0; i < tensor.values.size(); ++i) {
        const float quotient = tensor.values[i] / tensor.scales[tensor.scale_index(i)];
        ASSERT_EQ(tensor.codes[i],
                  testing::reference_fp8_encode(quotient, layout.format, Fp8Overflow::kSaturate));
        const double limit = layout.format == Fp8Format::kE4M3FN
                                 ? std::nextafter(464.0, 465.0)  // a tie, to 448
                                 : 61440.0;                      // a tie, upwards
        saturated += std::abs(static_cast<double>(quotient)) >= limit;
        flushed += tensor.values[i] != 0 && tensor.codes[i] % 128 == 0;
      }
      EXPECT_EQ(result.saturated, saturated);
      EXPECT_EQ(result.flushed, flushed);
      ASSERT_TRUE(tensor.dequantise().ok());
      expect_element_bound(tensor);
    }
  }
}

// Of 64 numbers, the groups of each granularity: two tokens of one head of 32 channels.
TEST_P(Fp8Quantise, CountsWhatSaturatesAndWhatVanishes) {
  Tensor tensor(layout(2, 1, 32));
  std::fill(tensor.scales.begin(), tensor.scales.end(), 1.0f);
  const float largest = fp8_largest(tensor.layout.format);
  tensor.values[0] = 2 * largest;
  tensor.values[33] = -std::numeric_limits<float>::max();
  tensor.values[34] = largest;
  tensor.values[35] = 1e-9f;
  tensor.values[36] = -std::numeric_limits<float>::denorm_min();
  tensor.values[37] = -0.0f;
  const Fp8Result result = tensor.encode();
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result.saturated, 2u);
  EXPECT_EQ(result.flushed, 2u);
  ASSERT_TRUE(tensor.dequantise().ok());
  EXPECT_EQ(tensor.decoded[0], largest);
  EXPECT_EQ(tensor.decoded[33], -largest);
}

TEST_P(Fp8Quantise, AmaxScalesSaturateInBlocksAlone) {
  Tensor tensor(layout(1, 1, 32));
  std::fill(tensor.values.begin(), tensor.values.end(),
            1.999f);  // above 1.75, the largest's mantissa
  const Fp8Result result = tensor.quantise();
  const bool blocks = tensor.layout.granularity == ScaleGranularity::kBlock32;
  EXPECT_EQ(result.saturated, blocks ? 32u : 0u);
}

TEST_P(Fp8Quantise, DefinesTheEndsOfFloat32) {
  const float max = std::numeric_limits<float>::max();
  for (const float amax :
       {0.0f, std::numeric_limits<float>::denorm_min(), 1e-40f, 0x1p-126f, max}) {
    Tensor tensor(layout(2, 2, 40));
    for (size_t i = 0; i < tensor.values.size(); ++i) tensor.values[i] = i % 3 == 0 ? -amax : amax;
    const Fp8Result result = tensor.quantise();
    ASSERT_TRUE(result.ok()) << amax;
    const bool tiny = amax != 0 && amax < 1;
    EXPECT_EQ(result.flushed, tiny ? tensor.values.size() : 0u) << amax;
    ASSERT_TRUE(tensor.dequantise().ok());
    for (const float value : tensor.decoded) ASSERT_TRUE(std::isfinite(value)) << amax;
    expect_element_bound(tensor);
  }
}

TEST_P(Fp8Quantise, RefusesNanAndInfAndNamesTheFirst) {
  for (const float bad : {kNan, -kNan, kInf, -kInf}) {
    Tensor tensor(layout(3, 2, 40));
    std::fill(tensor.scales.begin(), tensor.scales.end(), 1.0f);
    tensor.values[101] = bad;
    tensor.values[200] = kNan;
    for (const Fp8Result& result : {tensor.encode(), tensor.quantise()}) {
      EXPECT_EQ(result.status, Fp8Status::kNotFinite);
      EXPECT_EQ(result.index, 101u);
    }
  }
}

TEST_P(Fp8Quantise, RefusesCodesThatAreNoNumbers) {
  for (int code = 0; code < 256; ++code) {
    Tensor tensor(layout(2, 1, 33));
    std::fill(tensor.scales.begin(), tensor.scales.end(), 1.0f);
    tensor.codes[50] = static_cast<uint8_t>(code);
    const bool finite = std::isfinite(decode_fp8(tensor.codes[50], tensor.layout.format));
    const Fp8Result result = tensor.dequantise();
    EXPECT_EQ(result.status, finite ? Fp8Status::kOk : Fp8Status::kNotFinite) << code;
    EXPECT_EQ(result.index, finite ? 0u : 50u);
  }
}

TEST_P(Fp8Quantise, RefusesScalesThatAreNone) {
  for (const float bad : {0.0f, -1.0f, 1e-38f, 1e38f, kInf, kNan}) {
    Tensor tensor(layout(3, 2, 33));
    std::fill(tensor.scales.begin(), tensor.scales.end(), 1.0f);
    const size_t index = tensor.scales.size() - 1;
    tensor.scales[index] = bad;
    for (const Fp8Result& result : {tensor.encode(), tensor.dequantise()}) {
      EXPECT_EQ(result.status, Fp8Status::kBadScale) << bad;
      EXPECT_EQ(result.index, index);
    }
  }
  Tensor tensor(layout(3, 2, 33));
  std::fill(tensor.scales.begin(), tensor.scales.end(), 3.0f);
  const bool blocks = tensor.layout.granularity == ScaleGranularity::kBlock32;
  EXPECT_EQ(tensor.encode().status, blocks ? Fp8Status::kBadScale : Fp8Status::kOk);
}

TEST_P(Fp8Quantise, RefusesBuffersOfOtherSizes) {
  const auto refused = [](const Tensor& changed) {
    Tensor tensor = changed;
    EXPECT_EQ(tensor.quantise().status, Fp8Status::kWrongSize);
    EXPECT_EQ(tensor.encode().status, Fp8Status::kWrongSize);
    tensor.decoded.resize(tensor.values.size());
    EXPECT_EQ(tensor.dequantise().status, Fp8Status::kWrongSize);
  };
  const Tensor tensor(layout(3, 2, 33));
  for (const int change : {-1, 1}) {
    Tensor values = tensor, scales = tensor, codes = tensor;
    values.values.resize(values.values.size() + change);
    scales.scales.resize(scales.scales.size() + change);
    codes.codes.resize(codes.codes.size() + change);
    refused(values);
    refused(scales);
    refused(codes);
  }
  Tensor overflowing = tensor;  // 2^62 tokens of 4 channels: 2^64 elements, which size_t reads as 0
  overflowing.layout = layout(size_t{1} << 62, 1, 4);
  overflowing.scales.resize(1);
  overflowing.values.clear();
  overflowing.codes.clear();
  refused(overflowing);
}

TEST_P(Fp8Quantise, OfNothingIsNothingWhateverTheOtherSizes) {
  for (const Fp8Layout& layout : {layout(0, 2, 33), layout(3, 0, 33), layout(3, 2, 0)}) {
    Tensor tensor(layout);
    EXPECT_TRUE(tensor.quantise().ok());
    EXPECT_TRUE(tensor.dequantise().ok());
    for (const float scale : tensor.scales) EXPECT_EQ(scale, 1.0f);
  }
}

// A header from the network may claim any number of tokens of no channels.
TEST(Fp8QuantiseHostile, EndlessTokensWithoutChannelsEndAtOnce) {
  const Fp8Layout layout = {size_t{1} << 62, 1, 0, ScaleGranularity::kTensor, Fp8Format::kE4M3FN};
  float scale = 1.0f;
  EXPECT_TRUE(quantise_fp8(layout, {}, {&scale, 1}, {}).ok());
}

}  // namespace
}  // namespace kvalign
