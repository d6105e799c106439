// What an encoder's memory holds, and what a packet needs of it. Inside of the C interface:
// arguments were checked.
//
// Shapes:  N kv heads   H head dim   W = N * H   P pairs of channels   R rank
#pragma once

#include <cstdint>

#include "fp8_rows.h"
#include "kvalign/edge/kvalign_edge.h"
#include "kvalign/format/encoder_file.h"
#include "kvalign/format/packet_writer.h"
#include "turn.h"

namespace kvalign {

// Tokens that are read together: neighbours share cache lines where a layout is transposed, and the
// rows of an encoder file are read once for all of them.
constexpr uint32_t kTileTokens = 8;

}  // namespace kvalign

struct kvalign_edge_encoder {
  kvalign::PacketHeader
      header;  // of the packet; what options say of every packet, before the first
  kvalign::PacketWriter writer;
  bool in_packet = false;

  uint32_t num_layers = 0;
  uint32_t num_kv_heads = 0;
  uint32_t head_dim = 0;
  bool is_flat = false;
  kvalign::Turn turn;
  kvalign::EncoderFile file;  // of a latent; else empty

  // Work space.
  kvalign::CosSin* turn_table = nullptr;  // [kTileTokens, P]
  float* row = nullptr;                   // [W] of a cache; features [kTileTokens, ..] of a latent
  float* latents = nullptr;               // [kTileTokens, R]

  // Of the packet.
  const int32_t* token_ids = nullptr;
  const float* static_scales = nullptr;
  kvalign::RowCounts counts;
  kvalign_edge_fault fault{};

  bool is_latent() const noexcept { return header.content == kvalign::PacketContent::kLatent; }
  uint32_t width() const noexcept { return num_kv_heads * head_dim; }
  // Streams of the packet and elements of one token in one of them.
  uint32_t wire_streams() const noexcept { return is_latent() || is_flat ? 1 : 2 * num_layers; }
  uint32_t wire_width() const noexcept { return is_latent() ? header.rank : width(); }
};

namespace kvalign {

// The number of static scales of an encoder's packets; 0 where they are not static.
uint64_t num_static_scales(const kvalign_edge_encoder& encoder) noexcept;

// Header and layout of a packet. Errors: those of kvalign_edge_packet_sizes.
kvalign_edge_status lay_out(const kvalign_edge_encoder& encoder, const kvalign_edge_packet& packet,
                            PacketHeader& header, PacketLayout& layout) noexcept;

inline Fp8Format fp8_format(PacketElement element) noexcept {
  return element == PacketElement::kE5M2 ? Fp8Format::kE5M2 : Fp8Format::kE4M3FN;
}
inline bool is_fp8(PacketElement element) noexcept {
  return element == PacketElement::kE4M3FN || element == PacketElement::kE5M2;
}

}  // namespace kvalign
