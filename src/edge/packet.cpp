// One packet: sizes, its beginning, its chunks, its end.
#include "encoder.h"
#include "kvalign/format/fp8_scale.h"
#include "read_rows.h"
#include "status.h"
#include "write_rows.h"

namespace kvalign {
namespace {

// float32 counts exactly up to here, and angles are float32 products.
constexpr uint64_t kMostTurnedPositions = uint64_t{1} << 24;

kvalign_edge_status check_scales(const kvalign_edge_encoder& encoder,
                                 const kvalign_edge_packet& packet) noexcept {
  const uint64_t expected = num_static_scales(encoder);
  if (expected == 0) {
    return packet.static_scales == nullptr && packet.num_static_scales == 0
               ? KVALIGN_EDGE_OK
               : KVALIGN_EDGE_UNEXPECTED_SCALES;
  }
  if (packet.static_scales == nullptr) return KVALIGN_EDGE_MISSING_SCALES;
  if (packet.num_static_scales != expected) return KVALIGN_EDGE_WRONG_SCALE_COUNT;
  const Fp8Format format = fp8_format(encoder.header.element);
  for (uint64_t i = 0; i < expected; ++i) {
    if (!is_fp8_scale(packet.static_scales[i], format)) return KVALIGN_EDGE_WRONG_SCALE;
  }
  return KVALIGN_EDGE_OK;
}

PacketBuffer buffer_of(const kvalign_edge_buffer& buffer) noexcept {
  return {buffer.data, buffer.capacity, buffer.size};
}

}  // namespace

uint64_t num_static_scales(const kvalign_edge_encoder& encoder) noexcept {
  switch (encoder.header.scales) {
    case PacketScales::kTensor:
      return encoder.wire_streams();
    case PacketScales::kHead:
      return uint64_t{encoder.wire_streams()} * encoder.num_kv_heads;
    case PacketScales::kChannel:
      return uint64_t{encoder.wire_streams()} * encoder.wire_width();
    default:
      return 0;
  }
}

kvalign_edge_status lay_out(const kvalign_edge_encoder& encoder, const kvalign_edge_packet& packet,
                            PacketHeader& header, PacketLayout& layout) noexcept {
  if (packet.struct_size != sizeof packet) return KVALIGN_EDGE_WRONG_STRUCT_SIZE;
  header = encoder.header;
  header.num_tokens = packet.num_tokens;
  header.chunk_tokens = packet.chunk_tokens;
  header.num_sinks = packet.num_sinks;
  header.num_reread = packet.num_reread;
  header.position_offset = packet.position_offset;
  const kvalign_edge_status status = edge_status(lay_out_packet(header, layout));
  if (status != KVALIGN_EDGE_OK) return status;
  const bool turns = encoder.turn.num_pairs != 0;
  if (turns && packet.position_offset + packet.num_tokens > kMostTurnedPositions) {
    return KVALIGN_EDGE_POSITION_TOO_LARGE;
  }
  return KVALIGN_EDGE_OK;
}

}  // namespace kvalign

using namespace kvalign;

kvalign_edge_status kvalign_edge_packet_sizes(const kvalign_edge_encoder* encoder,
                                              const kvalign_edge_packet* packet,
                                              kvalign_edge_sizes* sizes) {
  if (encoder == nullptr || packet == nullptr || sizes == nullptr) {
    return KVALIGN_EDGE_NULL_ARGUMENT;
  }
  PacketHeader header;
  PacketLayout layout;
  const kvalign_edge_status status = lay_out(*encoder, *packet, header, layout);
  if (status != KVALIGN_EDGE_OK) return status;
  sizes->packet_bytes = layout.packet_bytes;
  sizes->begin_bytes = kPacketHeaderBytes + layout.preamble_bytes;
  sizes->chunk_bytes = layout.num_chunks > 0 ? layout.chunk_bytes(layout.tokens_of_chunk(0)) : 0;
  sizes->finish_bytes = layout.end_bytes;
  sizes->num_chunks = layout.num_chunks;
  sizes->num_static_scales = num_static_scales(*encoder);
  return KVALIGN_EDGE_OK;
}

kvalign_edge_status kvalign_edge_begin(kvalign_edge_encoder* encoder,
                                       const kvalign_edge_packet* packet,
                                       kvalign_edge_buffer* buffer) {
  if (encoder == nullptr || packet == nullptr || buffer == nullptr || buffer->data == nullptr) {
    return KVALIGN_EDGE_NULL_ARGUMENT;
  }
  PacketHeader header;
  PacketLayout layout;
  kvalign_edge_status status = lay_out(*encoder, *packet, header, layout);
  if (status == KVALIGN_EDGE_OK) status = check_scales(*encoder, *packet);
  if (status != KVALIGN_EDGE_OK) return status;
  const bool ids_travel = layout.token_id_bytes != 0 || header.num_sinks + header.num_reread != 0;
  if (ids_travel && packet->token_ids == nullptr) return KVALIGN_EDGE_MISSING_TOKEN_IDS;

  PacketPreambleData preamble;
  preamble.static_scales = {reinterpret_cast<const uint8_t*>(packet->static_scales),
                            static_cast<size_t>(layout.static_scale_bytes)};
  preamble.sinks = {packet->token_ids, header.num_sinks};
  PacketBuffer bytes = buffer_of(*buffer);
  status = edge_status(encoder->writer.begin(header, preamble, bytes));
  if (status != KVALIGN_EDGE_OK) return status;
  buffer->size = bytes.size;
  encoder->header = header;
  encoder->token_ids = packet->token_ids;
  encoder->static_scales = packet->static_scales;
  encoder->counts = {};
  encoder->in_packet = true;
  return KVALIGN_EDGE_OK;
}

kvalign_edge_status kvalign_edge_chunk(kvalign_edge_encoder* encoder,
                                       const kvalign_edge_cache* cache,
                                       kvalign_edge_buffer* buffer) {
  if (encoder == nullptr || cache == nullptr || buffer == nullptr || buffer->data == nullptr) {
    return KVALIGN_EDGE_NULL_ARGUMENT;
  }
  if (!encoder->in_packet) return KVALIGN_EDGE_WRONG_CALL;
  // A copy, so that a chunk that is refused can come again.
  PacketWriter writer = encoder->writer;
  PacketBuffer bytes = buffer_of(*buffer);
  PacketChunkSpace space;
  kvalign_edge_status status = edge_status(writer.open_chunk(bytes, space));
  if (status == KVALIGN_EDGE_OK) {
    status = check_cache(*encoder, *cache, space.first_token, space.num_tokens);
  }
  if (status != KVALIGN_EDGE_OK) return status;
  for (uint32_t i = 0; i < space.token_id_bytes / sizeof(int32_t); ++i) {
    store_little_endian(space.token_ids + sizeof(int32_t) * i,
                        static_cast<uint32_t>(encoder->token_ids[space.first_token + i]));
  }
  RowCounts counts = encoder->counts;
  status = read_rows(*encoder, encoder->header, *cache, space.first_token, space.num_tokens,
                     [&](const Row& row) { write_row(*encoder, row, space, counts); });
  if (status != KVALIGN_EDGE_OK) return status;
  writer.close_chunk(bytes);
  encoder->writer = writer;
  encoder->counts = counts;
  buffer->size = bytes.size;
  return KVALIGN_EDGE_OK;
}

kvalign_edge_status kvalign_edge_finish(kvalign_edge_encoder* encoder,
                                        kvalign_edge_buffer* buffer) {
  if (encoder == nullptr || buffer == nullptr || buffer->data == nullptr) {
    return KVALIGN_EDGE_NULL_ARGUMENT;
  }
  const PacketHeader& header = encoder->header;
  TokenIds reread{nullptr, header.num_reread};
  if (reread.size > 0) reread.data = encoder->token_ids + (header.num_tokens - header.num_reread);
  PacketBuffer bytes = buffer_of(*buffer);
  const kvalign_edge_status status = edge_status(encoder->writer.finish(reread, bytes));
  if (status != KVALIGN_EDGE_OK) return status;
  buffer->size = bytes.size;
  encoder->in_packet = false;
  return KVALIGN_EDGE_OK;
}

uint32_t kvalign_edge_chunks_left(const kvalign_edge_encoder* encoder) {
  return encoder->in_packet ? encoder->writer.chunks_left() : 0;
}

kvalign_edge_fault kvalign_edge_encoder_fault(const kvalign_edge_encoder* encoder) {
  return encoder->fault;
}

kvalign_edge_counts kvalign_edge_encoder_counts(const kvalign_edge_encoder* encoder) {
  return {encoder->counts.saturated, encoder->counts.flushed};
}
