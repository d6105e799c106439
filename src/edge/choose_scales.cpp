// Static scales of a packet from its own cache, in one pass before the packet is written.
#include "encoder.h"
#include "kvalign/format/fp8_scale.h"
#include "read_rows.h"

namespace kvalign {
namespace {

// Largest magnitudes are gathered where the scales will stand.
void raise(float& amax, uint32_t bits) noexcept {
  if (bits > bits_of_float(amax)) amax = float_of_bits(bits);
}

void raise_scales(const kvalign_edge_encoder& encoder, const Row& row, float* amax) noexcept {
  switch (encoder.header.scales) {
    case PacketScales::kTensor:
      return raise(amax[row.stream], row.amax_bits);
    case PacketScales::kHead:
      for (uint32_t head = 0; head < encoder.num_kv_heads; ++head) {
        raise(amax[uint64_t{row.stream} * encoder.num_kv_heads + head],
              amax_bits(row.values + uint64_t{head} * encoder.head_dim, encoder.head_dim));
      }
      return;
    default:  // channels
      amax += uint64_t{row.stream} * encoder.wire_width();
      for (uint32_t i = 0; i < encoder.wire_width(); ++i) {
        raise(amax[i], bits_of_float(row.values[i]) & 0x7FFFFFFF);
      }
  }
}

}  // namespace
}  // namespace kvalign

using namespace kvalign;

kvalign_edge_status kvalign_edge_choose_scales(kvalign_edge_encoder* encoder,
                                               const kvalign_edge_packet* packet,
                                               const kvalign_edge_cache* cache, float* scales,
                                               size_t num_scales) {
  if (encoder == nullptr || packet == nullptr || cache == nullptr || scales == nullptr) {
    return KVALIGN_EDGE_NULL_ARGUMENT;
  }
  if (encoder->in_packet) return KVALIGN_EDGE_WRONG_CALL;
  PacketHeader header;
  PacketLayout layout;
  kvalign_edge_status status = lay_out(*encoder, *packet, header, layout);
  if (status != KVALIGN_EDGE_OK) return status;
  const uint64_t expected = num_static_scales(*encoder);
  if (expected == 0) return KVALIGN_EDGE_UNEXPECTED_SCALES;
  if (num_scales != expected) return KVALIGN_EDGE_WRONG_SCALE_COUNT;
  status = check_cache(*encoder, *cache, header.num_sinks, layout.coded_tokens);
  if (status != KVALIGN_EDGE_OK) return status;
  for (size_t i = 0; i < num_scales; ++i) scales[i] = 0;
  status = read_rows(*encoder, header, *cache, header.num_sinks, layout.coded_tokens,
                     [&](const Row& row) { raise_scales(*encoder, row, scales); });
  const Fp8Format format = fp8_format(encoder->header.element);
  for (size_t i = 0; i < num_scales; ++i) scales[i] = fp8_scale_of(scales[i], format);
  return status;
}
