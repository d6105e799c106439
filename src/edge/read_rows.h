// The rows of a packet, in float32: content keys and values of a cache, or latents made of them.
// What is written with scales and what scales are chosen from is the same.
#pragma once

#include "encoder.h"

namespace kvalign {

// NULL tensors, types and tokens first .. first + count - 1 of a cache.
kvalign_edge_status check_cache(const kvalign_edge_encoder& encoder,
                                const kvalign_edge_cache& cache, uint32_t first,
                                uint32_t count) noexcept;

// One row, and the bits of its largest magnitude.
struct Row {
  uint32_t token = 0;             // counted from the packet's first
  uint32_t stream = 0;            // of the packet
  const float* values = nullptr;  // [wire_width()]
  uint32_t amax_bits = 0;
};

// Reads one tile of at most kTileTokens tokens: calls visit(row) for every stream and token.
// `header` says where the packet's tokens are in their sequence.
using VisitRow = void (*)(void* context, const Row& row);
kvalign_edge_status read_tile(kvalign_edge_encoder& encoder, const PacketHeader& header,
                              const kvalign_edge_cache& cache, uint32_t first, uint32_t count,
                              VisitRow visit, void* context) noexcept;

// The same for any number of tokens, tile by tile.
template <class Visit>
kvalign_edge_status read_rows(kvalign_edge_encoder& encoder, const PacketHeader& header,
                              const kvalign_edge_cache& cache, uint32_t first, uint32_t count,
                              Visit visit) noexcept {
  const auto call = [](void* context, const Row& row) { (*static_cast<Visit*>(context))(row); };
  for (uint32_t done = 0; done < count; done += kTileTokens) {
    const uint32_t left = count - done;
    const uint32_t tile = left < kTileTokens ? left : kTileTokens;
    const kvalign_edge_status status =
        read_tile(encoder, header, cache, first + done, tile, call, &visit);
    if (status != KVALIGN_EDGE_OK) return status;
  }
  return KVALIGN_EDGE_OK;
}

}  // namespace kvalign
