// The packet reader. Nothing it reads decides how far it reads: the layout of the header does.
#include "kvalign/format/packet_reader.h"

#include "packet_header.h"

namespace kvalign {
namespace {

// The first `size` bytes of `input`, which is left without them. The input has them.
ByteView take(ByteView& input, uint64_t size) noexcept {
  const ByteView front{input.data, static_cast<size_t>(size)};
  input.data += front.size;
  input.size -= front.size;
  return front;
}

}  // namespace

PacketStatus PacketReader::open(ByteView& input) noexcept {
  step_ = Step::kOpen;
  layout_ = {};
  num_chunks_ = 0;
  const PacketStatus status = load_packet_header(input, header_, layout_);
  if (status != PacketStatus::kOk) return lose(status);
  take(input, kPacketHeaderBytes);
  step_ = Step::kPreamble;
  return PacketStatus::kOk;
}

PacketStatus PacketReader::preamble(ByteView& input, PacketPreamble& preamble) noexcept {
  if (step_ != Step::kPreamble) return PacketStatus::kWrongCall;
  if (input.size < layout_.preamble_bytes) return PacketStatus::kTruncatedPreamble;
  if (!is_sealed(input.data, layout_.preamble_bytes)) return lose(PacketStatus::kPreambleChecksum);
  ByteView record = take(input, layout_.preamble_bytes);
  preamble.static_scales = take(record, layout_.static_scale_bytes);
  preamble.sink_token_ids = take(record, record.size - kPacketChecksumBytes);
  step_ = Step::kChunks;
  return PacketStatus::kOk;
}

// Damage is named as soon as the bytes that show it are there.
PacketStatus PacketReader::check_chunk(ByteView input) const noexcept {
  if (input.size < sizeof kChunkMark) return PacketStatus::kTruncatedChunk;
  const auto mark = load_little_endian<uint32_t>(input.data);
  if (mark == kEndMark) return PacketStatus::kEarlyEnd;
  if (mark != kChunkMark) return PacketStatus::kWrongChunkMark;
  if (input.size < kPacketChunkHeaderBytes) return PacketStatus::kTruncatedChunk;
  const auto first_token = load_little_endian<uint32_t>(input.data + 4);
  const uint32_t expected_token = header_.num_sinks + num_chunks_ * layout_.chunk_tokens;
  if (first_token > expected_token) return PacketStatus::kChunkAhead;
  if (first_token < expected_token) return PacketStatus::kChunkBehind;
  const uint32_t num_tokens = layout_.tokens_of_chunk(num_chunks_);
  if (load_little_endian<uint32_t>(input.data + 8) != num_tokens) {
    return PacketStatus::kWrongChunkTokens;
  }
  if (load_little_endian<uint64_t>(input.data + 12) != layout_.body_bytes(num_tokens)) {
    return PacketStatus::kWrongChunkSize;
  }
  if (input.size < layout_.chunk_bytes(num_tokens)) return PacketStatus::kTruncatedChunk;
  return is_sealed(input.data, layout_.chunk_bytes(num_tokens)) ? PacketStatus::kOk
                                                                : PacketStatus::kChunkChecksum;
}

PacketStatus PacketReader::next_chunk(ByteView& input, PacketChunk& chunk) noexcept {
  if (step_ != Step::kChunks || chunks_left() == 0) return PacketStatus::kWrongCall;
  const PacketStatus status = check_chunk(input);
  if (status != PacketStatus::kOk) return lose(status);
  chunk.first_token = header_.num_sinks + num_chunks_ * layout_.chunk_tokens;
  chunk.num_tokens = layout_.tokens_of_chunk(num_chunks_);
  ByteView record = take(input, layout_.chunk_bytes(chunk.num_tokens));
  take(record, kPacketChunkHeaderBytes);
  chunk.token_ids = take(record, chunk.num_tokens * layout_.token_id_bytes);
  chunk.scales = take(record, chunk.num_tokens * layout_.token_scale_bytes);
  chunk.codes = take(record, chunk.num_tokens * layout_.token_code_bytes);
  ++num_chunks_;
  return PacketStatus::kOk;
}

PacketStatus PacketReader::check_end(ByteView input) const noexcept {
  if (input.size < sizeof kEndMark) return PacketStatus::kTruncatedEnd;
  if (load_little_endian<uint32_t>(input.data) != kEndMark) return PacketStatus::kWrongEndMark;
  if (input.size < kPacketEndHeaderBytes) return PacketStatus::kTruncatedEnd;
  if (load_little_endian<uint32_t>(input.data + 4) != layout_.num_chunks) {
    return PacketStatus::kWrongChunkCount;
  }
  if (input.size < layout_.end_bytes) return PacketStatus::kTruncatedEnd;
  if (!is_sealed(input.data, layout_.end_bytes)) return PacketStatus::kEndChecksum;
  return input.size == layout_.end_bytes ? PacketStatus::kOk : PacketStatus::kTrailingBytes;
}

PacketStatus PacketReader::finish(ByteView& input, ByteView& reread_token_ids) noexcept {
  if (step_ != Step::kChunks || chunks_left() > 0) return PacketStatus::kWrongCall;
  const PacketStatus status = check_end(input);
  if (status != PacketStatus::kOk) return lose(status);
  ByteView record = take(input, layout_.end_bytes);
  take(record, kPacketEndHeaderBytes);
  reread_token_ids = take(record, record.size - kPacketChecksumBytes);
  step_ = Step::kDone;
  return PacketStatus::kOk;
}

PacketStatus PacketReader::lose(PacketStatus status) noexcept {
  if (!is_truncated(status)) step_ = Step::kDone;
  return status;
}

uint64_t PacketReader::bytes_wanted() const noexcept {
  switch (step_) {
    case Step::kOpen:
      return kPacketHeaderBytes;
    case Step::kPreamble:
      return layout_.preamble_bytes;
    case Step::kChunks:
      if (chunks_left() == 0) return layout_.end_bytes;
      return layout_.chunk_bytes(layout_.tokens_of_chunk(num_chunks_));
    case Step::kDone:
      break;
  }
  return 0;
}

PacketStatus check_packet(ByteView packet) noexcept {
  PacketReader reader;
  PacketPreamble preamble;
  PacketChunk chunk;
  ByteView reread_token_ids;
  PacketStatus status = reader.open(packet);
  if (status == PacketStatus::kOk) status = reader.preamble(packet, preamble);
  while (status == PacketStatus::kOk && reader.chunks_left() > 0) {
    status = reader.next_chunk(packet, chunk);
  }
  return status == PacketStatus::kOk ? reader.finish(packet, reread_token_ids) : status;
}

}  // namespace kvalign
