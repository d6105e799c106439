// What decode_packet and packet_codes share. Private to core/.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

#include "kvalign/format/fp8.h"
#include "kvalign/format/packet.h"
#include "kvalign/format/packet_reader.h"
#include "kvalign/format/packet_status.h"

namespace kvalign {

inline void check_packet_status(PacketStatus status, const char* where) {
  if (status != PacketStatus::kOk) {
    throw std::invalid_argument(std::string(where) + ": " + packet_status_text(status));
  }
}

// A reader past the preamble of a packet that is sound as a whole: a header alone must not decide
// how much memory is taken.
struct OpenedPacket {
  PacketReader reader;
  PacketPreamble preamble;
  ByteView rest;  // from the first chunk on
};

inline OpenedPacket open_packet(std::string_view packet, const char* where) {
  OpenedPacket opened;
  opened.rest = {reinterpret_cast<const uint8_t*>(packet.data()), packet.size()};
  check_packet_status(check_packet(opened.rest), where);
  check_packet_status(opened.reader.open(opened.rest), where);
  check_packet_status(opened.reader.preamble(opened.rest, opened.preamble), where);
  return opened;
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
