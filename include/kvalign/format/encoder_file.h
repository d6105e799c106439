// The encoder file: what a device needs of a low_rank checkpoint to make latents. One matrix and
// one bias, laid out so that a mapped file is used where it lies. The decoder stays with the
// receiver. C++17; nothing is allocated or thrown.
//
// Version 1. Little-endian. latent[i] = bias[i] + sum over f of weights[i, f] * feature[f], where
// the standardisation of features is folded into both.
//
//   S streams of the sender that are read   W num_kv_heads * head_dim   F = S * W features
//   R rank                                  P = F rounded up to a multiple of 16
//
//   header    offset  bytes
//                  0      8  magic 89 'K' 'V' 'E' 0D 0A 1A 0A
//                  8   2, 2  version, 1; bytes of the header, 128
//                 12      1  1 for a flat cache (one stream), else 0
//                 13      1  wire_element, PacketElement: what the checkpoint was trained for
//                 14      2  zero
//                 16   4, 4  num_layers, num_kv_heads
//                 24   4, 4  head_dim, R
//                 32      4  S
//                 36      4  wire_scale, float32: of FP8 latents; 1 for other elements
//                 40      8  bytes of the whole file
//                 48     32  geometry_id, as in the packet
//                 80     32  encoder_id, as in the packet
//                112      4  CRC-32C of what follows the header
//                116      8  zero
//                124      4  CRC-32C of the header's other bytes
//   then               4S    streams, uint32 in the order of the features: keys of layer 0 .. L-1
//   are
//                            0 .. L-1, values follow; zeros up to a multiple of 64
//                      4R    bias, float32; zeros up to a multiple of 64
//                      4RP   weights, float32 [R, P]; zeros in the columns F .. P-1
#pragma once

#include <cstddef>
#include <cstdint>

#include "kvalign/format/bytes.h"
#include "kvalign/format/export.h"
#include "kvalign/format/packet.h"

namespace kvalign {

constexpr uint16_t kEncoderFileVersion = 1;
constexpr size_t kEncoderFileHeaderBytes = 128;
constexpr size_t kEncoderFileAlignment = 64;  // of bias and weights in the file
constexpr size_t kEncoderRowFloats = 16;      // P is a multiple of it

// One value for each way in which a file, or what is to become one, can be wrong.
enum class EncoderFileStatus : uint8_t {
  kOk,
  kTruncated,
  kWrongMagic,
  kWrongVersion,
  kHeaderChecksum,
  kWrongShape,
  kUnknownWire,
  kNoEncoderId,
  kSizeOverflow,
  kWrongFileSize,
  kTrailingBytes,
  kPayloadChecksum,
  kWrongStream,
  kNotFinite,
  kNotAligned,
};

struct EncoderFileHeader {
  bool is_flat = false;
  PacketElement wire_element = PacketElement::kE4M3FN;
  uint32_t num_layers = 0;
  uint32_t num_kv_heads = 0;
  uint32_t head_dim = 0;
  uint32_t rank = 0;
  uint32_t num_streams = 0;  // S
  float wire_scale = 1.0f;
  PacketId geometry_id{};
  PacketId encoder_id{};

  uint64_t sender_streams() const noexcept { return is_flat ? 1 : uint64_t{2} * num_layers; }
};

// Sizes in floats and bytes; offsets from the start of the file.
struct EncoderFileLayout {
  uint64_t num_features = 0;  // F
  uint64_t row_floats = 0;    // P
  uint64_t bias_offset = 0;
  uint64_t weights_offset = 0;
  uint64_t file_bytes = 0;
};

// What a file holds; views of its bytes.
struct EncoderFile {
  EncoderFileHeader header;
  EncoderFileLayout layout;
  const uint32_t* streams = nullptr;  // [S]
  const float* bias = nullptr;        // [R]
  const float* weights = nullptr;     // [R, P]
};

// Errors: kWrongShape, kUnknownWire (an element, or a scale that is none), kNoEncoderId,
// kSizeOverflow.
KVALIGN_API EncoderFileStatus lay_out_encoder_file(const EncoderFileHeader& header,
                                                   EncoderFileLayout& layout) noexcept;

// Fills `bytes` [layout.file_bytes]; streams [S], bias [R], weights [R, F] row-major.
// Errors: those of the layout, kWrongStream, kNotFinite; nothing is written then.
KVALIGN_API EncoderFileStatus write_encoder_file(const EncoderFileHeader& header,
                                                 const uint32_t* streams, const float* bias,
                                                 const float* weights, uint8_t* bytes) noexcept;

// Checks everything and copies nothing: `bytes` must start at a multiple of 64 (mapped files do)
// and outlive `file`. Reads the whole file once, for its checksum.
KVALIGN_API EncoderFileStatus read_encoder_file(ByteView bytes, EncoderFile& file) noexcept;

}  // namespace kvalign
