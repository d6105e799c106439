// Writes a packet, record by record, into buffers of the caller: begin, every chunk, finish. It
// allocates nothing and keeps no bytes, so a device can send each record and use its buffer again.
//
//   PacketWriter writer;
//   writer.begin(header, {static_scales, sinks}, buffer);
//   while (writer.chunks_left() > 0) {
//     writer.open_chunk(buffer, space);  // quantise into space.codes, or use chunk(data, buffer)
//     writer.close_chunk(buffer);
//   }
//   writer.finish(reread, buffer);
#pragma once

#include <cstddef>
#include <cstdint>

#include "kvalign/format/bytes.h"
#include "kvalign/format/export.h"
#include "kvalign/format/packet.h"
#include "kvalign/format/packet_layout.h"
#include "kvalign/format/packet_status.h"

namespace kvalign {

// Bytes of the caller to which records are appended; to use it anew, set size to 0.
struct PacketBuffer {
  uint8_t* data = nullptr;
  size_t capacity = 0;
  size_t size = 0;
};

struct TokenIds {
  const int32_t* data = nullptr;
  size_t size = 0;  // tokens
};

// Scales and codes are bytes as packet.h lays them out: little-endian float32 and elements.
struct PacketPreambleData {
  ByteView static_scales;  // empty unless scales are of tensors, heads or channels
  TokenIds sinks;          // [num_sinks]
};
struct PacketChunkData {
  TokenIds token_ids;  // empty unless all tokens carry ids
  ByteView scales;     // empty unless scales are of tokens or blocks
  ByteView codes;
};

// Where the parts of a chunk go, in the buffer and not aligned. Token ids are int32,
// little-endian: store_little_endian().
struct PacketChunkSpace {
  uint32_t first_token = 0;  // counted from the packet's first, sinks included
  uint32_t num_tokens = 0;
  uint8_t* token_ids = nullptr;
  size_t token_id_bytes = 0;
  uint8_t* scales = nullptr;
  size_t scale_bytes = 0;
  uint8_t* codes = nullptr;
  size_t code_bytes = 0;
};

// Errors of all: kWrongCall out of order, kBufferTooSmall, kWrongPartSize; nothing is written then,
// and the call may be repeated.
class KVALIGN_API PacketWriter {
 public:
  // Header and preamble; begins a packet, also in the middle of another one.
  // Errors: also those of lay_out_packet().
  PacketStatus begin(const PacketHeader& header, const PacketPreambleData& preamble,
                     PacketBuffer& buffer) noexcept;

  // The next chunk in place: fill `space` completely, then close the chunk in the same buffer.
  PacketStatus open_chunk(const PacketBuffer& buffer, PacketChunkSpace& space) noexcept;
  PacketStatus close_chunk(PacketBuffer& buffer) noexcept;

  // The next chunk, copied.
  PacketStatus chunk(const PacketChunkData& data, PacketBuffer& buffer) noexcept;

  // The end; `reread` are the ids of the last num_reread tokens.
  PacketStatus finish(const TokenIds& reread, PacketBuffer& buffer) noexcept;

  // Of begin() on: chunks that are still to be written, and tokens of the next one.
  uint32_t chunks_left() const noexcept { return layout_.num_chunks - num_chunks_; }
  uint32_t chunk_tokens() const noexcept;
  // What the next call appends: a chunk, or the end. The whole packet is in layout().
  uint64_t bytes_wanted() const noexcept;
  const PacketLayout& layout() const noexcept { return layout_; }

 private:
  enum class Step : uint8_t { kBegin, kChunk, kOpenChunk };

  PacketHeader header_;
  PacketLayout layout_;
  Step step_ = Step::kBegin;
  uint32_t num_chunks_ = 0;  // written
};

}  // namespace kvalign
