// Packets of any header, filled with the numbers of tests/golden/make_packets.py.
#pragma once

#include <cstdint>
#include <cstring>
#include <numeric>
#include <ostream>
#include <vector>

#include "kvalign/format/packet_writer.h"
#include "tests/support/packet_headers.h"

namespace kvalign {

// How GoogleTest shows a status.
inline void PrintTo(PacketStatus status, std::ostream* out) {
  *out << packet_status_text(status);
}

}  // namespace kvalign

namespace kvalign::testing {

using Bytes = std::vector<uint8_t>;

inline ByteView view_of(const Bytes& bytes) {
  return {bytes.data(), bytes.size()};
}
inline TokenIds view_of(const std::vector<int32_t>& ids) {
  return {ids.data(), ids.size()};
}

// Ids of tokens first .. first + count - 1 of a packet.
inline std::vector<int32_t> example_token_ids(uint32_t first, uint32_t count) {
  std::vector<int32_t> ids(count);
  for (uint32_t i = 0; i < count; ++i) ids[i] = static_cast<int32_t>(70000 + 3 * (first + i));
  return ids;
}

// (first + i) / 64, exact in float32.
inline Bytes example_floats(uint64_t first, uint64_t num_bytes) {
  Bytes bytes(num_bytes);
  for (uint64_t i = 0; i < num_bytes / 4; ++i) {
    const float value = static_cast<float>(first + i) / 64;
    uint32_t bits = 0;
    std::memcpy(&bits, &value, sizeof bits);
    store_little_endian(bytes.data() + 4 * i, bits);
  }
  return bytes;
}

inline Bytes example_scales(const PacketHeader& header, uint32_t first, uint32_t count) {
  PacketLayout layout;
  lay_out_packet(header, layout);
  Bytes scales;
  for (uint32_t token = first; token < first + count; ++token) {
    Bytes of_token(layout.token_scale_bytes);
    if (header.scales == PacketScales::kToken) {
      of_token = example_floats(10 * token + 1, of_token.size());
    } else {
      std::iota(of_token.begin(), of_token.end(), static_cast<uint8_t>(110 + token));
    }
    scales.insert(scales.end(), of_token.begin(), of_token.end());
  }
  return scales;
}

inline Bytes example_codes(const PacketHeader& header, uint32_t first, uint32_t count) {
  PacketLayout layout;
  lay_out_packet(header, layout);
  Bytes codes;
  for (uint32_t token = first; token < first + count; ++token) {
    for (uint64_t i = 0; i < layout.token_code_bytes; ++i) {
      codes.push_back(static_cast<uint8_t>(131 * token + 37 * i + 11));
    }
  }
  return codes;
}

// The whole packet, in one buffer of exactly its size; empty where the writer refuses.
inline Bytes example_packet(const PacketHeader& header) {
  PacketLayout layout;
  if (lay_out_packet(header, layout) != PacketStatus::kOk) return {};
  Bytes bytes(layout.packet_bytes);
  PacketBuffer buffer{bytes.data(), bytes.size()};
  PacketWriter writer;
  const Bytes static_scales = example_floats(1, layout.static_scale_bytes);
  const std::vector<int32_t> sinks = example_token_ids(0, header.num_sinks);
  PacketStatus status = writer.begin(header, {view_of(static_scales), view_of(sinks)}, buffer);
  uint32_t first = header.num_sinks;
  while (status == PacketStatus::kOk && writer.chunks_left() > 0) {
    const uint32_t count = writer.chunk_tokens();
    const std::vector<int32_t> ids =
        example_token_ids(first, header.token_ids == PacketTokenIds::kAll ? count : 0);
    const Bytes scales = example_scales(header, first, count);
    const Bytes codes = example_codes(header, first, count);
    status = writer.chunk({view_of(ids), view_of(scales), view_of(codes)}, buffer);
    first += count;
  }
  const std::vector<int32_t> reread = example_token_ids(first, header.num_reread);
  if (status == PacketStatus::kOk) status = writer.finish(view_of(reread), buffer);
  if (status != PacketStatus::kOk || buffer.size != bytes.size()) return {};
  return bytes;
}

}  // namespace kvalign::testing
