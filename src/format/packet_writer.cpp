// The packet writer. The reader accepts what it writes and nothing else.
#include "kvalign/format/packet_writer.h"

#include <cstring>

#include "packet_header.h"

namespace kvalign {
namespace {

uint8_t* store_bytes(uint8_t* place, ByteView bytes) noexcept {
  if (bytes.size > 0) std::memcpy(place, bytes.data, bytes.size);
  return place + bytes.size;
}

uint8_t* store_token_ids(uint8_t* place, const TokenIds& ids) noexcept {
  for (size_t i = 0; i < ids.size; ++i) {
    store_little_endian(place + i * sizeof(int32_t), static_cast<uint32_t>(ids.data[i]));
  }
  return place + ids.size * sizeof(int32_t);
}

bool has_room(const PacketBuffer& buffer, uint64_t bytes) noexcept {
  return buffer.size <= buffer.capacity && bytes <= buffer.capacity - buffer.size;
}

}  // namespace

PacketStatus PacketWriter::begin(const PacketHeader& header, const PacketPreambleData& preamble,
                                 PacketBuffer& buffer) noexcept {
  PacketLayout layout;
  const PacketStatus status = lay_out_packet(header, layout);
  if (status != PacketStatus::kOk) return status;
  if (preamble.static_scales.size != layout.static_scale_bytes ||
      preamble.sinks.size != header.num_sinks) {
    return PacketStatus::kWrongPartSize;
  }
  if (!has_room(buffer, kPacketHeaderBytes + layout.preamble_bytes)) {
    return PacketStatus::kBufferTooSmall;
  }
  header_ = header;
  layout_ = layout;
  num_chunks_ = 0;
  step_ = Step::kChunk;

  uint8_t* record = buffer.data + buffer.size;
  store_packet_header(header, layout, record);
  record += kPacketHeaderBytes;
  store_token_ids(store_bytes(record, preamble.static_scales), preamble.sinks);
  seal_record(record, layout.preamble_bytes);
  buffer.size += kPacketHeaderBytes + layout.preamble_bytes;
  return PacketStatus::kOk;
}

PacketStatus PacketWriter::open_chunk(const PacketBuffer& buffer,
                                      PacketChunkSpace& space) noexcept {
  if (step_ != Step::kChunk || chunks_left() == 0) return PacketStatus::kWrongCall;
  if (!has_room(buffer, bytes_wanted())) return PacketStatus::kBufferTooSmall;
  step_ = Step::kOpenChunk;
  space.num_tokens = chunk_tokens();
  space.first_token = header_.num_sinks + num_chunks_ * layout_.chunk_tokens;
  space.token_id_bytes = space.num_tokens * layout_.token_id_bytes;
  space.scale_bytes = space.num_tokens * layout_.token_scale_bytes;
  space.code_bytes = space.num_tokens * layout_.token_code_bytes;

  uint8_t* record = buffer.data + buffer.size;
  store_little_endian(record, kChunkMark);
  store_little_endian(record + 4, space.first_token);
  store_little_endian(record + 8, space.num_tokens);
  store_little_endian(record + 12, layout_.body_bytes(space.num_tokens));
  space.token_ids = record + kPacketChunkHeaderBytes;
  space.scales = space.token_ids + space.token_id_bytes;
  space.codes = space.scales + space.scale_bytes;
  return PacketStatus::kOk;
}

PacketStatus PacketWriter::close_chunk(PacketBuffer& buffer) noexcept {
  if (step_ != Step::kOpenChunk) return PacketStatus::kWrongCall;
  const uint64_t bytes = bytes_wanted();
  if (!has_room(buffer, bytes)) return PacketStatus::kBufferTooSmall;
  seal_record(buffer.data + buffer.size, bytes);
  buffer.size += bytes;
  ++num_chunks_;
  step_ = Step::kChunk;
  return PacketStatus::kOk;
}

PacketStatus PacketWriter::chunk(const PacketChunkData& data, PacketBuffer& buffer) noexcept {
  if (step_ != Step::kChunk || chunks_left() == 0) return PacketStatus::kWrongCall;
  const uint64_t num_tokens = chunk_tokens();
  if (data.token_ids.size * sizeof(int32_t) != num_tokens * layout_.token_id_bytes ||
      data.scales.size != num_tokens * layout_.token_scale_bytes ||
      data.codes.size != num_tokens * layout_.token_code_bytes) {
    return PacketStatus::kWrongPartSize;
  }
  PacketChunkSpace space;
  const PacketStatus status = open_chunk(buffer, space);
  if (status != PacketStatus::kOk) return status;
  store_token_ids(space.token_ids, data.token_ids);
  store_bytes(space.scales, data.scales);
  store_bytes(space.codes, data.codes);
  return close_chunk(buffer);
}

PacketStatus PacketWriter::finish(const TokenIds& reread, PacketBuffer& buffer) noexcept {
  if (step_ != Step::kChunk || chunks_left() > 0) return PacketStatus::kWrongCall;
  if (reread.size != header_.num_reread) return PacketStatus::kWrongPartSize;
  if (!has_room(buffer, layout_.end_bytes)) return PacketStatus::kBufferTooSmall;
  uint8_t* record = buffer.data + buffer.size;
  store_little_endian(record, kEndMark);
  store_little_endian(record + 4, num_chunks_);
  store_token_ids(record + kPacketEndHeaderBytes, reread);
  seal_record(record, layout_.end_bytes);
  buffer.size += layout_.end_bytes;
  step_ = Step::kBegin;
  return PacketStatus::kOk;
}

uint32_t PacketWriter::chunk_tokens() const noexcept {
  return layout_.tokens_of_chunk(num_chunks_);
}

uint64_t PacketWriter::bytes_wanted() const noexcept {
  if (chunks_left() > 0) return layout_.chunk_bytes(chunk_tokens());
  return layout_.end_bytes;
}

}  // namespace kvalign
