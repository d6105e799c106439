// What follows from a packet's header: the sizes of all its parts. Writer and reader both go by
// these numbers, so that neither believes a length that stands in a packet.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kvalign/format/export.h"
#include "kvalign/format/packet.h"
#include "kvalign/format/packet_status.h"

namespace kvalign {

constexpr size_t kPacketChecksumBytes = 4;      // at the end of every record
constexpr size_t kPacketHeaderBytes = 132;      // the whole record
constexpr size_t kPacketChunkHeaderBytes = 20;  // what stands before a chunk's token ids
constexpr size_t kPacketEndHeaderBytes = 8;     // what stands before the re-read tokens' ids

// Sizes in bytes. Records are counted with their checksums.
struct PacketLayout {
  uint32_t coded_tokens = 0;  // tokens in chunks: all but sinks and re-read tokens
  uint32_t chunk_tokens = 0;  // of all chunks but the last
  uint32_t num_chunks = 0;
  uint64_t static_scale_bytes = 0;
  uint64_t token_id_bytes = 0;     // of one token in a chunk, as the two that follow
  uint64_t token_scale_bytes = 0;  //
  uint64_t token_code_bytes = 0;   //
  uint64_t preamble_bytes = 0;
  uint64_t end_bytes = 0;
  uint64_t packet_bytes = 0;

  // Of chunk 0 .. num_chunks - 1.
  uint32_t tokens_of_chunk(uint32_t index) const noexcept {
    const uint32_t left = coded_tokens - index * chunk_tokens;
    return left < chunk_tokens ? left : chunk_tokens;
  }
  uint64_t chunk_bytes(uint32_t num_tokens) const noexcept {
    return kPacketChunkHeaderBytes + body_bytes(num_tokens) + kPacketChecksumBytes;
  }
  // Token ids, scales and codes of a chunk.
  uint64_t body_bytes(uint32_t num_tokens) const noexcept {
    return num_tokens * (token_id_bytes + token_scale_bytes + token_code_bytes);
  }
};

// Checks a header and computes its layout, in 64 bits and without overflow.
// Errors: the statuses of a header's values, kSizeOverflow; `layout` is then as it was.
KVALIGN_API PacketStatus lay_out_packet(const PacketHeader& header, PacketLayout& layout) noexcept;

// Where the bytes of a packet go.
struct PacketBytes {
  uint32_t num_tokens = 0;
  uint64_t header = 0;
  uint64_t scales = 0;
  uint64_t token_ids = 0;
  uint64_t codes = 0;
  uint64_t framing = 0;  // what stands before the data of chunks and of the end
  uint64_t checksums = 0;

  uint64_t total() const noexcept {
    return header + scales + token_ids + codes + framing + checksums;
  }
  // Of one part or of the total, for reports: per_token(bytes.scales).
  double per_token(uint64_t bytes) const noexcept {
    return static_cast<double>(bytes) / num_tokens;
  }
};

// `header` and its layout.
KVALIGN_API PacketBytes packet_bytes_by_part(const PacketHeader& header,
                                             const PacketLayout& layout) noexcept;

}  // namespace kvalign
