// Makes packets by the C interface, from caches with known numbers in every layout and type.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "kvalign/edge/kvalign_edge.h"
#include "kvalign/format/fp8.h"

inline void PrintTo(kvalign_edge_status status, std::ostream* out) {
  *out << kvalign_edge_status_text(status);
}

namespace kvalign::testing {

using Bytes = std::vector<uint8_t>;

// Memory at a multiple of 64, of exactly its size, so that a sanitiser sees what is beyond.
struct AlignedMemory {
  explicit AlignedMemory(size_t bytes) : size(bytes), data(std::malloc(bytes + 64), std::free) {}
  void* get() const {
    return static_cast<char*>(data.get()) + (64 - reinterpret_cast<uintptr_t>(data.get()) % 64);
  }
  size_t size;
  std::unique_ptr<void, void (*)(void*)> data;
};

struct Shape {
  uint32_t num_layers = 2;
  uint32_t num_kv_heads = 2;
  uint32_t head_dim = 18;
  bool is_flat = false;

  uint32_t width() const { return num_kv_heads * head_dim; }
  uint32_t streams() const { return is_flat ? 1 : 2 * num_layers; }
};

inline kvalign_edge_options options_for(const Shape& shape) {
  kvalign_edge_options options{};
  options.struct_size = sizeof options;
  options.num_layers = shape.num_layers;
  options.num_kv_heads = shape.num_kv_heads;
  options.head_dim = shape.head_dim;
  options.is_flat = shape.is_flat;
  options.element = KVALIGN_EDGE_E4M3FN;
  options.scales = KVALIGN_EDGE_SCALES_TOKEN;
  for (uint8_t i = 0; i < 32; ++i) options.geometry_id[i] = i;
  return options;
}

inline kvalign_edge_packet packet_of(uint32_t num_tokens, uint32_t chunk_tokens) {
  kvalign_edge_packet packet{};
  packet.struct_size = sizeof packet;
  packet.num_tokens = num_tokens;
  packet.chunk_tokens = chunk_tokens;
  return packet;
}

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

// An encoder and its memory.
struct Encoder {
  explicit Encoder(const kvalign_edge_options& options) : memory(bytes_of(options)) {
    status = kvalign_edge_encoder_create(&options, memory.get(), memory.size, &encoder);
  }
  static size_t bytes_of(const kvalign_edge_options& options) {
    size_t bytes = 0;
    EXPECT_EQ(kvalign_edge_encoder_bytes(&options, &bytes), KVALIGN_EDGE_OK);
    return bytes;
  }
  operator kvalign_edge_encoder*() const { return encoder; }

  AlignedMemory memory;
  kvalign_edge_encoder* encoder = nullptr;
  kvalign_edge_status status;
};

inline Bytes read_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << "cannot open " << path;
  return Bytes(std::istreambuf_iterator<char>(file), {});
}

// A file's bytes where the library takes them.
inline AlignedMemory aligned_copy(const Bytes& bytes) {
  AlignedMemory memory(bytes.size());
  std::memcpy(memory.get(), bytes.data(), bytes.size());
  return memory;
}

// The whole packet, in a buffer of exactly its size; empty where a call is refused.
inline Bytes encode(kvalign_edge_encoder* encoder, const kvalign_edge_packet& packet,
                    const kvalign_edge_cache& cache) {
  kvalign_edge_sizes sizes{};
  EXPECT_EQ(kvalign_edge_packet_sizes(encoder, &packet, &sizes), KVALIGN_EDGE_OK);
  Bytes bytes(sizes.packet_bytes);
  kvalign_edge_buffer buffer{bytes.data(), bytes.size(), 0};
  kvalign_edge_status status = kvalign_edge_begin(encoder, &packet, &buffer);
  while (status == KVALIGN_EDGE_OK && kvalign_edge_chunks_left(encoder) > 0) {
    status = kvalign_edge_chunk(encoder, &cache, &buffer);
  }
  if (status == KVALIGN_EDGE_OK) status = kvalign_edge_finish(encoder, &buffer);
  EXPECT_EQ(status, KVALIGN_EDGE_OK);
  EXPECT_EQ(buffer.size, bytes.size());
  return status == KVALIGN_EDGE_OK ? bytes : Bytes{};
}

}  // namespace kvalign::testing
