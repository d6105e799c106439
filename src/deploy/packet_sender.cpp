// See packet_sender.h.
#include "packet_sender.h"

#include <stdexcept>

#include "kvalign/core/packet_tensors.h"

namespace kvalign {

void require_of_packet(bool right, const std::string& what) {
  if (!right) throw std::runtime_error("packet: " + what);
}

void check_packet_sender(const PacketHeader& header, const KvGeometry& sender,
                         const PacketId& checkpoint_id) {
  require_of_packet(
      header.geometry_id == packet_id(geometry_id(sender)),
      "expected the geometry_id of the checkpoint's sender " + sender.model +
          ", got another model's. Use the checkpoint that was trained for that sender");
  if (header.content != PacketContent::kLatent) return;
  require_of_packet(header.encoder_id == checkpoint_id,
                    "expected a latent of this checkpoint, got another encoder_id. Export the "
                    "encoder of the checkpoint that decodes");
}

}  // namespace kvalign
