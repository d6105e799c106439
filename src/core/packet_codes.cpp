// Codes and scales of a packet as they crossed the network. See packet_tensors.h.
#include <ATen/ATen.h>

#include <cstring>
#include <stdexcept>

#include "kvalign/core/packet_tensors.h"
#include "packet_rows.h"

namespace kvalign {
namespace {

ScaleGranularity granularity_of(PacketScales scales) {
  switch (scales) {
    case PacketScales::kHead:
      return ScaleGranularity::kHead;
    case PacketScales::kToken:
      return ScaleGranularity::kToken;
    case PacketScales::kChannel:
      return ScaleGranularity::kChannel;
    case PacketScales::kBlock32:
      return ScaleGranularity::kBlock32;
    default:
      return ScaleGranularity::kTensor;
  }
}

// [.., M] where static, [T, M, ..] where scales travel with their tokens; float32.
at::Tensor scales_of(ByteView bytes, PacketScales scales) {
  const bool blocks = scales == PacketScales::kBlock32;
  const auto count = static_cast<int64_t>(bytes.size / (blocks ? 1 : sizeof(float)));
  at::Tensor values = at::empty({count});
  auto* data = values.data_ptr<float>();
  for (int64_t i = 0; i < count; ++i) {
    data[i] = blocks ? decode_e8m0(bytes.data[i]) : packet_float(bytes, i);
  }
  return values;
}

}  // namespace

PacketCodes packet_codes(std::string_view packet) {
  auto [reader, preamble, input] = open_packet(packet, "packet_codes");
  const PacketHeader& header = reader.header();
  if (header.element != PacketElement::kE4M3FN && header.element != PacketElement::kE5M2) {
    throw std::invalid_argument(
        "packet_codes: expected a packet in FP8, got one whose numbers are not. Encode with "
        "element e4m3fn or e5m2");
  }
  const PacketRowShape shape = packet_row_shape(header);
  const int64_t coded_tokens = reader.layout().coded_tokens;
  PacketCodes result{
      .header = header,
      .format = header.element == PacketElement::kE4M3FN ? Fp8Format::kE4M3FN : Fp8Format::kE5M2,
      .granularity = granularity_of(header.scales)};
  at::Tensor codes_TMW = at::empty({coded_tokens, shape.streams, shape.width}, at::kByte);
  auto* codes = codes_TMW.data_ptr<uint8_t>();
  std::vector<at::Tensor> token_scales;
  while (reader.chunks_left() > 0) {
    PacketChunk chunk;
    check_packet_status(reader.next_chunk(input, chunk), "packet_codes");
    std::memcpy(codes, chunk.codes.data, chunk.codes.size);
    codes += chunk.codes.size;
    token_scales.push_back(scales_of(chunk.scales, header.scales));
  }
  result.codes_MTW = codes_TMW.transpose(0, 1).contiguous();
  if (header.scales == PacketScales::kNone) {
    result.scales_MX = at::ones({shape.streams, 1});
  } else if (coded_tokens == 0) {
    result.scales_MX = at::empty({shape.streams, 0});
  } else if (preamble.static_scales.size > 0) {
    result.scales_MX = scales_of(preamble.static_scales, header.scales).view({shape.streams, -1});
  } else {
    result.scales_MX = at::cat(token_scales)
                           .view({coded_tokens, shape.streams, -1})
                           .transpose(0, 1)
                           .flatten(1)
                           .contiguous();
  }
  return result;
}

}  // namespace kvalign
