// What can be wrong with a packet, or with a call that makes or reads one: one value for each, so
// that a log tells a cut connection from a flipped bit from a sender that is not ours.
#pragma once

#include <cstdint>

#include "kvalign/format/export.h"

namespace kvalign {

enum class PacketStatus : uint8_t {
  kOk,
  // The header's record.
  kTruncatedHeader,
  kWrongMagic,
  kWrongVersion,
  kWrongHeaderSize,
  kHeaderChecksum,
  // The values of a header, which a writer's caller may get wrong as well.
  kUnknownContent,
  kUnknownElement,
  kUnknownScales,
  kUnknownTokenIds,
  kScalesWithoutFp8,
  kHeadScalesOfLatent,
  kWrongShape,
  kWrongEncoderId,
  kNoTokens,
  kTooManyRecomputed,
  kNoChunkTokens,
  kPositionOverflow,
  kSizeOverflow,
  kWrongPacketSize,
  // What follows the header.
  kTruncatedPreamble,
  kPreambleChecksum,
  kTruncatedChunk,
  kWrongChunkMark,
  kEarlyEnd,
  kChunkAhead,
  kChunkBehind,
  kWrongChunkTokens,
  kWrongChunkSize,
  kChunkChecksum,
  kTruncatedEnd,
  kWrongEndMark,
  kWrongChunkCount,
  kEndChecksum,
  kTrailingBytes,
  // Mistakes of the caller.
  kWrongCall,
  kWrongPartSize,
  kBufferTooSmall,
};

constexpr int kNumPacketStatuses = static_cast<int>(PacketStatus::kBufferTooSmall) + 1;

// What was expected, and what to do: one line, static storage.
KVALIGN_API const char* packet_status_text(PacketStatus status) noexcept;

// More bytes may mend it: the input ends before the record does, and what is there is right.
KVALIGN_API bool is_truncated(PacketStatus status) noexcept;

}  // namespace kvalign
