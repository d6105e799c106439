// The vector codec against the scalar one, bit for bit, in every instruction set of this machine:
// codes, scales, values, counts, and what is refused at which index.
#include "kvalign/ops/fp8_codec.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "kvalign/format/fp8_quantise.h"
#include "kvalign/format/fp8_scale.h"
#include "tests/support/instruction_sets.h"

namespace kvalign {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Buffers that start `offset` elements into their memory: at addresses of no vector's multiple.
struct Buffers {
  Fp8Layout layout;
  size_t offset, elements, num_scales;
  std::vector<float> value_memory, scale_memory, decoded_memory;
  std::vector<uint8_t> code_memory;

  Buffers(const Fp8Layout& layout, size_t offset)
      : layout(layout),
        offset(offset),
        elements(layout.tokens * layout.num_kv_heads * layout.head_dim),
        num_scales(num_fp8_scales(layout)),
        value_memory(offset + elements),
        scale_memory(offset + num_scales, 1.0f),
        decoded_memory(offset + elements),
        code_memory(offset + elements) {}

  std::span<float> values() { return std::span(value_memory).subspan(offset); }
  std::span<float> scales() { return std::span(scale_memory).subspan(offset); }
  std::span<float> decoded() { return std::span(decoded_memory).subspan(offset); }
  std::span<uint8_t> codes() { return std::span(code_memory).subspan(offset); }
};

std::vector<uint32_t> bits(std::span<const float> values) {
  std::vector<uint32_t> result;
  for (const float value : values) result.push_back(bits_of_float(value));
  return result;
}

void expect_same(const Fp8Result& fast, const Fp8Result& scalar) {
  EXPECT_EQ(fast.status, scalar.status);
  EXPECT_EQ(fast.index, scalar.index);
  EXPECT_EQ(fast.saturated, scalar.saturated);
  EXPECT_EQ(fast.flushed, scalar.flushed);
}

void expect_same_choice(const Buffers& buffers) {
  Buffers fast = buffers, scalar = buffers;
  const Fp8Result result = choose_fp8_scales(scalar.layout, scalar.values(), scalar.scales());
  expect_same(fast::choose_fp8_scales(fast.layout, fast.values(), fast.scales()), result);
  if (!result.ok()) return;
  EXPECT_EQ(bits(fast.scales()), bits(scalar.scales()));
}
void expect_same_encoding(const Buffers& buffers) {
  Buffers fast = buffers, scalar = buffers;
  const Fp8Result result =
      encode_fp8(scalar.layout, scalar.values(), scalar.scales(), scalar.codes());
  expect_same(fast::encode_fp8(fast.layout, fast.values(), fast.scales(), fast.codes()), result);
  if (!result.ok()) return;
  EXPECT_EQ(fast.code_memory, scalar.code_memory);
}
void expect_same_quantisation(const Buffers& buffers) {
  Buffers fast = buffers, scalar = buffers;
  const Fp8Result result =
      quantise_fp8(scalar.layout, scalar.values(), scalar.scales(), scalar.codes());
  expect_same(fast::quantise_fp8(fast.layout, fast.values(), fast.scales(), fast.codes()), result);
  if (!result.ok()) return;
  EXPECT_EQ(fast.code_memory, scalar.code_memory);
  EXPECT_EQ(bits(fast.scales()), bits(scalar.scales()));
}
void expect_same_decoding(const Buffers& buffers) {
  Buffers fast = buffers, scalar = buffers;
  const Fp8Result result =
      dequantise_fp8(scalar.layout, scalar.codes(), scalar.scales(), scalar.decoded());
  expect_same(fast::dequantise_fp8(fast.layout, fast.codes(), fast.scales(), fast.decoded()),
              result);
  std::vector<Bfloat16> bfloat16(fast.elements);
  std::vector<Float16> float16(fast.elements);
  expect_same(fast::dequantise_fp8(fast.layout, fast.codes(), fast.scales(), bfloat16), result);
  expect_same(fast::dequantise_fp8(fast.layout, fast.codes(), fast.scales(), float16), result);
  if (!result.ok()) return;
  EXPECT_EQ(bits(fast.decoded()), bits(scalar.decoded()));
  for (size_t i = 0; i < fast.elements; ++i) {
    const float value = scalar.decoded()[i];
    Bfloat16 expected_bfloat16;
    Float16 expected_float16;
    narrow_float(value, expected_bfloat16);
    narrow_float(value, expected_float16);
    ASSERT_EQ(bfloat16[i].bits, expected_bfloat16.bits) << value;
    ASSERT_EQ(float16[i].bits, expected_float16.bits) << value;
  }
}

// Numbers of all sizes, zeros of both signs, float32's subnormals, and ties between codes: a
// mantissa of 5 bits at most is a code or half way between two in either format.
void fill(std::span<float> values, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  for (float& value : values) {
    const uint32_t kind = random() % 16;
    value = normal(random);
    if (kind == 0) value = float_of_bits(random() & 0x807FFFFF);  // subnormal
    if (kind == 1) value = std::copysign(0.0f, value);
    if (kind == 2) value *= 1000;
    if (kind > 10) value = std::ldexp(value, -static_cast<int>(random() % 30));
    if (kind > 5) value = float_of_bits(bits_of_float(value) & 0xFFF80000);
  }
}

using Case = std::tuple<int64_t, Fp8Format, ScaleGranularity>;

class Fp8Codec : public ::testing::TestWithParam<Case> {
 protected:
  Fp8Layout layout(size_t tokens, size_t num_kv_heads, size_t head_dim) const {
    return {tokens, num_kv_heads, head_dim, std::get<2>(GetParam()), std::get<1>(GetParam())};
  }
  // Rows of one element, of a vector, a step, a block, one less, one more; longer than a tile.
  std::vector<Fp8Layout> layouts() const {
    return {layout(1, 1, 1),  layout(9, 1, 7),  layout(5, 3, 8),   layout(3, 1, 15),
            layout(7, 3, 31), layout(7, 3, 32), layout(5, 2, 33),  layout(3, 4, 64),
            layout(6, 1, 80), layout(4, 2, 97), layout(3, 2, 128), layout(2, 5, 1001)};
  }

 private:
  testing::ForcedInstructionSet forced_{std::get<0>(GetParam())};
};

std::string case_name(const ::testing::TestParamInfo<Case>& info) {
  const auto [set, format, granularity] = info.param;
  const char* const granularities[] = {"Tensor", "Head", "Token", "Channel", "Block32"};
  return std::string(hwy::TargetName(set)) + (format == Fp8Format::kE4M3FN ? "E4M3FN" : "E5M2") +
         granularities[static_cast<int>(granularity)];
}
INSTANTIATE_TEST_SUITE_P(
    All, Fp8Codec,
    ::testing::Combine(::testing::ValuesIn(testing::instruction_sets()),
                       ::testing::Values(Fp8Format::kE4M3FN, Fp8Format::kE5M2),
                       ::testing::Values(ScaleGranularity::kTensor, ScaleGranularity::kHead,
                                         ScaleGranularity::kToken, ScaleGranularity::kChannel,
                                         ScaleGranularity::kBlock32)),
    case_name);

TEST_P(Fp8Codec, RunsInTheInstructionSetAskedFor) {
  EXPECT_STREQ(fast::instruction_set(), hwy::TargetName(std::get<0>(GetParam())));
}

TEST_P(Fp8Codec, EqualsTheScalarCodec) {
  for (const Fp8Layout& layout : layouts()) {
    for (const size_t offset : {0, 1, 3}) {
      SCOPED_TRACE(std::to_string(layout.num_kv_heads) + " x " + std::to_string(layout.head_dim));
      Buffers buffers(layout, offset);
      fill(buffers.values(), static_cast<uint32_t>(7 + offset));
      expect_same_choice(buffers);
      expect_same_quantisation(buffers);
      ASSERT_TRUE(quantise_fp8(layout, buffers.values(), buffers.scales(), buffers.codes()).ok());
      expect_same_decoding(buffers);
    }
  }
}

// Under scales of earlier, smaller data much saturates; under large ones much vanishes.
TEST_P(Fp8Codec, EqualsTheScalarCodecUnderOtherScales) {
  for (const Fp8Layout& layout : layouts()) {
    for (const int shift : {-120, -8, -1, 3, 9, 100}) {
      Buffers buffers(layout, 1);
      fill(buffers.values(), 3);
      ASSERT_TRUE(choose_fp8_scales(layout, buffers.values(), buffers.scales()).ok());
      for (float& scale : buffers.scales()) {
        scale = std::clamp(std::ldexp(scale, shift), kFp8SmallestScale, 0x1p111f);
      }
      expect_same_encoding(buffers);
    }
  }
}

// Rows of nothing, and of one magnitude from float32's smallest to its largest.
TEST_P(Fp8Codec, EqualsTheScalarCodecAtTheEndsOfFloat32) {
  for (const float amax : {0.0f, std::numeric_limits<float>::denorm_min(), 0x1p-126f, 0x1p-100f,
                           1.0f, std::numeric_limits<float>::max()}) {
    Buffers buffers(layout(3, 2, 45), 1);
    for (size_t i = 0; i < buffers.elements; ++i) buffers.values()[i] = i % 3 == 0 ? -amax : amax;
    expect_same_quantisation(buffers);
    expect_same_encoding(buffers);
  }
}

TEST_P(Fp8Codec, EncodesEveryBfloat16AsTheScalarCodec) {
  for (const float scale : {1.0f, 0x1p-9f, 0x1p40f, 0x1p-100f}) {
    Buffers buffers(layout(255, 1, 256), 0);
    for (uint32_t i = 0; i < 0x7F80; ++i) {  // finite ones
      buffers.values()[2 * i] = float_of_bits(i << 16);
      buffers.values()[2 * i + 1] = float_of_bits(i << 16 | 0x80000000);
    }
    std::ranges::fill(buffers.scales(), scale);
    expect_same_encoding(buffers);
    expect_same_quantisation(buffers);
  }
}

TEST_P(Fp8Codec, DecodesEveryCodeAsTheScalarCodec) {
  std::mt19937 random(5);
  const bool powers = std::get<2>(GetParam()) == ScaleGranularity::kBlock32;
  for (int i = 0; i < 200; ++i) {
    Buffers buffers(layout(1, 1, 256), 1);
    for (int code = 0; code < 256; ++code) {
      const auto byte = static_cast<uint8_t>(code);
      buffers.codes()[code] = is_finite_fp8(byte, buffers.layout.format) ? byte : uint8_t{0x80};
    }
    // From float16's underflow to its overflow, and to the ends of what a scale may be.
    const int exponent = i == 0 ? -100 : (i == 1 ? 111 : static_cast<int>(random() % 60) - 40);
    const uint32_t mantissa = powers ? 0 : random() & 0x7FFFFF;
    std::ranges::fill(buffers.scales(),
                      float_of_bits(static_cast<uint32_t>(exponent + 127) << 23 | mantissa));
    expect_same_decoding(buffers);
  }
}

// First, last, in the rest after the steps, in a later row; NaN after it changes nothing.
TEST_P(Fp8Codec, RefusesAsTheScalarCodec) {
  for (const size_t head_dim : {1, 31, 32, 45, 100}) {
    const size_t elements = 3 * 2 * head_dim;
    for (const size_t place : {size_t{0}, head_dim - 1, head_dim, elements / 2, elements - 1}) {
      for (const float bad : {kNan, -kNan, kInf, -kInf}) {
        Buffers buffers(layout(3, 2, head_dim), 1);
        buffers.values()[place] = bad;
        buffers.values()[elements - 1] = kNan;
        expect_same_choice(buffers);
        expect_same_encoding(buffers);
        expect_same_quantisation(buffers);
      }
      for (const int code : {0x7B, 0x7C, 0x7D, 0x7E, 0x7F, 0xFC, 0xFF}) {
        Buffers buffers(layout(3, 2, head_dim), 1);
        buffers.codes()[place] = static_cast<uint8_t>(code);
        expect_same_decoding(buffers);
      }
    }
    for (const float bad : {0.0f, -1.0f, 3.0f, 1e38f, kNan}) {
      Buffers buffers(layout(3, 2, head_dim), 1);
      buffers.scales()[buffers.num_scales - 1] = bad;
      buffers.values()[0] = kNan;
      expect_same_encoding(buffers);
      expect_same_decoding(buffers);
    }
  }
}

TEST_P(Fp8Codec, OfNothingIsNothing) {
  for (const Fp8Layout& layout : {layout(0, 2, 33), layout(3, 0, 33), layout(3, 2, 0)}) {
    Buffers buffers(layout, 0);
    expect_same_choice(buffers);
    expect_same_encoding(buffers);
    expect_same_quantisation(buffers);
    expect_same_decoding(buffers);
  }
}

TEST_P(Fp8Codec, RefusesBuffersOfOtherSizes) {
  for (const int wrong : {0, 1, 2}) {
    Buffers buffers(layout(3, 2, 33), 0);
    if (wrong == 0) buffers.value_memory.pop_back();
    if (wrong == 1) buffers.scale_memory.pop_back();
    if (wrong == 2) buffers.code_memory.pop_back();
    buffers.decoded_memory.resize(buffers.value_memory.size());
    const auto expect_wrong_size = [](const Fp8Result& result) {
      EXPECT_EQ(result.status, Fp8Status::kWrongSize);
    };
    if (wrong != 2) {
      expect_wrong_size(
          fast::choose_fp8_scales(buffers.layout, buffers.values(), buffers.scales()));
    }
    expect_wrong_size(
        fast::encode_fp8(buffers.layout, buffers.values(), buffers.scales(), buffers.codes()));
    expect_wrong_size(
        fast::quantise_fp8(buffers.layout, buffers.values(), buffers.scales(), buffers.codes()));
    expect_wrong_size(
        fast::dequantise_fp8(buffers.layout, buffers.codes(), buffers.scales(), buffers.decoded()));
  }
}

// A header from the network may claim any number of tokens of no channels.
TEST(Fp8CodecHostile, EndlessTokensWithoutChannelsEndAtOnce) {
  const Fp8Layout layout = {size_t{1} << 62, 1, 0, ScaleGranularity::kTensor, Fp8Format::kE4M3FN};
  float scale = 1.0f;
  EXPECT_TRUE(fast::quantise_fp8(layout, {}, {&scale, 1}, {}).ok());
}

}  // namespace
}  // namespace kvalign
