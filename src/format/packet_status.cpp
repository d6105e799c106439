// The texts of the packet statuses.
#include "kvalign/format/packet_status.h"

namespace kvalign {

namespace {

struct Row {
  PacketStatus status;
  const char* text;
};

constexpr Row kRows[] = {
    {PacketStatus::kOk, "ok"},
    {PacketStatus::kTruncatedHeader,
     "expected a header of 132 bytes, the input ends before it does: wait for more, or send "
     "it again"},
    {PacketStatus::kWrongMagic,
     "expected the magic bytes of a packet: this is something else, or was sent as text"},
    {PacketStatus::kWrongVersion, "expected version 1: a newer kvalign made this packet"},
    {PacketStatus::kWrongHeaderSize, "expected a header size of 132 bytes: the header is damaged"},
    {PacketStatus::kHeaderChecksum,
     "expected a header of its own checksum: it was damaged on the way, send it again"},
    {PacketStatus::kUnknownContent,
     "expected a content of 1 (cache), 2 (flat cache) or 3 (latent)"},
    {PacketStatus::kUnknownElement,
     "expected an element of 1 (E4M3FN), 2 (E5M2), 3 (F16), 4 (BF16) or 5 (F32)"},
    {PacketStatus::kUnknownScales,
     "expected scales of 0 (none), 1 (tensor), 2 (head), 3 (token), 4 (channel) or 5 (block "
     "of 32)"},
    {PacketStatus::kUnknownTokenIds, "expected token ids of 0 (recomputed tokens) or 1 (all)"},
    {PacketStatus::kScalesWithoutFp8,
     "expected no scales with F16, BF16 or F32 elements: they go with FP8 alone"},
    {PacketStatus::kHeadScalesOfLatent, "expected no scales by head in a latent: it has no heads"},
    {PacketStatus::kWrongShape,
     "expected num_layers, num_kv_heads and head_dim of 1 or more and a rank of 0 for a cache "
     "(one layer for a flat one), a rank of 1 or more and zeros for a latent"},
    {PacketStatus::kWrongEncoderId, "expected an encoder id for a latent, and zeros for a cache"},
    {PacketStatus::kNoTokens, "expected one token or more"},
    {PacketStatus::kTooManyRecomputed, "expected no more sinks and re-read tokens than tokens"},
    {PacketStatus::kNoChunkTokens, "expected one token or more in a chunk"},
    {PacketStatus::kPositionOverflow, "expected positions below 2^63"},
    {PacketStatus::kSizeOverflow,
     "expected a packet that this machine can address: the header is not to be believed, or "
     "the prefix is to be split into several packets"},
    {PacketStatus::kWrongPacketSize,
     "expected the packet size that follows from the header's other values"},
    {PacketStatus::kTruncatedPreamble,
     "expected static scales and the sinks' token ids, the input ends before they do: wait "
     "for more, or send it again"},
    {PacketStatus::kPreambleChecksum,
     "expected static scales and sinks' token ids of their own checksum: they were damaged on "
     "the way, send them again"},
    {PacketStatus::kTruncatedChunk,
     "expected a chunk, the input ends before it does: wait for more, or send it again"},
    {PacketStatus::kWrongChunkMark,
     "expected the mark CHNK: bytes were lost, added or damaged on the way"},
    {PacketStatus::kEarlyEnd,
     "expected another chunk before the end: the sender left some out, or they were lost"},
    {PacketStatus::kChunkAhead,
     "expected an earlier token first: a chunk was lost, or chunks changed places"},
    {PacketStatus::kChunkBehind,
     "expected a later token first: a chunk came twice, or overlaps the one before"},
    {PacketStatus::kWrongChunkTokens,
     "expected chunk_tokens tokens in a chunk, and in the last one the rest"},
    {PacketStatus::kWrongChunkSize, "expected the chunk size that follows from the header"},
    {PacketStatus::kChunkChecksum,
     "expected a chunk of its own checksum: it was damaged on the way, send it again"},
    {PacketStatus::kTruncatedEnd,
     "expected the end of the packet, the input ends before it does: wait for more, or send "
     "it again"},
    {PacketStatus::kWrongEndMark,
     "expected the mark END. after the last chunk: bytes were added or damaged on the way"},
    {PacketStatus::kWrongChunkCount, "expected the end to count as many chunks as came"},
    {PacketStatus::kEndChecksum,
     "expected an end of its own checksum: it was damaged on the way, send it again"},
    {PacketStatus::kTrailingBytes, "expected nothing after the end of the packet"},
    {PacketStatus::kWrongCall, "expected header, preamble, every chunk and the end, in this order"},
    {PacketStatus::kWrongPartSize,
     "expected token ids, scales and codes of the sizes that follow from the header"},
    {PacketStatus::kBufferTooSmall, "expected a buffer with bytes_wanted() bytes left"},
};

static_assert(sizeof kRows / sizeof kRows[0] == kNumPacketStatuses, "a text for each");

}  // namespace

const char* packet_status_text(PacketStatus status) noexcept {
  for (const Row& row : kRows) {
    if (row.status == status) return row.text;
  }
  return "not a status";
}

bool is_truncated(PacketStatus status) noexcept {
  return status == PacketStatus::kTruncatedHeader || status == PacketStatus::kTruncatedPreamble ||
         status == PacketStatus::kTruncatedChunk || status == PacketStatus::kTruncatedEnd;
}

}  // namespace kvalign
