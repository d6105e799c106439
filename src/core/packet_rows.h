// What decode_packet and packet_codes share. Private to core/.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

#include "kvalign/format/fp8.h"
#include "kvalign/format/packet.h"
#include "kvalign/format/packet_status.h"

namespace kvalign {

inline void check_packet_status(PacketStatus status, const char* where) {
  if (status != PacketStatus::kOk) {
    throw std::invalid_argument(std::string(where) + ": " + packet_status_text(status));
  }
}

// The index-th little-endian float32.
inline float packet_float(ByteView bytes, int64_t index) {
  return float_of_bits(load_little_endian<uint32_t>(bytes.data + 4 * index));
}

// One token: streams, and the heads and width of each.
struct PacketRowShape {
  int64_t streams;
  int64_t heads;
  int64_t width;
};

inline PacketRowShape packet_row_shape(const PacketHeader& header) {
  if (header.content == PacketContent::kLatent) return {1, 1, header.rank};
  const int64_t streams = header.content == PacketContent::kFlatCache ? 1 : 2 * header.num_layers;
  return {streams, header.num_kv_heads, int64_t{header.num_kv_heads} * header.head_dim};
}

}  // namespace kvalign
