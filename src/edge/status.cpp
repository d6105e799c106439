// The texts of the statuses, and the packet's and the encoder file's statuses as ours.
#include "status.h"

namespace {

struct Row {
  kvalign_edge_status status;
  const char* text;
};

constexpr Row kRows[] = {
    {KVALIGN_EDGE_OK, "ok"},
    {KVALIGN_EDGE_NULL_ARGUMENT, "expected pointers that are not NULL"},
    {KVALIGN_EDGE_WRONG_STRUCT_SIZE,
     "expected struct_size to be sizeof the struct: header and library are of different versions"},
    {KVALIGN_EDGE_WRONG_CALL, "expected begin, every chunk and finish, in this order"},
    {KVALIGN_EDGE_BUFFER_TOO_SMALL,
     "expected a buffer with as many bytes left as kvalign_edge_packet_sizes says"},
    {KVALIGN_EDGE_WRONG_SHAPE,
     "expected num_layers (1 for a flat cache), num_kv_heads and head_dim of 1 or more, and fewer "
     "than 2^31 elements in a layer's token"},
    {KVALIGN_EDGE_UNKNOWN_FLAG, "expected is_flat and all_token_ids of 0 or 1"},
    {KVALIGN_EDGE_UNKNOWN_ELEMENT, "expected an element of KVALIGN_EDGE_E4M3FN .. F32"},
    {KVALIGN_EDGE_UNKNOWN_SCALES, "expected scales of KVALIGN_EDGE_SCALES_NONE .. BLOCK32"},
    {KVALIGN_EDGE_SCALES_WITHOUT_FP8,
     "expected no scales with F16, BF16 or F32 elements: they go with FP8 alone"},
    {KVALIGN_EDGE_HEAD_SCALES_OF_LATENT, "expected no scales by head in a latent: it has no heads"},
    {KVALIGN_EDGE_UNKNOWN_PAIRING,
     "expected a pairing of KVALIGN_EDGE_PAIRING_HALF or INTERLEAVED"},
    {KVALIGN_EDGE_WRONG_ROTARY_DIM,
     "expected at most head_dim / 2 inverse frequencies, and none for a flat cache"},
    {KVALIGN_EDGE_WRONG_INVERSE_FREQUENCY, "expected inverse frequencies of 0 to 1"},
    {KVALIGN_EDGE_MEMORY_NOT_ALIGNED, "expected memory at a multiple of KVALIGN_EDGE_ALIGNMENT"},
    {KVALIGN_EDGE_MEMORY_TOO_SMALL, "expected as much memory as kvalign_edge_encoder_bytes says"},
    {KVALIGN_EDGE_FILE_NOT_ALIGNED,
     "expected the encoder file at an address that is a multiple of 64"},
    {KVALIGN_EDGE_FILE_TRUNCATED, "expected a longer encoder file: copy it again"},
    {KVALIGN_EDGE_FILE_WRONG_MAGIC,
     "expected the magic bytes of an encoder file: kvalign export --format edge makes one of a "
     "checkpoint"},
    {KVALIGN_EDGE_FILE_WRONG_VERSION, "expected an encoder file of version 1"},
    {KVALIGN_EDGE_FILE_HEADER_DAMAGED,
     "expected an encoder file's header of its own checksum: it was damaged, copy it again"},
    {KVALIGN_EDGE_FILE_INCONSISTENT,
     "expected an encoder file whose numbers fit each other: kvalign export --format edge did not "
     "make it"},
    {KVALIGN_EDGE_FILE_WRONG_SIZE, "expected an encoder file of the size that it says it has"},
    {KVALIGN_EDGE_FILE_DAMAGED,
     "expected weights of the encoder file's checksum: they were damaged, copy it again"},
    {KVALIGN_EDGE_FILE_NOT_FINITE, "expected an encoder file without infinities and NaN"},
    {KVALIGN_EDGE_FILE_OF_ANOTHER_GEOMETRY,
     "expected an encoder file for the options' shape and geometry_id: it is another model's"},
    {KVALIGN_EDGE_NO_TOKENS, "expected one token or more"},
    {KVALIGN_EDGE_TOO_MANY_RECOMPUTED, "expected no more sinks and re-read tokens than tokens"},
    {KVALIGN_EDGE_NO_CHUNK_TOKENS, "expected one token or more in a chunk"},
    {KVALIGN_EDGE_POSITION_TOO_LARGE,
     "expected positions below 2^63, and below 2^24 where keys have rotary positions"},
    {KVALIGN_EDGE_SIZE_OVERFLOW,
     "expected a packet that this machine can address: split the prefix into several packets"},
    {KVALIGN_EDGE_MISSING_TOKEN_IDS,
     "expected token_ids: sinks, re-read tokens or all_token_ids ask for them"},
    {KVALIGN_EDGE_MISSING_SCALES,
     "expected static_scales: tensor, head and channel scales travel before the first token"},
    {KVALIGN_EDGE_UNEXPECTED_SCALES, "expected no static scales with the encoder's kind of scales"},
    {KVALIGN_EDGE_WRONG_SCALE_COUNT,
     "expected as many static scales as kvalign_edge_packet_sizes says"},
    {KVALIGN_EDGE_WRONG_SCALE,
     "expected static scales of at least 2^-100 with which the largest value stays finite"},
    {KVALIGN_EDGE_UNKNOWN_DTYPE, "expected tensors of KVALIGN_EDGE_DTYPE_F32, F16 or BF16"},
    {KVALIGN_EDGE_TOKENS_MISSING, "expected a cache that holds every token of the chunk"},
    {KVALIGN_EDGE_NOT_FINITE,
     "expected a cache without infinities and NaN, also after its keys were turned back: "
     "kvalign_edge_encoder_fault says where"},
    {KVALIGN_EDGE_LATENT_NOT_FINITE,
     "expected a cache whose latent is finite: kvalign_edge_encoder_fault says which token"},
};

}  // namespace

extern "C" const char* kvalign_edge_status_text(int status) {
  for (const Row& row : kRows) {
    if (row.status == status) return row.text;
  }
  return "not a status";
}

namespace kvalign {

kvalign_edge_status edge_status(PacketStatus status) noexcept {
  switch (status) {
    case PacketStatus::kOk:
      return KVALIGN_EDGE_OK;
    case PacketStatus::kUnknownElement:
      return KVALIGN_EDGE_UNKNOWN_ELEMENT;
    case PacketStatus::kUnknownScales:
      return KVALIGN_EDGE_UNKNOWN_SCALES;
    case PacketStatus::kScalesWithoutFp8:
      return KVALIGN_EDGE_SCALES_WITHOUT_FP8;
    case PacketStatus::kHeadScalesOfLatent:
      return KVALIGN_EDGE_HEAD_SCALES_OF_LATENT;
    case PacketStatus::kNoTokens:
      return KVALIGN_EDGE_NO_TOKENS;
    case PacketStatus::kTooManyRecomputed:
      return KVALIGN_EDGE_TOO_MANY_RECOMPUTED;
    case PacketStatus::kNoChunkTokens:
      return KVALIGN_EDGE_NO_CHUNK_TOKENS;
    case PacketStatus::kPositionOverflow:
      return KVALIGN_EDGE_POSITION_TOO_LARGE;
    case PacketStatus::kSizeOverflow:
      return KVALIGN_EDGE_SIZE_OVERFLOW;
    case PacketStatus::kBufferTooSmall:
      return KVALIGN_EDGE_BUFFER_TOO_SMALL;
    case PacketStatus::kWrongCall:
      return KVALIGN_EDGE_WRONG_CALL;
    default:  // of a header that we made, or of the reader
      return KVALIGN_EDGE_WRONG_SHAPE;
  }
}

kvalign_edge_status edge_status(EncoderFileStatus status) noexcept {
  switch (status) {
    case EncoderFileStatus::kOk:
      return KVALIGN_EDGE_OK;
    case EncoderFileStatus::kTruncated:
      return KVALIGN_EDGE_FILE_TRUNCATED;
    case EncoderFileStatus::kWrongMagic:
      return KVALIGN_EDGE_FILE_WRONG_MAGIC;
    case EncoderFileStatus::kWrongVersion:
      return KVALIGN_EDGE_FILE_WRONG_VERSION;
    case EncoderFileStatus::kHeaderChecksum:
      return KVALIGN_EDGE_FILE_HEADER_DAMAGED;
    case EncoderFileStatus::kWrongFileSize:
    case EncoderFileStatus::kTrailingBytes:
      return KVALIGN_EDGE_FILE_WRONG_SIZE;
    case EncoderFileStatus::kPayloadChecksum:
      return KVALIGN_EDGE_FILE_DAMAGED;
    case EncoderFileStatus::kNotFinite:
      return KVALIGN_EDGE_FILE_NOT_FINITE;
    case EncoderFileStatus::kNotAligned:
      return KVALIGN_EDGE_FILE_NOT_ALIGNED;
    case EncoderFileStatus::kWrongShape:
    case EncoderFileStatus::kUnknownWire:
    case EncoderFileStatus::kNoEncoderId:
    case EncoderFileStatus::kSizeOverflow:
    case EncoderFileStatus::kWrongStream:
      break;
  }
  return KVALIGN_EDGE_FILE_INCONSISTENT;
}

}  // namespace kvalign
