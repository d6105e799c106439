// Projects what arrived and puts the receiver's own sinks before it. See the header.
//
// Shapes:  R receiver streams   S tokens with exact sinks   T coded tokens   D receiver width
#include "kvalign/deploy/packet_receiver.h"

#include <ATen/ATen.h>

#include <stdexcept>

#include "kvalign/core/sha256.h"
#include "kvalign/projector/frozen_projector.h"
#include "kvalign/projector/kv_projector.h"
#include "kvalign/train/checkpoint.h"
#include "packet_sender.h"

namespace kvalign {
namespace {

at::Tensor token_row(const std::vector<int32_t>& ids, c10::Device device) {
  return at::tensor(std::vector<int64_t>(ids.begin(), ids.end()), at::kLong).to(device);
}

std::shared_ptr<const FrozenProjector> projector_on(const std::string& checkpoint,
                                                    c10::Device device) {
  const std::shared_ptr<KvProjector> projector = load_checkpoint(checkpoint).projector;
  projector->projector().to(device);
  return std::make_shared<const FrozenProjector>(*projector);
}

}  // namespace

PacketReceiver::PacketReceiver(const std::string& checkpoint, const std::string& receiver,
                               c10::Device device)
    : PacketReceiver(projector_on(checkpoint, device), packet_id(sha256_of_file(checkpoint)),
                     Decoder::load(receiver, device)) {}

PacketReceiver::PacketReceiver(std::shared_ptr<const FrozenProjector> projector,
                               const PacketId& checkpoint_id, Decoder receiver)
    : projector_(std::move(projector)),
      checkpoint_id_(checkpoint_id),
      receiver_(std::move(receiver)) {
  KvGeometry geometry = receiver_.geometry();
  geometry.model = projector_->receiver().model;
  if (geometry != projector_->receiver()) {
    throw std::runtime_error(receiver_.folder().string() +
                             " is not the receiver of the checkpoint (" +
                             projector_->receiver().model +
                             "): their caches have other shapes or positions. Give the model that "
                             "the checkpoint was trained for");
  }
}

PacketReceiver::~PacketReceiver() = default;
PacketReceiver::PacketReceiver(PacketReceiver&&) noexcept = default;

void PacketReceiver::check_sender(const DecodedPacket& packet) const {
  const PacketHeader& header = packet.header;
  require_of_packet(
      header.content != PacketContent::kFlatCache,
      "expected a cache with layers or a latent, got a flat cache, which no model continues "
      "from");
  require_of_packet(header.position_offset == 0,
                    "expected a text from its first token, got position_offset " +
                        std::to_string(header.position_offset) + ". Send the whole prefix");
  check_packet_sender(header, projector_->sender(), checkpoint_id_);
}

KvCache PacketReceiver::cache_of(const DecodedPacket& packet) const {
  check_sender(packet);
  const at::Tensor sent = packet.values_TMW.transpose(0, 1).contiguous().to(receiver_.device());
  const at::Tensor coded_RTD = packet.header.content == PacketContent::kLatent
                                   ? projector_->project_latent(sent)
                                   : projector_->project(sent);
  return with_sinks(packet.sink_token_ids, coded_RTD);
}

KvCache PacketReceiver::with_sinks(const std::vector<int32_t>& sink_token_ids,
                                   const at::Tensor& coded_RTD) const {
  if (sink_token_ids.empty()) return KvCache::from_streams(receiver_.geometry(), coded_RTD);
  const at::NoGradGuard no_gradients;
  const DecoderOutput sinks =
      receiver_.forward({.token_ids_BT = token_row(sink_token_ids, receiver_.device()).unsqueeze(0),
                         .num_logits = 0});
  return KvCache::from_streams(receiver_.geometry(),
                               at::cat({sinks.cache->streams().to(at::kFloat), coded_RTD}, 1));
}

std::vector<int64_t> PacketReceiver::continue_greedily(const DecodedPacket& packet,
                                                       int64_t num_tokens) const {
  require_of_packet(
      !packet.reread_token_ids.empty(),
      "expected at least the last token of the prefix among the re-read ones, got none. Encode "
      "with num_reread of 1 or more");
  return generate_greedily(receiver_, cache_of(packet),
                           token_row(packet.reread_token_ids, receiver_.device()), num_tokens);
}

}  // namespace kvalign
