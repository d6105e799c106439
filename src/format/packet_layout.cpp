// From a header to sizes: the only arithmetic on a packet's numbers.
#include "kvalign/format/packet_layout.h"

namespace kvalign {
namespace {

constexpr uint64_t kTokenIdBytes = 4;
constexpr uint64_t kFloatScaleBytes = 4;
constexpr uint64_t kBlock = 32;
// Offsets are int64_t for whoever uses a packet, and size_t here, which a device may have in 32
// bits.
constexpr uint64_t kLargestPacket = SIZE_MAX < INT64_MAX ? SIZE_MAX : INT64_MAX;

// A size that remembers whether it was too large for 64 bits.
struct Size {
  uint64_t value;
  bool overflow = false;
};

Size operator*(Size left, Size right) noexcept {
  Size product{0, left.overflow || right.overflow};
  if (__builtin_mul_overflow(left.value, right.value, &product.value)) product.overflow = true;
  return product;
}

Size operator+(Size left, Size right) noexcept {
  Size sum{0, left.overflow || right.overflow};
  if (__builtin_add_overflow(left.value, right.value, &sum.value)) sum.overflow = true;
  return sum;
}

bool is_fp8(PacketElement element) noexcept {
  return element == PacketElement::kE4M3FN || element == PacketElement::kE5M2;
}

uint64_t element_bytes(PacketElement element) noexcept {
  if (is_fp8(element)) return 1;
  return element == PacketElement::kF32 ? 4 : 2;
}

bool shape_is_right(const PacketHeader& header) noexcept {
  if (header.content == PacketContent::kLatent) {
    return header.num_layers == 0 && header.num_kv_heads == 0 && header.head_dim == 0 &&
           header.rank >= 1;
  }
  const bool layers_are_right =
      header.content == PacketContent::kFlatCache ? header.num_layers == 1 : header.num_layers >= 1;
  return layers_are_right && header.num_kv_heads >= 1 && header.head_dim >= 1 && header.rank == 0;
}

// Kinds are compared with the largest one: a header that was read may hold any byte.
PacketStatus check_kinds(const PacketHeader& header) noexcept {
  if (header.content < PacketContent::kCache || header.content > PacketContent::kLatent) {
    return PacketStatus::kUnknownContent;
  }
  if (header.element < PacketElement::kE4M3FN || header.element > PacketElement::kF32) {
    return PacketStatus::kUnknownElement;
  }
  if (header.scales > PacketScales::kBlock32) return PacketStatus::kUnknownScales;
  if (header.token_ids > PacketTokenIds::kAll) return PacketStatus::kUnknownTokenIds;
  if (header.scales != PacketScales::kNone && !is_fp8(header.element)) {
    return PacketStatus::kScalesWithoutFp8;
  }
  if (header.scales == PacketScales::kHead && header.content == PacketContent::kLatent) {
    return PacketStatus::kHeadScalesOfLatent;
  }
  return PacketStatus::kOk;
}

PacketStatus check_header(const PacketHeader& header) noexcept {
  const PacketStatus kinds = check_kinds(header);
  if (kinds != PacketStatus::kOk) return kinds;
  if (!shape_is_right(header)) return PacketStatus::kWrongShape;
  const bool has_encoder = header.encoder_id != PacketId{};
  if (has_encoder != (header.content == PacketContent::kLatent)) {
    return PacketStatus::kWrongEncoderId;
  }
  if (header.num_tokens == 0) return PacketStatus::kNoTokens;
  if (uint64_t{header.num_sinks} + header.num_reread > header.num_tokens) {
    return PacketStatus::kTooManyRecomputed;
  }
  if (header.chunk_tokens == 0) return PacketStatus::kNoChunkTokens;
  if (header.position_offset > INT64_MAX - uint64_t{header.num_tokens}) {
    return PacketStatus::kPositionOverflow;
  }
  return PacketStatus::kOk;
}

struct Row {
  Size streams;
  Size heads;
  Size elements;  // of one token in one stream
};

Row row_of(const PacketHeader& header) noexcept {
  if (header.content == PacketContent::kLatent) return {{1}, {1}, {header.rank}};
  const Size streams =
      header.content == PacketContent::kFlatCache ? Size{1} : Size{uint64_t{2} * header.num_layers};
  return {streams, {header.num_kv_heads}, Size{header.num_kv_heads} * Size{header.head_dim}};
}

Size static_scale_bytes(PacketScales scales, const Row& row) noexcept {
  switch (scales) {
    case PacketScales::kTensor:
      return row.streams * Size{kFloatScaleBytes};
    case PacketScales::kHead:
      return row.streams * row.heads * Size{kFloatScaleBytes};
    case PacketScales::kChannel:
      return row.streams * row.elements * Size{kFloatScaleBytes};
    default:
      return {0};
  }
}

Size token_scale_bytes(PacketScales scales, const Row& row) noexcept {
  if (scales == PacketScales::kToken) return row.streams * Size{kFloatScaleBytes};
  if (scales != PacketScales::kBlock32) return {0};
  const Size blocks{(row.elements.value + kBlock - 1) / kBlock, row.elements.overflow};
  return row.streams * blocks;
}

}  // namespace

PacketStatus lay_out_packet(const PacketHeader& header, PacketLayout& layout) noexcept {
  const PacketStatus status = check_header(header);
  if (status != PacketStatus::kOk) return status;

  PacketLayout result;
  const Row row = row_of(header);
  result.coded_tokens = header.num_tokens - header.num_sinks - header.num_reread;
  result.chunk_tokens = header.chunk_tokens;
  result.num_chunks = static_cast<uint32_t>(
      (uint64_t{result.coded_tokens} + header.chunk_tokens - 1) / header.chunk_tokens);

  const Size ids{header.token_ids == PacketTokenIds::kAll ? kTokenIdBytes : 0};
  const Size static_scales = static_scale_bytes(header.scales, row);
  const Size scales = token_scale_bytes(header.scales, row);
  const Size codes = row.streams * row.elements * Size{element_bytes(header.element)};
  const Size preamble =
      static_scales + Size{kTokenIdBytes} * Size{header.num_sinks} + Size{kPacketChecksumBytes};
  const Size end = Size{kPacketEndHeaderBytes} + Size{kTokenIdBytes} * Size{header.num_reread} +
                   Size{kPacketChecksumBytes};
  const Size chunks =
      Size{result.num_chunks} * Size{kPacketChunkHeaderBytes + kPacketChecksumBytes} +
      Size{result.coded_tokens} * (ids + scales + codes);
  const Size packet = Size{kPacketHeaderBytes} + preamble + chunks + end;
  // One token may be too large although none is sent, hence both.
  const Size token = ids + scales + codes;
  if (packet.overflow || token.overflow || packet.value > kLargestPacket) {
    return PacketStatus::kSizeOverflow;
  }

  result.static_scale_bytes = static_scales.value;
  result.token_id_bytes = ids.value;
  result.token_scale_bytes = scales.value;
  result.token_code_bytes = codes.value;
  result.preamble_bytes = preamble.value;
  result.end_bytes = end.value;
  result.packet_bytes = packet.value;
  layout = result;
  return PacketStatus::kOk;
}

PacketBytes packet_bytes_by_part(const PacketHeader& header, const PacketLayout& layout) noexcept {
  const uint64_t coded = layout.coded_tokens;
  PacketBytes bytes;
  bytes.num_tokens = header.num_tokens;
  bytes.header = kPacketHeaderBytes - kPacketChecksumBytes;
  bytes.scales = layout.static_scale_bytes + coded * layout.token_scale_bytes;
  bytes.token_ids = kTokenIdBytes * (uint64_t{header.num_sinks} + header.num_reread) +
                    coded * layout.token_id_bytes;
  bytes.codes = coded * layout.token_code_bytes;
  bytes.framing = uint64_t{layout.num_chunks} * kPacketChunkHeaderBytes + kPacketEndHeaderBytes;
  bytes.checksums = kPacketChecksumBytes * (uint64_t{layout.num_chunks} + 3);
  return bytes;
}

}  // namespace kvalign
