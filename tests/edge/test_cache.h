// Caches with known numbers, in every layout and type.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "kvalign/edge/kvalign_edge_types.h"
#include "kvalign/format/fp8.h"

namespace kvalign::testing {

using Bytes = std::vector<uint8_t>;

struct Shape {
  uint32_t num_layers = 2;
  uint32_t num_kv_heads = 2;
  uint32_t head_dim = 18;
  bool is_flat = false;

  uint32_t width() const { return num_kv_heads * head_dim; }
  uint32_t streams() const { return is_flat ? 1 : 2 * num_layers; }
};

// Numbers [streams, tokens, width], in transformers' layout [N, T, H] for the library. The numbers
// are exact in float16 and in bfloat16.
struct TestCache {
  TestCache(const Shape& shape, uint32_t tokens, uint32_t seed = 1) : shape(shape), tokens(tokens) {
    numbers.resize(size_t{shape.streams()} * tokens * shape.width());
    uint64_t state = 0x9E3779B97F4A7C15u * seed;
    for (float& number : numbers) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      const auto mantissa = static_cast<float>(128 + (state >> 57));  // 128 .. 255
      const int exponent = static_cast<int>(state >> 40 & 15) - 14;
      number = std::ldexp(mantissa, exponent) * ((state >> 39 & 1) != 0 ? -1.0f : 1.0f);
      if ((state >> 50 & 31) == 0) number = 0;
    }
  }

  float& at(uint32_t stream, uint32_t token, uint32_t head, uint32_t channel) {
    return numbers[(size_t{stream} * tokens + token) * shape.width() + head * shape.head_dim +
                   channel];
  }

  // Fills `bytes` by the strides of `view`, whose data is not looked at.
  Bytes lay_out(uint32_t stream, const kvalign_edge_tensor& view) {
    const size_t size = view.dtype == KVALIGN_EDGE_DTYPE_F32 ? 4 : 2;
    Bytes bytes(size * tokens * shape.width());
    for (uint32_t token = 0; token < tokens; ++token) {
      for (uint32_t head = 0; head < shape.num_kv_heads; ++head) {
        for (uint32_t channel = 0; channel < shape.head_dim; ++channel) {
          const float number = at(stream, token, head, channel);
          const auto half = static_cast<_Float16>(number);
          const uint32_t bits = bits_of_float(number);
          const auto bf16 = static_cast<uint16_t>(bits >> 16);
          const void* element = view.dtype == KVALIGN_EDGE_DTYPE_F32 ? &bits
                                : view.dtype == KVALIGN_EDGE_DTYPE_F16
                                    ? static_cast<const void*>(&half)
                                    : &bf16;
          const size_t place =
              token * view.token_stride + head * view.head_stride + channel * view.channel_stride;
          std::memcpy(bytes.data() + place * size, element, size);
        }
      }
    }
    return bytes;
  }

  Shape shape;
  uint32_t tokens;
  std::vector<float> numbers;
};

// The tensors of a cache in one layout, with the memory that they are views of.
struct LaidOutCache {
  // `view` gives the layout; its data is replaced.
  LaidOutCache(TestCache& source, const kvalign_edge_tensor& view) : is_flat(source.shape.is_flat) {
    for (uint32_t stream = 0; stream < source.shape.streams(); ++stream) {
      memory.push_back(source.lay_out(stream, view));
      tensors.push_back(view);
      tensors.back().data = memory.back().data();
    }
    num_tokens = source.tokens;
  }
  explicit LaidOutCache(TestCache& source)
      : LaidOutCache(source, kvalign_edge_transformers(nullptr, KVALIGN_EDGE_DTYPE_F32,
                                                       source.tokens, source.shape.head_dim)) {}

  kvalign_edge_cache cache() const {
    return {tensors.data(), is_flat ? nullptr : tensors.data() + tensors.size() / 2, 0, num_tokens};
  }

  bool is_flat;
  uint32_t num_tokens = 0;
  std::vector<Bytes> memory;
  std::vector<kvalign_edge_tensor> tensors;
};

}  // namespace kvalign::testing
