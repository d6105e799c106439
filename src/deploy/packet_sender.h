// Does a packet come from the sender, and the encoder, that a checkpoint was trained for? Private
// to deploy/.
#pragma once

#include <string>

#include "kvalign/format/geometry.h"
#include "kvalign/format/packet.h"

namespace kvalign {

/// Throws std::runtime_error "packet: expected ..., got ...".
void require_of_packet(bool right, const std::string& what);

/// `checkpoint_id`: SHA-256 of the checkpoint's file. Throws as require_of_packet.
void check_packet_sender(const PacketHeader& header, const KvGeometry& sender,
                         const PacketId& checkpoint_id);

}  // namespace kvalign
