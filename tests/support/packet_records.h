// Reads packets record by record as the calls of PacketReader are meant to be made, from the whole
// or from bytes that arrive in pieces; mends their checksums; and writes again what was read.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kvalign/format/checksum.h"
#include "kvalign/format/packet_reader.h"
#include "kvalign/format/packet_writer.h"

namespace kvalign::testing {

// Views of the bytes that were read.
struct ReadPacket {
  PacketHeader header;
  PacketPreamble preamble;
  std::vector<PacketChunk> chunks;
  ByteView reread_token_ids;
};

// Record 0 is the header, 1 the preamble; chunks and the end follow.
inline PacketStatus read_record(PacketReader& reader, uint64_t record, ByteView& input,
                                ReadPacket& packet) {
  if (record == 0) {
    const PacketStatus status = reader.open(input);
    packet.header = reader.header();
    return status;
  }
  if (record == 1) return reader.preamble(input, packet.preamble);
  if (reader.chunks_left() == 0) return reader.finish(input, packet.reread_token_ids);
  PacketChunk chunk;
  const PacketStatus status = reader.next_chunk(input, chunk);
  if (status == PacketStatus::kOk) packet.chunks.push_back(chunk);
  return status;
}

// `piece` more bytes arrive whenever the reader asks for more; the last record sees all of them, so
// that trailing bytes are noticed as in the whole packet.
inline PacketStatus read_in_pieces(ByteView bytes, size_t piece, ReadPacket& packet) {
  PacketReader reader;
  size_t arrived = 0;
  size_t begin = 0;
  for (uint64_t record = 0;;) {
    const bool is_last = record > 1 && reader.chunks_left() == 0;
    if (is_last) arrived = bytes.size;
    ByteView input{bytes.data + begin, arrived - begin};
    const PacketStatus status = read_record(reader, record, input, packet);
    if (is_truncated(status) && arrived < bytes.size) {
      arrived += std::min(piece, bytes.size - arrived);
      continue;
    }
    if (status != PacketStatus::kOk || is_last) return status;
    begin = arrived - input.size;
    ++record;
  }
}

inline PacketStatus read_whole(ByteView bytes, ReadPacket& packet) {
  return read_in_pieces(bytes, bytes.size, packet);
}

// Gives every record that can be found the checksum of its bytes, so that other checks are reached.
inline void seal_records(std::vector<uint8_t>& bytes) {
  PacketReader reader;
  ReadPacket packet;
  ByteView input{bytes.data(), bytes.size()};
  for (uint64_t record = 0;; ++record) {
    const uint64_t wanted = reader.bytes_wanted();
    if (wanted == 0 || wanted > input.size) return;
    const uint64_t covered = wanted - kPacketChecksumBytes;
    uint8_t* bytes_of_record = bytes.data() + (bytes.size() - input.size);
    store_little_endian(bytes_of_record + covered, crc32c(bytes_of_record, covered));
    if (read_record(reader, record, input, packet) != PacketStatus::kOk) return;
  }
}

inline std::vector<int32_t> token_ids_of(ByteView view) {
  std::vector<int32_t> ids(view.size / sizeof(int32_t));
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = packet_token_id(view, i);
  return ids;
}

// The packet that a writer makes of what was read, in one buffer of exactly its size; empty where
// the writer refuses.
inline std::vector<uint8_t> write_again(const ReadPacket& packet) {
  PacketLayout layout;
  if (lay_out_packet(packet.header, layout) != PacketStatus::kOk) return {};
  std::vector<uint8_t> bytes(layout.packet_bytes);
  PacketBuffer buffer{bytes.data(), bytes.size()};
  PacketWriter writer;
  const std::vector<int32_t> sinks = token_ids_of(packet.preamble.sink_token_ids);
  PacketStatus status = writer.begin(
      packet.header, {packet.preamble.static_scales, {sinks.data(), sinks.size()}}, buffer);
  for (const PacketChunk& chunk : packet.chunks) {
    const std::vector<int32_t> ids = token_ids_of(chunk.token_ids);
    if (status != PacketStatus::kOk) return {};
    status = writer.chunk({{ids.data(), ids.size()}, chunk.scales, chunk.codes}, buffer);
  }
  const std::vector<int32_t> reread = token_ids_of(packet.reread_token_ids);
  if (status == PacketStatus::kOk) status = writer.finish({reread.data(), reread.size()}, buffer);
  if (status != PacketStatus::kOk || buffer.size != bytes.size()) return {};
  return bytes;
}

}  // namespace kvalign::testing
