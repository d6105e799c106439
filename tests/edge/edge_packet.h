// Makes packets by the C interface.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "kvalign/edge/kvalign_edge.h"
#include "tests/edge/test_cache.h"

inline void PrintTo(kvalign_edge_status status, std::ostream* out) {
  *out << kvalign_edge_status_text(status);
}

namespace kvalign::testing {

// Memory at a multiple of 64, of exactly its size, so that a sanitiser sees what is beyond.
struct AlignedMemory {
  explicit AlignedMemory(size_t bytes) : size(bytes), data(std::malloc(bytes + 64), std::free) {}
  void* get() const {
    return static_cast<char*>(data.get()) + (64 - reinterpret_cast<uintptr_t>(data.get()) % 64);
  }
  size_t size;
  std::unique_ptr<void, void (*)(void*)> data;
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
