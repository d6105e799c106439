// A sequence's cache as a packet, and a packet as tensors: the server's side of the format. Packets
// are made by the device's own library (edge/), so that both sides agree to the last bit.
//
// Shapes:  S streams (keys of layer 0 .. L-1, then values; 1 for a flat cache)   T tokens
//          d width of a stream   M streams of the packet (S, or 1 for a latent)   W their width
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kvalign/format/export.h"
#include "kvalign/format/fp8_layout.h"
#include "kvalign/format/geometry.h"
#include "kvalign/format/packet_layout.h"

namespace kvalign {

struct PacketOptions {
  std::string encoder{};  // path of an encoder file: sends latents; empty: the cache itself
  // e4m3fn, e5m2, f16, bf16 or f32; empty: what the encoder file was trained for, else e4m3fn.
  std::string element{};
  // none, tensor, head, token, channel or block32; empty: the encoder file's static scale where
  // element is empty too, else token for FP8 and none for other elements. Static ones are chosen
  // from the cache.
  std::string scales{};
  int64_t chunk_tokens = 64;
  int64_t num_sinks = 0;   // first tokens, which travel as ids alone
  int64_t num_reread = 0;  // last tokens, which travel as ids alone
  int64_t position_offset = 0;
  bool all_token_ids = false;
};

struct EncodedPacket {
  std::string bytes;
  uint64_t saturated = 0;  // elements
  uint64_t flushed = 0;
};

/// The packet of one sequence. streams_STd: content keys and values, float32, float16 or bfloat16,
/// on the CPU, any strides; token_ids: int32 [T], or undefined where no id travels. Throws
/// std::invalid_argument for options or a cache that the library refuses, with its reason; and
/// std::runtime_error for an encoder file that cannot be read.
KVALIGN_API EncodedPacket encode_packet(const KvGeometry& geometry, const at::Tensor& streams_STd,
                                        const at::Tensor& token_ids, const PacketOptions& options);

struct DecodedPacket {
  PacketHeader header;
  PacketBytes bytes;
  int64_t first_token = 0;  // of the values, counted from the packet's first: its sinks come before
  at::Tensor values_TMW;    // float32, of the tokens in chunks; as stored, without positions
  std::vector<int32_t> sink_token_ids;
  std::vector<int32_t> token_ids;  // of the tokens in chunks; empty unless all carry ids
  std::vector<int32_t> reread_token_ids;
};

/// Throws std::invalid_argument with the reader's reason for a packet that is damaged, and for a
/// code or a scale that is not a finite number.
KVALIGN_API DecodedPacket decode_packet(std::string_view packet);

/// Codes and scales of a packet in FP8, of the tokens in chunks: what crossed the network, for
/// certificates that start from it.
struct PacketCodes {
  PacketHeader header;
  Fp8Format format = Fp8Format::kE4M3FN;
  ScaleGranularity granularity = ScaleGranularity::kTensor;  // kTensor where all scales are 1
  at::Tensor codes_MTW = {};                                 // uint8
  at::Tensor scales_MX = {};  // float32, of each stream in the order of ScaleGranularity
};

/// Throws std::invalid_argument as decode_packet, and for a packet that is not in FP8.
KVALIGN_API PacketCodes packet_codes(std::string_view packet);

/// The id by which packets and encoder files name a geometry: the SHA-256 of its JSON, 64 digits.
KVALIGN_API std::string geometry_id(const KvGeometry& geometry);

/// 64 digits as bytes. Throws std::invalid_argument for anything else.
KVALIGN_API PacketId packet_id(const std::string& digits);

}  // namespace kvalign
