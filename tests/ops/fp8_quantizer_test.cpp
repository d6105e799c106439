// FP8 on tensors against the scalar definition in format/, stream by stream and bit for bit.
#include "kvalign/ops/fp8_quantizer.h"

#include <ATen/ATen.h>

#include <limits>
#include <vector>

#include "tests/support/golden_fill.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

using testing::golden_fill;

constexpr int64_t kStreams = 3, kTokens = 7, kHeads = 2, kWidth = 80;

// Ordinary values beside outliers, values that vanish, zeros and a whole token of them.
at::Tensor streams() {
  at::Tensor values = golden_fill({kStreams, kTokens, kWidth}, 3, 2.0);
  values[0][2][5] = 30000;
  values[1][3].narrow(0, 0, 40).mul_(1e-7);
  values[2][4].zero_();
  values[1][0][79] = -1e-30;
  return values;
}

class Fp8Tensors : public ::testing::TestWithParam<std::tuple<Fp8Format, ScaleGranularity>> {
 protected:
  Fp8Format format() const { return std::get<0>(GetParam()); }
  ScaleGranularity granularity() const { return std::get<1>(GetParam()); }
  Fp8Quantizer quantizer() const { return Fp8Quantizer(format(), granularity(), kHeads); }

  void expect_scalar_definition(const at::Tensor& values, const Fp8Streams& sent,
                                const at::Tensor& arrived) const;

  // Blocks run along the whole row.
  Fp8Layout layout() const {
    const bool blocks = granularity() == ScaleGranularity::kBlock32;
    return {.tokens = kTokens,
            .num_kv_heads = static_cast<size_t>(blocks ? 1 : kHeads),
            .head_dim = static_cast<size_t>(blocks ? kWidth : kWidth / kHeads),
            .granularity = granularity(),
            .format = format()};
  }
};

void Fp8Tensors::expect_scalar_definition(const at::Tensor& values, const Fp8Streams& sent,
                                          const at::Tensor& arrived) const {
  size_t saturated = 0, flushed = 0;
  for (int64_t s = 0; s < kStreams; ++s) {
    const at::Tensor stream = values[s].contiguous();
    const size_t count = kTokens * kWidth;
    std::vector<float> scales(num_fp8_scales(layout())), back(count);
    std::vector<uint8_t> codes(count);
    const Fp8Result result =
        quantise_fp8(layout(), {stream.const_data_ptr<float>(), count}, scales, codes);
    ASSERT_TRUE(result.ok());
    saturated += result.saturated;
    flushed += result.flushed;
    ASSERT_TRUE(dequantise_fp8(layout(), codes, scales, back).ok());
    EXPECT_TRUE(sent.scales[s].flatten().equal(at::tensor(scales)));
    EXPECT_TRUE(sent.codes_STD[s].flatten().equal(at::tensor(codes)));
    EXPECT_TRUE(arrived[s].flatten().equal(at::tensor(back)));
  }
  EXPECT_EQ(sent.saturated.item<int64_t>(), static_cast<int64_t>(saturated));
  EXPECT_EQ(sent.flushed.item<int64_t>(), static_cast<int64_t>(flushed));
  EXPECT_GT(flushed, 0);
}

TEST_P(Fp8Tensors, EqualTheScalarDefinition) {
  const Fp8Streams sent = quantizer().quantise(streams());
  expect_scalar_definition(streams(), sent, quantizer().dequantise(sent));
}

// The tensor expression, which other devices take, on the CPU: values that are not contiguous.
TEST_P(Fp8Tensors, EqualTheScalarDefinitionWhereverTheyLie) {
  const auto apart = [](const at::Tensor& tensor) {
    return at::stack({tensor, tensor}, -1).select(-1, 0);
  };
  Fp8Streams sent = quantizer().quantise(apart(streams()));
  sent.codes_STD = apart(sent.codes_STD);
  expect_scalar_definition(streams(), sent, quantizer().dequantise(sent));
}

TEST_P(Fp8Tensors, CodesThatAreNoNumbersArriveAsNone) {
  Fp8Streams sent = quantizer().quantise(streams());
  sent.codes_STD[1][2][3] = 0x7F;
  const at::Tensor arrived = quantizer().dequantise(sent);
  EXPECT_TRUE(arrived[1][2][3].isnan().item<bool>());
  EXPECT_EQ(arrived.isnan().sum().item<int64_t>(), 1);
}

TEST_P(Fp8Tensors, GradientsPassStraightThrough) {
  const at::Tensor values = streams().requires_grad_();
  const at::Tensor arrived = quantizer().round_trip(values);
  EXPECT_TRUE(at::allclose(arrived, quantizer().round_trip(streams()), 1e-6, 1e-6));
  const at::Tensor weights = golden_fill({kStreams, kTokens, kWidth}, 4, 1.0);
  (arrived * weights).sum().backward();
  EXPECT_TRUE(values.grad().equal(weights));
}

INSTANTIATE_TEST_SUITE_P(
    All, Fp8Tensors,
    ::testing::Combine(::testing::Values(Fp8Format::kE4M3FN, Fp8Format::kE5M2),
                       ::testing::Values(ScaleGranularity::kTensor, ScaleGranularity::kHead,
                                         ScaleGranularity::kToken, ScaleGranularity::kChannel,
                                         ScaleGranularity::kBlock32)));

TEST(Fp8Quantizer, CountsTheBytesOfAToken) {
  const auto bytes = [](ScaleGranularity granularity) {
    return Fp8Quantizer(Fp8Format::kE4M3FN, granularity, 2).bytes_per_token(80);
  };
  EXPECT_EQ(bytes(ScaleGranularity::kTensor), 80);
  EXPECT_EQ(bytes(ScaleGranularity::kChannel), 80);
  EXPECT_EQ(bytes(ScaleGranularity::kToken), 84);
  EXPECT_EQ(bytes(ScaleGranularity::kBlock32), 83);
}

TEST(Fp8Quantizer, SaysWhatItExpects) {
  const Fp8Quantizer quantizer(Fp8Format::kE4M3FN, ScaleGranularity::kToken, kHeads);
  at::Tensor values = streams();
  values[2][1][40] = std::numeric_limits<float>::infinity();
  EXPECT_THROWS_WITH(quantizer.quantise(values), "got inf in stream 2, token 1, channel 40");
  const at::Tensor apart = at::stack({values, values}, -1).select(-1, 0);
  EXPECT_THROWS_WITH(quantizer.quantise(apart), "got inf in stream 2, token 1, channel 40");
  EXPECT_THROWS_WITH(quantizer.quantise(at::zeros({2, 3, 5})),
                     "of 2 kv heads, got Float [2, 3, 5]");
  EXPECT_THROWS_WITH(quantizer.quantise(streams().to(at::kHalf)), "got Half");
  EXPECT_THROWS_WITH(Fp8Quantizer(Fp8Format::kE4M3FN, ScaleGranularity::kToken, 0),
                     "at least 1 kv head, got 0");
}

}  // namespace
}  // namespace kvalign
