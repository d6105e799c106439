// A packet's header in bytes. It copies values; packet_layout.h says whether they make sense.
#pragma once

#include <cstdint>

#include "kvalign/format/bytes.h"
#include "kvalign/format/packet.h"
#include "kvalign/format/packet_layout.h"

namespace kvalign {

constexpr uint32_t kChunkMark = 0x4B4E4843;  // 'C' 'H' 'N' 'K'
constexpr uint32_t kEndMark = 0x2E444E45;    // 'E' 'N' 'D' '.'

// Ends a record: `bytes` bytes, the last four of which become the checksum of the others.
void seal_record(uint8_t* record, uint64_t bytes) noexcept;
bool is_sealed(const uint8_t* record, uint64_t bytes) noexcept;

// kPacketHeaderBytes bytes, sealed.
void store_packet_header(const PacketHeader& header, const PacketLayout& layout,
                         uint8_t* bytes) noexcept;

// Reads, checks and lays out the header that `input` begins with.
// Errors: kTruncatedHeader to kWrongPacketSize; `header` may then be overwritten.
PacketStatus load_packet_header(ByteView input, PacketHeader& header,
                                PacketLayout& layout) noexcept;

}  // namespace kvalign
