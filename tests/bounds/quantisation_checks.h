// Trials of FP8 bounds: real tensors through the real encoder, and values beside every tie.
#pragma once

#include <functional>

#include "kvalign/bounds/quantisation_bound.h"
#include "kvalign/format/fp8_quantise.h"
#include "tests/bounds/trials.h"

namespace kvalign::testing {

using CodeBound = std::function<CodeBounds(const Fp8Layout&, std::span<const uint8_t>,
                                           std::span<const float>, ScaleOrigin)>;
using PriorBound = std::function<double(const TokenMagnitude&, float, Fp8Format)>;

constexpr ScaleGranularity kGranularities[] = {ScaleGranularity::kTensor, ScaleGranularity::kHead,
                                               ScaleGranularity::kToken, ScaleGranularity::kChannel,
                                               ScaleGranularity::kBlock32};
constexpr Fp8Format kFormats[] = {Fp8Format::kE4M3FN, Fp8Format::kE5M2};

struct EncodedTensor {
  Fp8Layout layout;
  std::vector<float> values, scales, decoded;
  std::vector<uint8_t> codes;
  size_t saturated = 0;
};

// Normal, heavy-tailed and outlier-ridden values; scales of earlier data are a quarter of their
// own.
inline EncodedTensor encode_random(Random& random, ScaleOrigin origin) {
  EncodedTensor tensor;
  tensor.layout = {.tokens = 5, .num_kv_heads = 2, .head_dim = 36};
  tensor.layout.granularity = random.choose(kGranularities);
  tensor.layout.format = random.choose(kFormats);
  const size_t count = 5 * 2 * 36;
  tensor.values.resize(count);
  tensor.decoded.resize(count);
  tensor.codes.resize(count);
  tensor.scales.resize(num_fp8_scales(tensor.layout));
  const double spread = random.power(-20, 20);
  const int64_t law = random.below(3);
  for (size_t i = 0; i < count; ++i) {
    double value = random.normal();
    if (law == 1) value *= random.power(-8, 0);
    if (law == 2 && (i % 36 == 7 || i / 72 == 3)) value *= 300;
    tensor.values[i] = static_cast<float>(value * spread);
  }
  EXPECT_TRUE(choose_fp8_scales(tensor.layout, tensor.values, tensor.scales).ok());
  if (origin == ScaleOrigin::kEarlier) {
    for (float& scale : tensor.scales) scale = std::max(scale / 4, kFp8SmallestScale);
  }
  const Fp8Result encoded = encode_fp8(tensor.layout, tensor.values, tensor.scales, tensor.codes);
  EXPECT_TRUE(encoded.ok());
  tensor.saturated = encoded.saturated;
  EXPECT_TRUE(dequantise_fp8(tensor.layout, tensor.codes, tensor.scales, tensor.decoded).ok());
  return tensor;
}

inline void add_tensor(const EncodedTensor& tensor, const CodeBounds& bounds, ScaleOrigin origin,
                       Tightness& result) {
  int64_t unbounded = 0;
  for (size_t i = 0; i < tensor.values.size(); ++i) {
    const Wide error = wide_abs(static_cast<Wide>(tensor.values[i]) - tensor.decoded[i]);
    result.add(error, bounds.bounds[static_cast<Eigen::Index>(i)]);
    unbounded += std::isinf(bounds.bounds[static_cast<Eigen::Index>(i)]);
  }
  result.add_condition(bounds.num_unbounded == unbounded);
  // Blocks saturate under scales of their own, but only up to the next power of two.
  const bool own = origin == ScaleOrigin::kOwnAmax;
  result.add_condition(own ? unbounded == 0 : unbounded >= static_cast<int64_t>(tensor.saturated));
}

// Around every tie, under random scales: x / scale rounds to the tie from either side.
inline void add_ties(const CodeBound& bound, Random& random, Tightness& result) {
  EncodedTensor tensor;
  tensor.layout.format = random.choose(kFormats);
  tensor.layout.num_kv_heads = tensor.layout.head_dim = 1;
  const auto scale = static_cast<float>(random.uniform(0.5, 1) * std::exp2(random.below(40) - 20));
  for (uint32_t code = 0; code + 1 < fp8_largest_code(tensor.layout.format); ++code) {
    const float low = decode_fp8(static_cast<uint8_t>(code), tensor.layout.format);
    const float high = decode_fp8(static_cast<uint8_t>(code + 1), tensor.layout.format);
    const float tie = (low + high) / 2 * scale;
    for (const float value : {tie, std::nextafter(tie, 0.0f), std::nextafter(tie, 1e30f)}) {
      tensor.values.push_back(random.sign() < 0 ? -value : value);
    }
  }
  tensor.layout.tokens = tensor.values.size();
  tensor.scales = {scale};
  tensor.codes.resize(tensor.values.size());
  tensor.decoded.resize(tensor.values.size());
  EXPECT_TRUE(encode_fp8(tensor.layout, tensor.values, tensor.scales, tensor.codes).ok());
  EXPECT_TRUE(dequantise_fp8(tensor.layout, tensor.codes, tensor.scales, tensor.decoded).ok());
  add_tensor(tensor, bound(tensor.layout, tensor.codes, tensor.scales, ScaleOrigin::kEarlier),
             ScaleOrigin::kEarlier, result);
}

inline Tightness check_code_bound(const CodeBound& bound, int64_t trials, uint64_t seed) {
  Random random(seed);
  Tightness result;
  while (result.trials() < trials) {
    for (const ScaleOrigin origin : {ScaleOrigin::kOwnAmax, ScaleOrigin::kEarlier}) {
      const EncodedTensor tensor = encode_random(random, origin);
      add_tensor(tensor, bound(tensor.layout, tensor.codes, tensor.scales, origin), origin, result);
    }
    add_ties(bound, random, result);
  }
  return result;
}

// One token, from tame to far below the smallest normal number or beyond the largest one.
inline Tightness check_prior_bound(const PriorBound& bound, int64_t trials, uint64_t seed) {
  Random random(seed);
  Tightness result;
  while (result.trials() < trials) {
    const Fp8Format format = random.choose(kFormats);
    const int64_t width = 1 + random.below(40), law = random.below(3);
    std::vector<float> values(static_cast<size_t>(width)), decoded(values.size());
    std::vector<uint8_t> codes(values.size());
    double squares = 0, amax = 0;
    for (float& value : values) {
      value =
          static_cast<float>(law == 0 ? random.normal() : random.sign() * random.uniform(0.9, 1));
      if (law == 2) value = static_cast<float>(random.sign() * random.power(-6, 0));
      squares += static_cast<double>(value) * value;
      amax = std::max(amax, std::abs(static_cast<double>(value)));
    }
    const double factors[] = {1, 1, 0.3, 0.02, 1000, 1e5, 3e9};
    const auto scale = static_cast<float>(amax / fp8_largest(format) * random.choose(factors));
    const Fp8Layout layout{1, 1, values.size(), ScaleGranularity::kTensor, format};
    const std::span<const float> scales(&scale, 1);
    EXPECT_TRUE(encode_fp8(layout, values, scales, codes).ok());
    EXPECT_TRUE(dequantise_fp8(layout, codes, scales, decoded).ok());
    Wide error = 0;
    for (size_t i = 0; i < values.size(); ++i) {
      const Wide one = static_cast<Wide>(values[i]) - decoded[i];
      error += one * one;
    }
    const TokenMagnitude token{raised(std::sqrt(squares), 64), amax, width};
    result.add(wide_sqrt(error), bound(token, scale, format));
  }
  return result;
}

}  // namespace kvalign::testing
