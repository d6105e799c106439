// A packet's bytes to tensors: the cache or the latent that crossed the network, as float32.
//
// Shapes:  S streams, 2 num_layers of a cache, 1 of a flat cache or a latent   T coded tokens
//          D width, num_kv_heads * head_dim or rank
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "kvalign/format/bytes.h"
#include "kvalign/format/export.h"
#include "kvalign/format/geometry.h"
#include "kvalign/format/packet.h"

namespace kvalign {

struct PacketCache {
  PacketHeader header;
  at::Tensor streams_STD;  ///< float32, codes times scales; sinks and re-read tokens have none
  std::vector<int32_t> sink_token_ids, reread_token_ids;
  std::vector<int32_t> coded_token_ids;  ///< of the T tokens; empty where the packet has none
};

/// Throws std::runtime_error that begins with `where` (a path, say) for damage, with the status'
/// text; for a scale that is none, and for codes of NaN or Inf.
KVALIGN_API PacketCache read_packet_cache(ByteView packet, const std::string& where);

/// SHA-256 of the geometry's JSON (core/geometry_json.h): the header's geometry_id.
KVALIGN_API PacketId packet_geometry_id(const KvGeometry& geometry);

}  // namespace kvalign
