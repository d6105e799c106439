// Statuses of the format folder as those of the C interface.
#pragma once

#include "kvalign/edge/kvalign_edge_status.h"
#include "kvalign/format/encoder_file.h"
#include "kvalign/format/packet_status.h"

namespace kvalign {

kvalign_edge_status edge_status(PacketStatus status) noexcept;
kvalign_edge_status edge_status(EncoderFileStatus status) noexcept;

}  // namespace kvalign
