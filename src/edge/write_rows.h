// One row of a packet: its scales and its codes, where they stand in a chunk.
#pragma once

#include "encoder.h"
#include "read_rows.h"

namespace kvalign {

void write_row(const kvalign_edge_encoder& encoder, const Row& row, const PacketChunkSpace& space,
               RowCounts& counts) noexcept;

}  // namespace kvalign
