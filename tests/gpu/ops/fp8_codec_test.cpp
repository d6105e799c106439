// The FP8 kernels against the scalar codec, bit for bit: codes, scales, values, counts, refusals.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "kvalign/format/fp8_quantise.h"
#include "kvalign/ops/fp8_codec_cuda.h"

namespace kvalign {
namespace {

using Case = std::tuple<Fp8Format, ScaleGranularity>;

class Fp8OnGpu : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (!at::hasCUDA()) GTEST_SKIP() << "no CUDA device";
    ASSERT_TRUE(cuda::reset_report(report(), nullptr));
  }
  Fp8Layout layout(size_t tokens, size_t num_kv_heads, size_t head_dim) const {
    return {tokens, num_kv_heads, head_dim, std::get<1>(GetParam()), std::get<0>(GetParam())};
  }
  cuda::Fp8Report* report() {
    if (!report_.defined()) {
      report_ = at::zeros({static_cast<int64_t>(sizeof(cuda::Fp8Report))}, on_gpu(at::kByte));
    }
    return reinterpret_cast<cuda::Fp8Report*>(report_.mutable_data_ptr());
  }
  // Waits for the device, and starts anew.
  Fp8Result take_result() {
    cuda::Fp8Report reported;
    const at::Tensor bytes = report_.cpu();
    std::memcpy(&reported, bytes.const_data_ptr(), sizeof reported);
    EXPECT_TRUE(cuda::reset_report(report(), nullptr));
    return cuda::result_of(reported);
  }
  static at::TensorOptions on_gpu(at::ScalarType type) { return at::device(at::kCUDA).dtype(type); }

 private:
  at::Tensor report_;
};

INSTANTIATE_TEST_SUITE_P(
    All, Fp8OnGpu,
    ::testing::Combine(::testing::Values(Fp8Format::kE4M3FN, Fp8Format::kE5M2),
                       ::testing::Values(ScaleGranularity::kTensor, ScaleGranularity::kHead,
                                         ScaleGranularity::kToken, ScaleGranularity::kChannel,
                                         ScaleGranularity::kBlock32)));

void expect_same(const Fp8Result& gpu, const Fp8Result& scalar) {
  EXPECT_EQ(gpu.status, scalar.status);
  EXPECT_EQ(gpu.index, scalar.index);
  EXPECT_EQ(gpu.saturated, scalar.saturated);
  EXPECT_EQ(gpu.flushed, scalar.flushed);
}

// Every finite bfloat16, with an outlier a row where there is one.
at::Tensor all_bfloat16() {
  const at::Tensor patterns = at::arange(0x10000, at::kInt).bitwise_left_shift(16);
  const at::Tensor values = patterns.view(at::kFloat);
  return at::where(values.isfinite(), values, at::ones_like(values)).reshape({256, 2, 128});
}

template <class Type>
std::vector<Type> to_vector(const at::Tensor& tensor) {
  const at::Tensor host = tensor.cpu().contiguous();
  const auto* first = static_cast<const Type*>(host.const_data_ptr());
  return std::vector<Type>(first, first + host.numel());
}

TEST_P(Fp8OnGpu, EqualsTheScalarCodec) {
  for (const size_t head_dim : {31, 32, 45, 128}) {
    const Fp8Layout layout = this->layout(100, 2, head_dim);
    const auto count = static_cast<int64_t>(200 * head_dim);
    const at::Tensor values = all_bfloat16().flatten().narrow(0, 16000, count).clone();
    const std::vector<float> host = to_vector<float>(values);
    std::vector<float> scales(num_fp8_scales(layout)), decoded(host.size());
    std::vector<uint8_t> codes(host.size());
    const Fp8Result quantised = quantise_fp8(layout, host, scales, codes);
    ASSERT_TRUE(quantised.ok());
    ASSERT_TRUE(dequantise_fp8(layout, codes, scales, decoded).ok());

    const at::Tensor gpu_values = values.to(at::kCUDA);
    at::Tensor gpu_codes = at::zeros({count}, on_gpu(at::kByte));
    at::Tensor gpu_scales = at::zeros({static_cast<int64_t>(scales.size())}, on_gpu(at::kFloat));
    at::Tensor gpu_decoded = at::zeros({count}, on_gpu(at::kFloat));
    const float* in = gpu_values.const_data_ptr<float>();
    float* scale = gpu_scales.mutable_data_ptr<float>();
    auto* code = gpu_codes.mutable_data_ptr<uint8_t>();

    ASSERT_TRUE(cuda::quantise_fp8(layout, in, scale, code, report(), nullptr));
    expect_same(take_result(), quantised);
    EXPECT_EQ(to_vector<float>(gpu_scales), scales);
    EXPECT_EQ(to_vector<uint8_t>(gpu_codes), codes);

    gpu_codes.zero_();
    gpu_scales.zero_();
    ASSERT_TRUE(cuda::choose_fp8_scales(layout, in, scale, report(), nullptr));
    ASSERT_TRUE(cuda::encode_fp8(layout, in, scale, code, report(), nullptr));
    expect_same(take_result(), quantised);
    EXPECT_EQ(to_vector<uint8_t>(gpu_codes), codes);

    float* out = gpu_decoded.mutable_data_ptr<float>();
    ASSERT_TRUE(cuda::dequantise_fp8(layout, code, scale, out, report(), nullptr));
    EXPECT_TRUE(take_result().ok());
    EXPECT_EQ(to_vector<float>(gpu_decoded), decoded);
  }
}

TEST_P(Fp8OnGpu, NarrowValuesAreThoseOfTheScalarCasts) {
  const Fp8Layout layout = this->layout(1, 1, 256);
  std::vector<uint8_t> codes(256);
  for (size_t i = 0; i < codes.size(); ++i) {
    const auto code = static_cast<uint8_t>(i);
    codes[i] = is_finite_fp8(code, layout.format) ? code : uint8_t{0};
  }
  const at::Tensor gpu_codes = at::tensor(codes).to(at::kCUDA);
  const bool powers = layout.granularity == ScaleGranularity::kBlock32;
  for (int exponent = -30; exponent < 12; ++exponent) {
    const std::vector<float> scales(num_fp8_scales(layout),
                                    std::ldexp(powers ? 1.0f : 1.37f, exponent));
    std::vector<float> decoded(256);
    ASSERT_TRUE(dequantise_fp8(layout, codes, scales, decoded).ok());
    const at::Tensor gpu_scales = at::tensor(scales).to(at::kCUDA);
    at::Tensor narrow = at::zeros({2, 256}, on_gpu(at::kShort));
    auto* bfloat16 = reinterpret_cast<Bfloat16*>(narrow[0].mutable_data_ptr());
    auto* float16 = reinterpret_cast<Float16*>(narrow[1].mutable_data_ptr());
    const auto* code = gpu_codes.const_data_ptr<uint8_t>();
    const float* scale = gpu_scales.const_data_ptr<float>();
    ASSERT_TRUE(cuda::dequantise_fp8(layout, code, scale, bfloat16, report(), nullptr));
    ASSERT_TRUE(cuda::dequantise_fp8(layout, code, scale, float16, report(), nullptr));
    EXPECT_TRUE(take_result().ok());
    const std::vector<uint16_t> bits = to_vector<uint16_t>(narrow);
    for (size_t i = 0; i < 256; ++i) {
      Bfloat16 expected_bfloat16;
      Float16 expected_float16;
      narrow_float(decoded[i], expected_bfloat16);
      narrow_float(decoded[i], expected_float16);
      EXPECT_EQ(bits[i], expected_bfloat16.bits) << decoded[i];
      EXPECT_EQ(bits[256 + i], expected_float16.bits) << decoded[i];
    }
  }
}

TEST_P(Fp8OnGpu, RefusesAsTheScalarCodec) {
  const Fp8Layout layout = this->layout(3, 2, 45);
  at::Tensor values = at::ones({270}, on_gpu(at::kFloat));
  values[101] = std::numeric_limits<float>::infinity();
  values[269] = std::numeric_limits<float>::quiet_NaN();
  at::Tensor scales = at::ones({static_cast<int64_t>(num_fp8_scales(layout))}, on_gpu(at::kFloat));
  at::Tensor codes = at::zeros({270}, on_gpu(at::kByte));
  float* scale = scales.mutable_data_ptr<float>();
  auto* code = codes.mutable_data_ptr<uint8_t>();
  const float* in = values.const_data_ptr<float>();
  ASSERT_TRUE(cuda::quantise_fp8(layout, in, scale, code, report(), nullptr));
  expect_same(take_result(), {.status = Fp8Status::kNotFinite, .index = 101});
  scales.fill_(1.0);
  codes[77] = 0x7F;
  ASSERT_TRUE(cuda::dequantise_fp8(layout, code, scale, values.mutable_data_ptr<float>(), report(),
                                   nullptr));
  expect_same(take_result(), {.status = Fp8Status::kNotFinite, .index = 77});
  scales[-1] = -1.0;
  ASSERT_TRUE(cuda::encode_fp8(layout, in, scale, code, report(), nullptr));
  expect_same(take_result(), {.status = Fp8Status::kBadScale, .index = num_fp8_scales(layout) - 1});
}

}  // namespace
}  // namespace kvalign
