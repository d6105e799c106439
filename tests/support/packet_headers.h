// The headers of tests/golden/packet_v1_*.bin.
#pragma once

#include <cstdint>
#include <numeric>

#include "kvalign/format/packet.h"

namespace kvalign::testing {

inline PacketId example_id(uint8_t first) {
  PacketId id;
  std::iota(id.begin(), id.end(), first);
  return id;
}

inline PacketHeader latent_header() {
  PacketHeader header;
  header.content = PacketContent::kLatent;
  header.scales = PacketScales::kTensor;
  header.rank = 48;
  header.num_tokens = 7;
  header.chunk_tokens = 3;
  header.num_sinks = 2;
  header.num_reread = 1;
  header.position_offset = 1000;
  header.geometry_id = example_id(0);
  header.encoder_id = example_id(32);
  return header;
}

inline PacketHeader token_scales_header() {
  PacketHeader header;
  header.scales = PacketScales::kToken;
  header.num_layers = 2;
  header.num_kv_heads = 1;
  header.head_dim = 4;
  header.num_tokens = 5;
  header.chunk_tokens = 2;
  header.geometry_id = example_id(0);
  return header;
}

inline PacketHeader block_scales_header() {
  PacketHeader header;
  header.element = PacketElement::kE5M2;
  header.scales = PacketScales::kBlock32;
  header.token_ids = PacketTokenIds::kAll;
  header.num_layers = 1;
  header.num_kv_heads = 2;
  header.head_dim = 20;
  header.num_tokens = 6;
  header.chunk_tokens = 2;
  header.num_sinks = 1;
  header.num_reread = 2;
  header.position_offset = 5000000000;
  header.geometry_id = example_id(0);
  return header;
}

}  // namespace kvalign::testing
