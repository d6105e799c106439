// A packet as float32 tensors.
#include <ATen/ATen.h>

#include <cmath>
#include <stdexcept>

#include "kvalign/core/packet_tensors.h"
#include "kvalign/format/fp8_layout.h"
#include "kvalign/format/half.h"
#include "packet_rows.h"

namespace kvalign {
namespace {

std::vector<int32_t> ids_of(ByteView view) {
  std::vector<int32_t> ids(view.size / sizeof(int32_t));
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = packet_token_id(view, i);
  return ids;
}

// The scale of an element of a chunk; token counted from the chunk's first.
float scale_of(const PacketHeader& header, const PacketRowShape& shape, ByteView static_scales,
               ByteView scales, int64_t token, int64_t stream, int64_t element) {
  switch (header.scales) {
    case PacketScales::kTensor:
      return packet_float(static_scales, stream);
    case PacketScales::kHead:
      return packet_float(static_scales, stream * shape.heads + element / header.head_dim);
    case PacketScales::kChannel:
      return packet_float(static_scales, stream * shape.width + element);
    case PacketScales::kToken:
      return packet_float(scales, token * shape.streams + stream);
    case PacketScales::kBlock32: {
      constexpr auto kBlock = static_cast<int64_t>(kFp8BlockSize);
      const int64_t blocks = (shape.width + kBlock - 1) / kBlock;
      return decode_e8m0(scales.data[(token * shape.streams + stream) * blocks + element / kBlock]);
    }
    default:
      return 1.0f;
  }
}

float value_of(PacketElement element, const uint8_t* codes, int64_t index) {
  switch (element) {
    case PacketElement::kE4M3FN:
      return decode_fp8(codes[index], Fp8Format::kE4M3FN);
    case PacketElement::kE5M2:
      return decode_fp8(codes[index], Fp8Format::kE5M2);
    case PacketElement::kF16:
      return float_of_f16(load_little_endian<uint16_t>(codes + 2 * index));
    case PacketElement::kBF16:
      return float_of_bf16(load_little_endian<uint16_t>(codes + 2 * index));
    default:
      return float_of_bits(load_little_endian<uint32_t>(codes + 4 * index));
  }
}

void decode_chunk(const PacketHeader& header, ByteView static_scales, const PacketChunk& chunk,
                  float* values) {
  const PacketRowShape shape = packet_row_shape(header);
  int64_t index = 0;
  for (int64_t token = 0; token < chunk.num_tokens; ++token) {
    for (int64_t stream = 0; stream < shape.streams; ++stream) {
      for (int64_t element = 0; element < shape.width; ++element, ++index) {
        values[index] =
            value_of(header.element, chunk.codes.data, index) *
            scale_of(header, shape, static_scales, chunk.scales, token, stream, element);
        if (!std::isfinite(values[index])) {
          throw std::invalid_argument(
              "decode_packet: expected finite numbers, got " + std::to_string(values[index]) +
              " at token " + std::to_string(chunk.first_token + token) + ", stream " +
              std::to_string(stream) + ", element " + std::to_string(element));
        }
      }
    }
  }
}

}  // namespace

DecodedPacket decode_packet(std::string_view packet) {
  auto [reader, preamble, input] = open_packet(packet, "decode_packet");
  DecodedPacket decoded;
  decoded.header = reader.header();
  decoded.bytes = packet_bytes_by_part(reader.header(), reader.layout());
  decoded.first_token = reader.header().num_sinks;
  decoded.sink_token_ids = ids_of(preamble.sink_token_ids);
  const PacketRowShape shape = packet_row_shape(decoded.header);
  decoded.values_TMW =
      at::empty({int64_t{reader.layout().coded_tokens}, shape.streams, shape.width});
  auto* values = decoded.values_TMW.data_ptr<float>();
  while (reader.chunks_left() > 0) {
    PacketChunk chunk;
    check_packet_status(reader.next_chunk(input, chunk), "decode_packet");
    decode_chunk(decoded.header, preamble.static_scales, chunk, values);
    values += chunk.num_tokens * shape.streams * shape.width;
    const std::vector<int32_t> ids = ids_of(chunk.token_ids);
    decoded.token_ids.insert(decoded.token_ids.end(), ids.begin(), ids.end());
  }
  ByteView reread;
  check_packet_status(reader.finish(input, reread), "decode_packet");
  decoded.reread_token_ids = ids_of(reread);
  return decoded;
}

}  // namespace kvalign
