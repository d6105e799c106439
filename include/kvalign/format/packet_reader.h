// Reads a packet, record by record, and trusts none of it: a record is compared with what the
// header demands before its bytes are looked at, and its checksum is right before they are handed
// out. It copies and allocates nothing: what it returns are views of the input.
//
// Each call takes one record off the front of `input`. Where the input ends too early the call
// returns a status that is_truncated(), takes nothing, and may be repeated with more bytes. So a
// whole packet and one that is still arriving are read alike:
//
//   PacketReader reader;
//   reader.open(input);
//   reader.preamble(input, preamble);
//   while (reader.chunks_left() > 0) reader.next_chunk(input, chunk);
//   reader.finish(input, reread);
//
// A reader of a connection takes bytes_wanted() for what to wait for only after comparing
// layout().packet_bytes with a limit of its own: a header can ask for anything.
#pragma once

#include <cstdint>

#include "kvalign/format/bytes.h"
#include "kvalign/format/export.h"
#include "kvalign/format/packet.h"
#include "kvalign/format/packet_layout.h"
#include "kvalign/format/packet_status.h"

namespace kvalign {

// Views of the input, laid out as packet.h says and not aligned. Token ids are not compared with
// any vocabulary: packet_token_id() reads one.
struct PacketPreamble {
  ByteView static_scales;
  ByteView sink_token_ids;
};
struct PacketChunk {
  uint32_t first_token = 0;  // counted from the packet's first, sinks included
  uint32_t num_tokens = 0;
  ByteView token_ids;
  ByteView scales;
  ByteView codes;
};

inline int32_t packet_token_id(ByteView token_ids, size_t index) noexcept {
  return static_cast<int32_t>(load_little_endian<uint32_t>(token_ids.data + 4 * index));
}

// Errors of all: kWrongCall out of order, and a distinct status for each kind of damage. After any
// but a truncation the packet is lost, and calls other than open() return kWrongCall.
class KVALIGN_API PacketReader {
 public:
  // The header; begins a packet, also in the middle of another one.
  PacketStatus open(ByteView& input) noexcept;
  PacketStatus preamble(ByteView& input, PacketPreamble& preamble) noexcept;
  PacketStatus next_chunk(ByteView& input, PacketChunk& chunk) noexcept;
  // The end, and that nothing follows it; `reread_token_ids` is a view of the input.
  PacketStatus finish(ByteView& input, ByteView& reread_token_ids) noexcept;

  // Of open() on.
  const PacketHeader& header() const noexcept { return header_; }
  const PacketLayout& layout() const noexcept { return layout_; }
  uint32_t chunks_left() const noexcept { return layout_.num_chunks - num_chunks_; }
  // Bytes of the record that the next call takes; 0 when the packet is finished or lost.
  uint64_t bytes_wanted() const noexcept;

 private:
  enum class Step : uint8_t { kOpen, kPreamble, kChunks, kDone };

  PacketStatus check_chunk(ByteView input) const noexcept;
  PacketStatus check_end(ByteView input) const noexcept;
  PacketStatus lose(PacketStatus status) noexcept;

  PacketHeader header_;
  PacketLayout layout_;
  Step step_ = Step::kOpen;
  uint32_t num_chunks_ = 0;  // read
};

// Reads a whole packet and drops it: kOk, or what reading it would come upon.
KVALIGN_API PacketStatus check_packet(ByteView packet) noexcept;

}  // namespace kvalign
